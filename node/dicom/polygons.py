"""Closed planar polygons as voxels: the centres that lie inside by the even-odd rule."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from inference.geometry import Grid, Points
from inference.volume import Mask

PLANE_TOLERANCE = 0.1
"""How many slices a polygon's points may lie off its own plane."""
_SAME_PLANE = 1e-2
CROSSINGS_TOGETHER = 2**21
"""So many crossings of edges and rows are held at a time: a contour may have a million points."""

_Plane: TypeAlias = tuple[float, list[Points]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Drawn:
    """The voxels of a set of polygons, and how many of them lie on no slice."""

    mask: Mask
    dropped: int


def draw(polygons: Sequence[Points], grid: Grid) -> Drawn:
    """Return the voxels whose centres lie inside ``(n, 3)`` polygons in LPS mm.

    All polygons of one plane count together, so that a polygon inside another cuts a hole and the
    two sides of a keyhole cancel. A plane stands for the slices within half the usual distance of
    planes, at least half a slice; a slice takes its nearest plane. Dropped are polygons of fewer
    than three points, polygons not parallel to the slices, and planes outside the grid.
    """
    mask: Mask = np.zeros(grid.shape, np.bool_)
    planes, dropped = _planes(polygons, grid)
    for slice_index, plane in _nearest(planes, grid.shape[0]).items():
        mask[slice_index] = _inside(planes[plane][1], grid.shape[1:])
    return Drawn(mask=mask, dropped=dropped)


def _planes(polygons: Sequence[Points], grid: Grid) -> tuple[list[_Plane], int]:
    """Group polygons, as indices, by their height in slices."""
    planes: list[_Plane] = []
    dropped = 0
    placed = [grid.to_indices(points) for points in polygons if len(points) > 2]
    for indices in sorted(placed, key=lambda points: float(points[:, 0].mean())):
        height = float(indices[:, 0].mean())
        outside = not -0.5 - _SAME_PLANE <= height <= grid.shape[0] - 0.5 + _SAME_PLANE
        if outside or np.abs(indices[:, 0] - height).max() > PLANE_TOLERANCE:
            dropped += 1
        elif planes and height - planes[-1][0] < _SAME_PLANE:
            planes[-1][1].append(indices[:, 1:])
        else:
            planes.append((height, [indices[:, 1:]]))
    return planes, dropped + len(polygons) - len(placed)


def _nearest(planes: Sequence[_Plane], slices: int) -> dict[int, int]:
    """Map each slice that a plane stands for to the nearest plane."""
    if not planes:
        return {}
    heights = np.asarray([height for height, _ in planes])
    usual = float(np.median(np.diff(heights))) if len(planes) > 2 else 1.0
    reach = max(usual, 1.0) / 2 + _SAME_PLANE
    distances = np.abs(np.arange(slices)[:, None] - heights)
    plane_of = distances.argmin(axis=1)
    near = np.flatnonzero(distances.min(axis=1) <= reach)
    return {int(index): int(plane_of[index]) for index in near}


def _inside(polygons: Sequence[Points], shape: tuple[int, ...]) -> Mask:
    """Return the pixels whose centres have an odd number of edges to their left, half-open.

    An edge is crossed by a row whose centre it passes, the upper end counting and the lower not;
    the pixel at the crossing and all right of it change sides.
    """
    rows, columns = shape
    starts = np.concatenate(polygons)
    ends = np.concatenate([np.roll(points, -1, axis=0) for points in polygons])
    flips = np.zeros((rows, columns + 1), np.int64)
    together = max(CROSSINGS_TOGETHER // rows, 1)
    for first in range(0, len(starts), together):
        part = slice(first, first + together)
        _flip(flips, starts[part], ends[part])
    inside: Mask = (np.cumsum(flips[:, :columns], axis=1) % 2).astype(np.bool_)
    return inside


def _flip(flips: NDArray[np.int64], starts: Points, ends: Points) -> None:
    """Count, for each pixel, the edges that cross its row there."""
    rows, columns = flips.shape[0], flips.shape[1] - 1
    first, last = (
        np.clip(np.ceil(which(starts[:, 0], ends[:, 0])).astype(np.int64), 0, rows)
        for which in (np.minimum, np.maximum)
    )
    crossings = last - first
    edge = np.repeat(np.arange(len(starts)), crossings)
    row = (
        np.arange(edge.size) - np.repeat(np.cumsum(crossings) - crossings, crossings) + first[edge]
    )
    step = ends[edge] - starts[edge]
    column = starts[edge, 1] + (row - starts[edge, 0]) * step[:, 1] / step[:, 0]
    np.add.at(flips, (row, np.clip(np.ceil(column), 0, columns).astype(np.int64)), 1)
