"""What the lint can find wrong with a result object: one code for each kind of fault."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TypeAlias

from inference.findings import Reason


class Rule(StrEnum):
    """What is broken; the values fit VR SH, so that a report can tell them."""

    UNREADABLE = "LINT_UNREADABLE"
    VALUE = "LINT_VALUE"
    IDENTITY = "LINT_IDENTITY"
    EQUIPMENT = "LINT_EQUIPMENT"
    CODE = "LINT_CODE"
    UNIT = "LINT_UNIT"
    NUMBER = "LINT_NUMBER"
    TEMPLATE = "LINT_TEMPLATE"
    TRACKING = "LINT_TRACKING"
    EVIDENCE = "LINT_EVIDENCE"
    VIEWER = "LINT_VIEWER"
    GEOMETRY = "LINT_GEOMETRY"
    PIXELS = "LINT_PIXELS"


MEANINGS: Mapping[Rule, str] = MappingProxyType(
    {
        Rule.UNREADABLE: "A result object cannot be read back",
        Rule.VALUE: "A value breaks its value representation",
        Rule.IDENTITY: "Patient, study or instance is not that of the images",
        Rule.EQUIPMENT: "Equipment and algorithm are incomplete or disagree",
        Rule.CODE: "A code or its meaning is in no known table",
        Rule.UNIT: "A number has no UCUM unit, or one of another quantity",
        Rule.NUMBER: "A number is impossible or contradicts another",
        Rule.TEMPLATE: "The report lacks what its template asks for",
        Rule.TRACKING: "Report and Segmentation do not track the same lesions",
        Rule.EVIDENCE: "The evidence is incomplete, doubled or wrong",
        Rule.VIEWER: "A viewer would not show the result",
        Rule.GEOMETRY: "The result does not lie on the planes of its images",
        Rule.PIXELS: "The pixels are not what the header says, or are empty",
    }
)

Found: TypeAlias = tuple[Rule, str]
"""A broken rule and what exactly broke it; never holds a value that could name the patient."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """One thing that is wrong with one object, which therefore must not be sent."""

    rule: Rule
    detail: str
    sop_instance_uid: str

    @property
    def code(self) -> str:
        """The code for machines: ``LINT_...``, at most 16 characters."""
        return self.rule.value

    @property
    def reason(self) -> Reason:
        """The fault as it is told in a study's outcome."""
        return Reason(code=self.code, meaning=f"{MEANINGS[self.rule]}: {self.detail}")
