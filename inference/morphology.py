"""Grows and shrinks sets of voxels, by steps along the axes or by mm, as SciPy does but sooner.

With a border round it a set is one row of bytes, and a step along an axis is a shift of that row,
which a machine combines dozens of voxels at a time.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import product
from typing import Any, TypeAlias

import numpy as np

from inference.geometry import Vector
from inference.volume import Mask

_Combine: TypeAlias = Callable[..., Any]

ALL_AXES = (0, 1, 2)


def dilated(mask: Mask, steps: int) -> Mask:
    """Return what is at most so many steps from ``mask``, each along one axis.

    As ``ndimage.binary_dilation`` with so many iterations.
    """
    return _stepped(mask, steps, combine=np.logical_or, border=False, axes=ALL_AXES)


def eroded(mask: Mask, steps: int, *, border: bool = False, axes: Sequence[int] = ALL_AXES) -> Mask:
    """Return what is more than so many steps along ``axes`` from all that is not in ``mask``.

    ``border`` says whether what lies off the array counts as in the set. As
    ``ndimage.binary_erosion`` with so many iterations.
    """
    return _stepped(mask, steps, combine=np.logical_and, border=border, axes=axes)


def opened(mask: Mask) -> Mask:
    """Return ``mask`` without what is no wider than two voxels, as ``ndimage.binary_opening``."""
    return dilated(eroded(mask, 1), 1)


def within(mask: Mask, radius_mm: float, spacing: Vector) -> Mask:
    """Return the voxels whose centres are at most ``radius_mm`` from that of one in ``mask``.

    These are the voxels for which ``ndimage.distance_transform_edt`` of all else is no more than
    that. Nothing is within of an empty set.
    """
    reach = _reach(radius_mm, spacing)
    padded = np.pad(mask, [(n, n) for n in reach])
    inner = tuple(slice(n, n + size) for n, size in zip(reach, mask.shape, strict=True))
    flat = padded.reshape(-1)
    row = padded.shape[2]
    plane = row * padded.shape[1]
    along_row, widest = flat.copy(), 0
    near = np.zeros_like(flat)
    start, stop = (int(np.ravel_multi_index([f(s) for s in inner], padded.shape)) for f in _ENDS)
    stop += 1
    for half, down, across in _chords(radius_mm, spacing):
        while widest < half:
            widest += 1
            along_row[widest:] |= flat[:-widest]
            along_row[:-widest] |= flat[widest:]
        shift = down * plane + across * row
        near[start:stop] |= along_row[start + shift : stop + shift]
    found: Mask = near.reshape(padded.shape)[inner].copy()
    return found


_ENDS: Sequence[Callable[[slice], int]] = (lambda s: s.start, lambda s: s.stop - 1)


def _reach(radius_mm: float, spacing: Vector) -> list[int]:
    return [int(radius_mm / step) + 1 for step in spacing]


@lru_cache(maxsize=64)
def _chords(radius_mm: float, spacing: Vector) -> tuple[tuple[int, int, int], ...]:
    """Return of each row that a ball meets its half width in voxels, and how far off it lies.

    The shortest come first.
    """
    reach, chords = _reach(radius_mm, spacing), []
    columns_mm2 = np.square(np.arange(reach[2] + 1) * spacing[2])
    for down, across in product(*(range(-n, n + 1) for n in reach[:2])):
        off_mm2 = (down * spacing[0]) ** 2 + (across * spacing[1]) ** 2
        count = int(np.count_nonzero(np.sqrt(off_mm2 + columns_mm2) <= radius_mm))
        if count:
            chords.append((count - 1, down, across))
    return tuple(sorted(chords))


def _stepped(
    mask: Mask, steps: int, *, combine: _Combine, border: bool, axes: Sequence[int]
) -> Mask:
    """Combine each voxel with its neighbours along ``axes``, so many times."""
    now = np.pad(mask, 1, constant_values=border)
    shifts = [now.strides[axis] for axis in axes]
    then = now.copy()
    for step in range(steps):
        if step:
            _set_border(then, border)
            now, then = then, now
            then[...] = now
        flat, out = now.reshape(-1), then.reshape(-1)
        for shift in shifts:
            combine(out[shift:], flat[:-shift], out=out[shift:])
            combine(out[:-shift], flat[shift:], out=out[:-shift])
    inner: Mask = then[1:-1, 1:-1, 1:-1].copy()
    return inner


def _set_border(padded: Mask, value: bool) -> None:  # noqa: FBT001  it is what is written
    for axis in ALL_AXES:
        sides = np.moveaxis(padded, axis, 0)
        sides[0] = sides[-1] = value
