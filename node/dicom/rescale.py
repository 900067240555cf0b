"""From the stored values of planes to HU, or to the units of a PET, in place."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from inference.volume import Voxels
from node.dicom.attributes import Attributes, number, shared
from node.dicom.native import Stored
from node.dicom.reasons import unusable

AIR_HU: Final = -1024.0
"""What stands outside a CT's field of view; nothing is less dense."""
_WHOLE: Final = frozenset({"<i2", "<u2"})
_INT16: Final = np.iinfo(np.int16)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """What one plane's header says of its stored values."""

    slope: float
    intercept: float
    padding: tuple[float, float] | None
    """From which to which stored value there is no value (PS3.3 C.7.5.1.1.2)."""
    stands_for: float
    """What padding becomes: air, and no activity in a PET."""
    least: float
    """What is below becomes this."""


def rule(header: Attributes, modality: str) -> Rule:
    """Read how a plane is rescaled; one without a positive slope is refused."""
    slope, intercept = number(header, "RescaleSlope"), number(header, "RescaleIntercept")
    if not slope or slope < 0:
        told = "no rescale slope" if not slope else f"rescale slope {slope:g}"
        raise unusable("SUV_UNITS" if modality == "PT" else "CT_NOT_HU", told)
    is_ct = modality == "CT"
    return Rule(
        slope=slope,
        intercept=intercept or 0.0,
        padding=shared(header, _padding),
        stands_for=AIR_HU if is_ct else 0.0,
        least=AIR_HU if is_ct else -math.inf,
    )


def as_whole(
    rules: Sequence[Rule], stored: Stored, ends: Stored
) -> tuple[NDArray[np.int16], float, float] | None:
    """Rescale planes of 16 bits in place, where whole numbers of 16 bits are what comes of them.

    Returns them, and the least and the greatest as ``apply`` does, whose results they are; None,
    and nothing is changed, where it has to be done by ``apply``. Half as many bytes are gone
    through.
    """
    intercept = rules[0].intercept
    alike = all(rule.slope == 1 and rule.intercept == intercept for rule in rules)
    if not alike or stored.dtype.str not in _WHOLE or not intercept.is_integer():
        return None
    low, high = int(ends.min()) + int(intercept), int(ends.max()) + int(intercept)
    if min(low, intercept) < _INT16.min or max(high, intercept) > _INT16.max:
        return None
    padded = [_padded(*one) for one in zip(rules, stored, ends, strict=True)]
    whole: NDArray[np.int16] = stored.view("<i2")
    if intercept:
        np.add(whole, np.int16(intercept), out=whole)  # past its ends, and back again
    if any(places is not None for places in padded):
        for plane, places, rule in zip(whole, padded, rules, strict=True):
            if places is not None:
                np.putmask(plane, places, rule.stands_for)
        low, high = int(whole.min()), int(whole.max())
    if low < rules[0].least:
        np.maximum(whole, np.int16(rules[0].least), out=whole)
    return whole, float(low), float(high)


def apply(
    rules: Sequence[Rule], stored: Stored, ends: Stored, *, out: Voxels
) -> tuple[float, float]:
    """Write the rescaled values of planes of one series, and return the least and the greatest.

    There is a rule for each plane, and a row of ``ends``: its least and its greatest stored value.
    The least is told as it was before what is below ``Rule.least`` was raised to it.
    """
    told: Voxels = np.empty(ends.shape, np.float32)
    _rescale(rules, stored, out=out)
    _rescale(rules, ends[:, :, None], out=told[:, :, None])  # rounding keeps the order of values
    for i, rule in enumerate(rules):
        padded = _padded(rule, stored[i], ends[i])
        if padded is not None:
            np.putmask(out[i], padded, rule.stands_for)
        if padded is not None or not all(map(math.isfinite, told[i])):
            told[i] = out[i].min(), out[i].max()
    low, high = float(told.min()), float(told.max())
    if not low >= rules[0].least:  # what is no number is below as well
        np.maximum(out, np.float32(rules[0].least), out=out)
    return low, high


def _rescale(rules: Sequence[Rule], stored: Stored, *, out: Voxels) -> None:
    slopes, intercepts = [rule.slope for rule in rules], [rule.intercept for rule in rules]
    with np.errstate(over="ignore", invalid="ignore"):
        if stored.dtype.kind in "iu" and stored.itemsize <= 2:
            # The same numbers in half the time: each of them is exact in the volume's type.
            np.copyto(out, stored, casting="unsafe")
            if any(slope != 1 for slope in slopes):
                np.multiply(out, _column(slopes), out=out)
            if any(intercepts):  # whole numbers hold no minus zero that adding zero would change
                np.add(out, _column(intercepts), out=out)
        else:
            np.multiply(stored, _column(slopes), out=out, casting="unsafe")
            np.add(out, _column(intercepts), out=out)


def _column(numbers: Sequence[float]) -> NDArray[np.float32]:
    """Return what a stack of planes is calculated with, one number for each of them."""
    column: Voxels = np.asarray(numbers, np.float32)[:, None, None]
    return column


def _padded(rule: Rule, stored: Stored, ends: Stored) -> NDArray[np.bool_] | None:
    """Return where a plane has what stands for no value; None where that is nowhere."""
    if rule.padding is None:
        return None
    low, high = rule.padding
    least, most = ends.tolist()
    if most < low or least > high:
        return None
    if stored.dtype.kind in "iu":  # whole numbers are compared as what they are
        low, high = math.ceil(low), math.floor(high)
    values: NDArray[Any] = stored
    padded: NDArray[np.bool_] = values == low if low == high else (values >= low) & (values <= high)
    return padded


def _padding(header: Attributes) -> tuple[float, float] | None:
    value = number(header, "PixelPaddingValue")
    if value is None:
        return None
    limit = number(header, "PixelPaddingRangeLimit")
    ends = [_as_stored(value, header), _as_stored(value if limit is None else limit, header)]
    return min(ends), max(ends)


def _as_stored(value: float, header: Attributes) -> float:
    """Return a value with the sign of the pixels: some write 63536 for -2000."""
    signed = number(header, "PixelRepresentation") == 1
    if signed and value > 0x7FFF:
        return value - 0x10000
    return value + 0x10000 if not signed and value < 0 else value
