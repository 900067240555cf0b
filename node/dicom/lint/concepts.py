"""Whether every code is one of the standard's tables or of ours, with the meaning it has there."""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Final, TypeAlias

from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from node.dicom import codes as ours
from node.dicom.lint.faults import Found, Rule
from node.dicom.lint.items import Item

_SCHEMES: Final = ("DCM", "SCT", "UCUM", "UMLS", "NCIt", "IBSI")
# Standard, and in no table of pydicom's: TID 1500 row 12, PS3.16 CID 5000, CID 7464.
_BESIDES: Final = (
    Code("C0034375", "UMLS", "Qualitative Evaluations"),
    Code("en-US", "RFC5646", "English (United States)"),
    Code("ml", "UCUM", "milliliter"),
    Code("mm", "UCUM", "millimeter"),
    Code("g", "UCUM", "gram"),
    Code("min", "UCUM", "minute"),
    Code("Bq", "UCUM", "becquerel"),
    Code("{pixels}", "UCUM", "pixels"),
    Code("{-1:1}", "UCUM", "{-1:1}"),
    Code("%", "UCUM", "Percent"),
    Code("373572006", "SCT", "Clinical finding absent"),
)
_Coded: TypeAlias = list[tuple[str, Item, Item]]
_REASON_NAMES: Final = (ours.REFUSAL_REASON, ours.INAPPLICABLE_REASON, ours.WARNING)
_BY_TASK: Final = {
    "PROB_": "Probability of ",
    "CUT_": "Cut-off for ",
    "CAT_": "Risk of ",
}


def wrong_codes(dataset: Item) -> Iterator[Found]:
    """Yield every code that no table holds with its meaning, or of a scheme that is not told."""
    coded = _coded(dataset, [])
    yield from _unknown_codes(coded)
    yield from _undeclared_schemes(dataset, coded)


def _unknown_codes(coded: _Coded) -> Iterator[Found]:
    for keyword, item, holder in coded:
        told = _triple(item)
        if told is None:
            yield Rule.CODE, f"an item of {keyword} lacks code, scheme or meaning"
            continue
        value, scheme, meaning = told
        if keyword == "ConceptCodeSequence" and _is_reason(holder, scheme, value):
            continue
        meanings = _known().get((scheme, value))
        if meanings is None and not _names_task(scheme, value, meaning):
            yield Rule.CODE, f"({value}, {scheme}) in {keyword} is in no known table"
        elif meanings is not None and _plain(meaning) not in meanings:
            yield Rule.CODE, f"({value}, {scheme}) in {keyword} has a wrong meaning"


def _undeclared_schemes(dataset: Item, coded: _Coded) -> Iterator[Found]:
    """Yield our private scheme where the object uses it and does not declare it (C.12.1.1.9)."""
    declared = {
        one.get("CodingSchemeDesignator")
        for one in dataset.get("CodingSchemeIdentificationSequence", [])
    }
    used = {item.get("CodingSchemeDesignator", "") for _, item, _ in coded}
    for scheme in sorted(used - declared):
        if scheme.startswith("99"):
            yield Rule.CODE, f"the coding scheme {scheme} is not declared"


def is_known_unit(value: str) -> bool:
    """Tell whether a code is a unit of UCUM that we know."""
    return ("UCUM", value) in _known()


def _coded(dataset: Item, found: _Coded) -> _Coded:
    """Add the name of the sequence, the item and the item's holder for each coded concept."""
    for keyword, items in dataset.items():
        if not isinstance(items, list):
            continue
        by_name = keyword.endswith("CodeSequence")
        for item in items:
            if by_name or "CodeValue" in item:
                found.append((keyword, item, dataset))
            _coded(item, found)
    return found


def _triple(item: Item) -> tuple[str, str, str] | None:
    value = str(item.get("CodeValue") or "")
    scheme = str(item.get("CodingSchemeDesignator") or "")
    meaning = str(item.get("CodeMeaning") or "")
    return (value, scheme, meaning) if value and scheme and meaning else None


def _is_reason(holder: Item, scheme: str, value: str) -> bool:
    """Tell whether a code is the value of a reason, whose meaning tells the study's numbers."""
    names = {
        (name.get("CodeValue"), name.get("CodingSchemeDesignator"))
        for name in holder.get("ConceptNameCodeSequence", [])
    }
    reasons = {(one.value, one.scheme_designator) for one in _REASON_NAMES}
    fits = value.replace("_", "").isalnum() and value == value.upper() and value[0].isalpha()
    return scheme == ours.PRIVATE_SCHEME and fits and bool(names & reasons)


def _names_task(scheme: str, value: str, meaning: str) -> bool:
    """Tell whether a code of ours names a task that the bundle defines."""
    return scheme == ours.PRIVATE_SCHEME and any(
        value.startswith(prefix) and meaning.startswith(words) for prefix, words in _BY_TASK.items()
    )


def _plain(meaning: str) -> str:
    # Capitals, and SNOMED's suffix, differ between the standard's own tables.
    return meaning.casefold().removesuffix(" (attribute)")


@cache
def _known() -> Mapping[tuple[str, str], frozenset[str]]:
    """Return the meanings of every code that we may use, by scheme and value."""
    standard = [code for scheme in _SCHEMES for code in getattr(codes, scheme).concepts.values()]
    table: dict[tuple[str, str], set[str]] = {}
    for code in (*standard, *_BESIDES, *_private()):
        table.setdefault((code.scheme_designator, code.value), set()).add(_plain(code.meaning))
    return {key: frozenset(meanings) for key, meanings in table.items()}


def _private() -> Iterator[Code]:
    """Yield the private table: every code of our scheme that ``node.dicom.codes`` holds."""
    for name in vars(ours).values():
        for code in name.values() if isinstance(name, Mapping) else [name]:
            if isinstance(code, Code) and code.scheme_designator == ours.PRIVATE_SCHEME:
                yield code
    for task in ("occult_n1", "occult_n2"):
        yield from (ours.probability(task), ours.cutoff(task), ours.category(task))
