"""Which tracer a PET shows, told from codes and texts."""

import re
from enum import Enum

from pydicom.sr.coding import Code

from node.dicom.attributes import Attributes, code, codes, items, number, text, texts

F18_HALF_LIFE_S = 6586.2
"""109.77 min."""

_FDG = code("SCT", "35321007", "Fluorodeoxyglucose F^18^")
# A vendor's code for the same: no mapping of SNOMED's holds it.
_FDG_PRIVATE = code("99SDM", "Y-X1743", "FDG -- fluorodeoxyglucose")
_F18 = code("SCT", "77004003", "^18^Fluorine")
_FDG_TEXT = re.compile(r"fdg|deoxy-?\s*(?:d-)?glucose|desoxyglu[ck]ose|fludeoxy", re.IGNORECASE)
_F18_TEXT = re.compile(r"(?<![a-z0-9])(?:f[\s\-^]*18|18[\s\-^]*f)(?![0-9])|fluor", re.IGNORECASE)
# A text of the isotope alone, or of the form it is given in, names no tracer.
_NO_TRACER = re.compile(
    r"(?:[\s\-^,;:.()\[\]]|f|18|fluorine|fluor|solution|injection|iv|other|unknown|none|n/?a)*",
    re.IGNORECASE,
)
_OTHER_TRACER = re.compile(
    r"(?<![a-z])(?:flt|fluorothymidine|fes|fmiso|faza|fet|fdopa|dopa|fch|choline|naf|psma"
    r"|dcfpyl|pylarify|dota\w*|fapi\w*|fluciclovine|axumin|florbeta\w*|flutemetamol|flortaucipir"
    r"|amyloid|rubidium|ammonia|acetate|methionine)(?![a-z])",
    re.IGNORECASE,
)
_DESCRIPTIONS = (
    "SeriesDescription",
    "StudyDescription",
    "ProtocolName",
    "AttenuationCorrectionMethod",
)


class Tracer(Enum):
    """What can be told of a PET's tracer."""

    FDG = "FDG"
    OTHER = "other"
    UNNAMED_F18 = "unnamed, F-18"
    """No tracer is named, the radionuclide is F-18, and no description names another tracer."""
    UNNAMED = "unnamed"


def tracer_of(header: Attributes) -> Tracer:
    """Tell the tracer: by code in any scheme, else by name, else by what descriptions betray.

    A code or a name of FDG settles it, unless a radionuclide is coded that is not F-18. Any other
    code or name is another tracer; a name that only repeats the isotope is no name.
    """
    coded, named = _codes(header), _names(header)
    if any(c in (_FDG, _FDG_PRIVATE) for c in coded) or any(map(_FDG_TEXT.search, named)):
        return Tracer.OTHER if _is_of_another_nuclide(header) else Tracer.FDG
    if any(not _NO_TRACER.fullmatch(name) for name in named):
        return Tracer.OTHER
    if any(c != _F18 for c in coded):
        return Tracer.OTHER
    return _unnamed(header)


def is_f18(header: Attributes) -> bool | None:
    """Tell whether the radionuclide is F-18; None where neither code nor half-life says so."""
    for item in items(header, "RadiopharmaceuticalInformationSequence")[:1]:
        stated = codes(item, "RadionuclideCodeSequence")
        if stated:
            return any(c == _F18 or _F18_TEXT.search(c.meaning) is not None for c in stated)
        half_life_s = number(item, "RadionuclideHalfLife")
        if half_life_s is not None:
            return is_f18_half_life(half_life_s)
    return None


def _is_of_another_nuclide(header: Attributes) -> bool:
    coded = [
        c
        for item in items(header, "RadiopharmaceuticalInformationSequence")
        for c in codes(item, "RadionuclideCodeSequence")
        if c.value
    ]
    return bool(coded) and not any(c == _F18 or _F18_TEXT.search(c.meaning) for c in coded)


def is_f18_half_life(half_life_s: float) -> bool:
    """Tell whether a half-life is that of F-18 to one per cent, as vendors round it."""
    return abs(half_life_s - F18_HALF_LIFE_S) <= 0.01 * F18_HALF_LIFE_S


def _unnamed(header: Attributes) -> Tracer:
    if any(_OTHER_TRACER.search(t) for keyword in _DESCRIPTIONS for t in texts(header, keyword)):
        return Tracer.OTHER
    return Tracer.UNNAMED_F18 if is_f18(header) else Tracer.UNNAMED


def _codes(header: Attributes) -> list[Code]:
    return [
        c
        for item in items(header, "RadiopharmaceuticalInformationSequence")
        for c in codes(item, "RadiopharmaceuticalCodeSequence")
        if c.value
    ]


def _names(header: Attributes) -> list[str]:
    listed = [c.meaning for c in _codes(header)]
    written = [
        text(item, "Radiopharmaceutical")
        for item in items(header, "RadiopharmaceuticalInformationSequence")
    ]
    return [name for name in (*listed, *written, text(header, "Radiopharmaceutical")) if name]
