"""Whether every value fits its value representation (PS3.5 6.2), as it stands in the bytes."""

import re
from collections.abc import Iterable, Iterator
from typing import Final

from node.dicom.headers import is_uid
from node.dicom.lint.faults import Found, Rule
from node.dicom.lint.images import Source
from node.dicom.lint.items import Leaf

_NO_CONTROL: Final = r"[^\x00-\x1f\x7f\\]"
_LINES: Final = r"[^\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f]"
_DATE: Final = r"\d{4}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])"
_TIME: Final = r"([01]\d|2[0-3])([0-5]\d([0-5]\d(\.\d{1,6})?)?)?"
_PATTERNS: Final = {
    vr: re.compile(pattern, re.DOTALL | re.ASCII)
    for vr, pattern in {
        "AE": _NO_CONTROL + r"{1,16}",
        "AS": r"\d{3}[DWMY]",
        "CS": r"[A-Z0-9_ ]{1,16}",
        "DA": _DATE,
        "DS": r"(?=.{1,16}$) *[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)? *",
        "DT": r"(?=.{4,26}$)\d{4}(\d\d(\d\d(\d\d(\d\d(\d\d(\.\d{1,6})?)?)?)?)?)?([+-]\d{4})?",
        "IS": r"(?=.{1,12}$) *[+-]?\d+ *",
        "LO": _NO_CONTROL + r"{1,64}",
        "LT": _LINES + r"{1,10240}",
        "PN": r"(?=.)[^\x00-\x1f\x7f\\=]{0,64}(=[^\x00-\x1f\x7f\\=]{0,64}){0,2}",
        "SH": _NO_CONTROL + r"{1,16}",
        "ST": _LINES + r"{1,1024}",
        "TM": _TIME,
        "UC": _NO_CONTROL + r"+",
        "UI": r"(?=.{1,64}$)(0|[1-9]\d*)(\.(0|[1-9]\d*))+",
        "UR": r"[^\x00-\x20\x7f]+",
        "UT": _LINES + r"+",
    }.items()
}
_ONE_VALUE: Final = frozenset({"LT", "ST", "UT", "UR"})
# Kept as they came, even where they are too long: a shortened one would be another patient.
_KEPT: Final = ("PatientName", "PatientID", "AccessionNumber", "ReferringPhysicianName")


def unfit_values(leaves: Iterable[Leaf], source: Source) -> Iterator[Found]:
    """Yield every text, number and UID that breaks its VR, unless the source has it so."""
    for leaf in leaves:
        if leaf.vr in _PATTERNS and not _fits(leaf, source):
            yield Rule.VALUE, f"{leaf.keyword} is not a valid {leaf.vr}"


def _fits(leaf: Leaf, source: Source) -> bool:
    if leaf.text is None:
        return False
    if leaf.keyword in _KEPT and leaf.text == str(source.subject.get(leaf.keyword, "")):
        return True
    pattern = _PATTERNS[leaf.vr]
    return all(
        not part
        or pattern.fullmatch(part) is not None
        or (leaf.vr == "UI" and _cited(part, source))
        for part in ([leaf.text] if leaf.vr in _ONE_VALUE else leaf.text.split("\\"))
    )


def _cited(uid: str, source: Source) -> bool:
    """Tell whether a UID with leading zeros is the source's own, which is cited as it is."""
    if not is_uid(uid):
        return False
    if not source.series:  # refused: the instances are not known one by one
        return True
    own = {source.study_instance_uid, *source.series, *source.sop_instance_uids}
    return uid in own | {one.grid.frame_of_reference_uid for one in source.series.values()}
