"""Philips' private factors, which turn counts into SUVbw or into activity."""

from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from node.dicom.attributes import UNREADABLE

_GROUP = 0x7053
_CREATOR = "philips pet private group"


@dataclass(frozen=True, kw_only=True, slots=True)
class CountFactors:
    """What one rescaled count stands for; None where the factor is absent or not positive."""

    suvbw: float | None
    """(7053,xx00): g/ml for each count."""
    activity: float | None
    """(7053,xx09): Bq/ml for each count."""


def count_factors(dataset: Dataset) -> CountFactors:
    """Read the factors from the block that Philips' private creator reserved, wherever it is."""
    for block in range(0x10, 0x100):
        if _written(dataset, block).lower() == _CREATOR:
            return CountFactors(
                suvbw=_positive(_written(dataset, block * 0x100 + 0x00)),
                activity=_positive(_written(dataset, block * 0x100 + 0x09)),
            )
    return CountFactors(suvbw=None, activity=None)


def _written(dataset: Dataset, element: int) -> str:
    """Return one private value as text, also where its VR is unknown."""
    try:
        if (_GROUP, element) not in dataset:
            return ""
        value = dataset[_GROUP, element].value
        if isinstance(value, Sequence):
            return ""
        return (value.decode("ascii") if isinstance(value, bytes) else str(value)).strip(" \0")
    except UNREADABLE:
        return ""


def _positive(written: str) -> float | None:
    try:
        factor = float(written)
    except ValueError:
        return None
    return factor if 0 < factor < float("inf") else None
