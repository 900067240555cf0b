"""Whether the numbers of a report are possible, have the right unit and agree with each other."""

import math
from collections.abc import Iterator, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Final

from pydicom.sr.codedict import codes

from node.dicom import codes as ours
from node.dicom.lint.concepts import is_known_unit
from node.dicom.lint.faults import Found, Rule
from node.dicom.lint.report import GROUP
from node.dicom.lint.tree import Concept, Node, concept, key

_VOLUMES: Final = frozenset({"ml", "cm3", "mm3"})
_UNITS: Final[Mapping[Concept, frozenset[str]]] = MappingProxyType(
    {
        key(codes.DCM.Suvbw): frozenset({"g/ml{SUVbw}"}),
        key(codes.DCM.MetabolicVolume): _VOLUMES,
        key(codes.SCT.Volume): _VOLUMES,
        key(codes.DCM.TotalLesionGlycolysis): frozenset({"g"}),
        key(codes.SCT.Diameter): frozenset({"mm"}),
        key(codes.SCT.LongAxis): frozenset({"mm"}),
        key(codes.SCT.ShortAxis): frozenset({"mm"}),
    }
)
_DERIVATION: Final = key(codes.DCM.Derivation)
_SUV: Final = key(codes.DCM.Suvbw)


def wrong_units(root: Node) -> Iterator[Found]:
    """Yield numbers without a unit of UCUM that fits what they measure."""
    for node in (one for one in root if one.value_type == "NUM"):
        for item in node.dataset.get("MeasuredValueSequence", []):
            value, scheme = concept(item, "MeasurementUnitsCodeSequence")
            fitting = _UNITS.get(node.name)
            if _is_percentage(node.name):
                fitting = frozenset({"%"})
            if scheme != "UCUM" or not is_known_unit(value):
                yield Rule.UNIT, f"{node.name[0]} has no unit of UCUM"
            elif fitting is not None and value not in fitting:
                yield Rule.UNIT, f"{node.name[0]} has a unit of another quantity"


def wrong_numbers(root: Node) -> Iterator[Found]:
    """Yield numbers that cannot be, or that contradict each other."""
    for node in (one for group in root.below(GROUP) for one in group if one.value_type == "NUM"):
        value = node.number
        if value is None or not math.isfinite(value) or value < 0:
            yield Rule.NUMBER, f"{node.name[0]} is no number from 0 up"
        elif _is_percentage(node.name) and value > 100:
            yield Rule.NUMBER, f"{node.name[0]} is more than 100 %"
    for group in root.below(GROUP):
        yield from _contradictions(group)


def _contradictions(group: Node) -> Iterator[Found]:
    """Yield where mean exceeds maximum, or TLG is not SUVmean times metabolic volume."""
    suvs = {
        derived.code: node
        for node in group.named(_SUV)
        for derived in node.named(_DERIVATION)
        if node.number is not None
    }
    maximum, mean = suvs.get(key(codes.SCT.Maximum)), suvs.get(key(codes.SCT.Mean))
    if maximum and mean and (mean.number or 0) > (maximum.number or 0) + rounding(mean):
        yield Rule.NUMBER, "SUVmean is more than SUVmax"
    volume, glycolysis = (
        next(iter(group.named(key(code))), None)
        for code in (codes.DCM.MetabolicVolume, codes.DCM.TotalLesionGlycolysis)
    )
    if not (mean and volume and glycolysis) or None in (volume.number, glycolysis.number):
        return
    a, b, product = mean.number or 0, volume.number or 0, glycolysis.number or 0
    allowed = a * rounding(volume) + b * rounding(mean) + rounding(glycolysis)
    if abs(a * b - product) > allowed + 0.005 * product:
        yield Rule.NUMBER, "TLG is not SUVmean times metabolic volume"


def rounding(node: Node) -> float:
    """Return half a unit of the last digit that a number is written with."""
    exponent = Decimal(node.dataset["MeasuredValueSequence"][0]["NumericValue"]).as_tuple().exponent
    return 0.5 * 10.0 ** (exponent if isinstance(exponent, int) else 0)


def _is_percentage(name: Concept) -> bool:
    return name[1] == ours.PRIVATE_SCHEME and name[0].startswith(("PROB_", "CUT_"))
