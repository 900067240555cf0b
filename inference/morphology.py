"""Grows, shrinks and parts sets of voxels, as SciPy does but sooner.

With a border round it a set is one row of bytes, and a step along an axis is a shift of that row,
which a machine combines dozens of voxels at a time. What hangs together is told from the runs of a
set, of which there are few: of the voxels there are many.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise, product
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from inference.geometry import Vector
from inference.volume import Mask

_Combine: TypeAlias = Callable[..., Any]
_Integers: TypeAlias = NDArray[np.int64]
_Corner: TypeAlias = tuple[int, int]
"""A row and a column."""

ALL_AXES = (0, 1, 2)


def dilated(mask: Mask, steps: int, *, axes: Sequence[int] = ALL_AXES) -> Mask:
    """Return what is at most so many steps from ``mask``, each along one of ``axes``.

    As ``ndimage.binary_dilation`` with so many iterations.
    """
    return _stepped(mask, steps, combine=np.logical_or, border=False, axes=axes)


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


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Parts:
    """A set as its connected parts, numbered from 0 as they come in the volume.

    A run is as many voxels of the set as lie side by side in one row.
    """

    mask: Mask
    slices: _Integers
    """Of each run: its slice."""
    rows: _Integers
    first: _Integers
    """Of each run: its first column."""
    stop: _Integers
    """Of each run: the column behind its last."""
    part: _Integers
    """Of each run: the number of its part."""
    count: int
    """How many parts there are."""

    @classmethod
    def of(cls, mask: Mask, *, axes: Sequence[int] = ALL_AXES) -> "Parts":
        """Return the parts of which steps along ``axes`` join the voxels; ``axes`` hold rows' own.

        As ``ndimage.label`` does, in a third of the time and less.
        """
        slices, rows, columns = mask.shape
        # A column and a row that are empty, so that nothing is beside what lies in another one.
        flat = np.zeros(1 + slices * (rows + 1) * (columns + 1), np.bool_)
        padded = flat[1:].reshape(slices, rows + 1, columns + 1)
        padded[:, :rows, :columns] = mask
        ends = np.flatnonzero(flat[1:] != flat[:-1])
        start, stop = ends[0::2], ends[1::2]
        steps = [padded[0].size, columns + 1]  # to the next slice, to the next row
        pairs = [_touching(start, stop, steps[axis]) for axis in axes if axis < 2]
        part, count = _numbered(len(start), pairs)
        line, first = np.divmod(start, columns + 1)
        return cls(
            mask=mask,
            slices=line // (rows + 1),
            rows=line % (rows + 1),
            first=first,
            stop=first + (stop - start),
            part=part,
            count=count,
        )

    @property
    def sizes(self) -> _Integers:
        """How many voxels each part has."""
        sizes: _Integers = np.bincount(
            self.part, weights=self.stop - self.first, minlength=self.count
        ).astype(np.int64)
        return sizes

    @property
    def of_voxels(self) -> _Integers:
        """Return the number of each voxel's part, for the voxels as they come in the volume."""
        return np.repeat(self.part, self.stop - self.first)

    def where(self, some: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which parts have one at least of ``some`` runs."""
        found: NDArray[np.bool_] = np.zeros(self.count, np.bool_)
        found[self.part[some]] = True
        return found

    def at(self, index: Sequence[Any]) -> int:
        """Return the number of the part that holds a voxel of the set."""
        z, y, x = index
        (run,) = np.flatnonzero(
            (self.slices == z) & (self.rows == y) & (self.first <= x) & (x < self.stop)
        )
        return int(self.part[run])

    def drawn(self, some: NDArray[np.bool_]) -> Mask:
        """Return the set of the parts that are in ``some``; the fewer voxels are drawn."""
        kept = some[self.part]
        length = self.stop - self.first
        most = bool(2 * length[kept].sum() > length.sum())
        one_by_one = ~kept if most else kept
        length = length[one_by_one]
        drawn: Mask = self.mask.copy() if most else np.zeros_like(self.mask)
        _, rows, columns = self.mask.shape
        at = (self.slices * rows + self.rows) * columns + self.first
        before = np.cumsum(length) - length
        voxels = np.repeat(at[one_by_one] - before, length) + np.arange(length.sum())
        drawn.reshape(-1)[voxels] = not most
        return drawn


def largest(mask: Mask) -> Mask:
    """Return the largest connected part, of equals the first; nothing of nothing."""
    parts = Parts.of(mask)
    if not parts.count:
        return mask
    return parts.drawn(np.arange(parts.count) == parts.sizes.argmax())


def filled(mask: Mask) -> Mask:
    """Return ``mask`` with its holes, as ``ndimage.binary_fill_holes``."""
    parts = Parts.of(~mask)
    slices, rows, columns = mask.shape
    outside = (parts.slices == 0) | (parts.slices == slices - 1)
    outside |= (parts.rows == 0) | (parts.rows == rows - 1)
    outside |= (parts.first == 0) | (parts.stop == columns)
    holes = ~parts.where(outside)
    return mask | parts.drawn(holes) if holes.any() else mask.copy()


def convex(mask: Mask) -> Mask:
    """Return the convex hull of what ``mask`` holds of each slice; what is in one line has none.

    It is that of the first and the last voxel of each row, and holds the centres that lie on it.
    """
    hull = mask.copy()
    slices, rows = np.nonzero(mask.any(axis=2))
    held = mask[slices, rows]
    first, last = held.argmax(axis=1), held.shape[1] - 1 - held[:, ::-1].argmax(axis=1)
    columns = np.arange(held.shape[1])
    bounds = np.searchsorted(slices, np.arange(len(mask) + 1)).tolist()
    for part, (start, stop) in zip(hull, pairwise(bounds), strict=True):
        own = slice(start, stop)
        low, high = _chain(rows[own], -first[own]), _chain(rows[own], last[own])
        if len(low) < 2 or (len(low) == len(high) == 2 and low == [(r, -c) for r, c in high]):
            continue
        (top, _), (bottom, _) = low[0], low[-1]
        part[top : bottom + 1] |= (columns >= -_along(low)[:, None]) & (
            columns <= _along(high)[:, None]
        )
    return hull


def _chain(rows: _Integers, columns: _Integers) -> list[_Corner]:
    """Return the corners of the hull that no point lies beyond, towards the greater columns."""
    corners: list[_Corner] = []
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        while len(corners) > 1:
            (a, b), (c, d) = corners[-2:]
            if (d - b) * (row - c) > (column - d) * (c - a):
                break
            corners.pop()  # it lies on the line from the one before, or on its inner side
        corners.append((row, column))
    return corners


def _along(corners: Sequence[_Corner]) -> _Integers:
    """Return the last column on the inner side of the lines from corner to corner, for each row.

    Whole numbers, so that what lies on a line is inside.
    """
    rows, columns = np.asarray(corners).T
    every = np.arange(rows[0], rows[-1] + 1)
    line = np.minimum(np.searchsorted(rows, every, side="right"), len(rows) - 1)
    down, across = np.diff(rows)[line - 1], np.diff(columns)[line - 1]
    found: _Integers = columns[line - 1] + (across * (every - rows[line - 1])) // down
    return found


def _touching(start: _Integers, stop: _Integers, step: int) -> tuple[_Integers, _Integers]:
    """Return each run, and each that it touches a step before it."""
    first = np.searchsorted(stop + step, start, side="right")
    last = np.searchsorted(start + step, stop, side="left")
    count = last - first
    before = np.cumsum(count) - count
    here = np.repeat(np.arange(len(start)), count)
    return here, np.repeat(first - before, count) + np.arange(count.sum())


def _numbered(runs: int, pairs: Sequence[tuple[_Integers, _Integers]]) -> tuple[_Integers, int]:
    """Return the number of each run's part, from 0 as they come, and how many parts there are."""
    if not runs:
        return np.empty(0, np.int64), 0
    here, there = (np.concatenate(ends) for ends in zip(*pairs, strict=True))
    ways = coo_array((np.ones(len(here), np.int8), (here, there)), (runs, runs))
    count, label = connected_components(ways, directed=False)
    first = np.empty(count, np.int64)
    first[label[::-1]] = np.arange(runs)[::-1]  # what comes last stays
    rank: _Integers = np.empty(count, np.int64)
    rank[np.argsort(first)] = np.arange(count)
    return rank[label], count


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
