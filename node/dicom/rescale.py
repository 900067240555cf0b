"""From the stored values of one plane to HU, or to the units of a PET, in place."""

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from inference.volume import Voxels
from node.dicom.attributes import Attributes, number
from node.dicom.native import Stored
from node.dicom.reasons import unusable

AIR_HU: Final = -1024.0
"""What stands outside a CT's field of view; nothing is less dense."""


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
        padding=_padding(header),
        stands_for=AIR_HU if is_ct else 0.0,
        least=AIR_HU if is_ct else -math.inf,
    )


def apply(
    rule: Rule, stored: Stored, ends: tuple[float, float], *, out: Voxels
) -> tuple[float, float]:
    """Write the rescaled values, and return the least and the greatest of them.

    ``ends`` are the least and the greatest stored value. The least is told as it was before what
    is below ``rule.least`` was raised to it.
    """
    _rescale(rule, stored, out=out)
    if rule.padding is not None and _replace(stored, ends, rule.padding, out, rule.stands_for):
        low, high = float(out.min()), float(out.max())
    else:
        low, high = _rescaled(rule, ends, stored.dtype)
        if not (math.isfinite(low) and math.isfinite(high)):
            low, high = float(out.min()), float(out.max())
    if not low >= rule.least:  # what is no number is below as well
        np.maximum(out, np.float32(rule.least), out=out)
    return low, high


def _rescale(rule: Rule, stored: Stored, *, out: Voxels) -> None:
    with np.errstate(over="ignore", invalid="ignore"):
        if stored.dtype.kind in "iu" and stored.itemsize <= 2:
            # The same numbers in half the time: each of them is exact in the volume's type.
            np.copyto(out, stored, casting="unsafe")
            if rule.slope != 1:
                np.multiply(out, np.float32(rule.slope), out=out)
        else:
            np.multiply(stored, np.float32(rule.slope), out=out, casting="unsafe")
        out += np.float32(rule.intercept)


def _rescaled(rule: Rule, ends: tuple[float, float], stored_type: Any) -> tuple[float, float]:  # noqa: ANN401  (NumPy's own)
    """Rescale the ends as every value is: rounding keeps their order."""
    both: Voxels = np.empty(2, np.float32)
    _rescale(rule, np.asarray(ends, stored_type), out=both)
    return float(both[0]), float(both[1])


def _replace(
    stored: Stored, ends: tuple[float, float], padding: tuple[float, float], out: Voxels, by: float
) -> bool:
    """Replace what stands for no value, and tell whether there was any."""
    low, high = padding
    if ends[1] < low or ends[0] > high:
        return False
    if stored.dtype.kind in "iu":  # whole numbers are compared as what they are
        low, high = math.ceil(low), math.floor(high)
    values: NDArray[Any] = stored
    padded = values == low if low == high else (values >= low) & (values <= high)
    np.putmask(out, padded, by)
    return True


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
