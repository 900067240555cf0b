"""Which patients answer the question of occult metastasis, and with which class."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from training.outcomes import N, Outcome


class NodalClass(StrEnum):
    """What stands behind the joint strata: the highest nodal station that pathology found."""

    N0 = "N0"
    N1 = "N1"
    N2 = "N2"


class ClinicalN(StrEnum):
    """What must be known of the nodes before surgery."""

    REQUIRED = "required"
    """cN0 must stand in the table: then a positive pN is an occult metastasis."""
    ASSUMED = "assumed"
    """A patient without cN is kept: then labels say pN, and nobody knows whether it was occult."""


class StageN3(StrEnum):
    """What becomes of pN3."""

    LEAVE_OUT = "leave_out"
    AS_N2 = "as_n2"


@dataclass(frozen=True, kw_only=True)
class LabelRules:
    """How a label is made of stages."""

    clinical_n: ClinicalN = ClinicalN.REQUIRED
    n3: StageN3 = StageN3.LEAVE_OUT


class Exclusion(StrEnum):
    """Why a patient of the table is left out for the label alone, in the order of asking."""

    NO_PN = "pathological N stage unknown (absent or NX)"
    INDUCTION = "staged after induction therapy (yp)"
    N3 = "pN3"
    NO_CN = "clinical N stage unknown"
    NODES_SEEN = "clinical N stage above N0: a metastasis would not be occult"


_CLASSES: Mapping[N, NodalClass] = MappingProxyType(
    {N.N0: NodalClass.N0, N.N1: NodalClass.N1, N.N2: NodalClass.N2, N.N3: NodalClass.N2}
)


def classify(outcome: Outcome, rules: LabelRules) -> NodalClass | Exclusion:
    """Return the class of a patient, or the first rule that leaves the patient out.

    ``occult_n1`` is the class N1, ``occult_n2`` the class N2, each against all others: a patient
    with pN2 is negative for N1, whatever the hilar nodes hold, because pN tells the highest alone.
    """
    n = outcome.pn.n
    if n is None:
        return Exclusion.NO_PN
    if outcome.pn.after_therapy:
        return Exclusion.INDUCTION
    if n is N.N3 and rules.n3 is StageN3.LEAVE_OUT:
        return Exclusion.N3
    return _clinical(outcome, rules) or _CLASSES[n]


def _clinical(outcome: Outcome, rules: LabelRules) -> Exclusion | None:
    if outcome.cn.n is None:
        return Exclusion.NO_CN if rules.clinical_n is ClinicalN.REQUIRED else None
    return Exclusion.NODES_SEEN if outcome.cn.n is not N.N0 else None


def labels(nodal: NodalClass) -> dict[str, bool]:
    """Return the answer to each task."""
    return {"occult_n1": nodal is NodalClass.N1, "occult_n2": nodal is NodalClass.N2}
