"""The longest axis of a region within one slice, and the longest one across it."""

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist, squareform

from inference.geometry import Grid
from inference.volume import Mask, Region

Points: TypeAlias = NDArray[np.float64]

_LEVEL: Final = 0.1
"""Axes of which one end lies so many slices above another are not carried."""
_STEPS: Final = 200
"""In so many places along the long axis the width is taken."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Axes:
    """Two lines that cross at right angles, in image coordinates of one plane.

    Each is ``(2, 2)``: two points of (column, row) as SCOORD counts them (PS3.3 C.18.6.1.2), where
    0, 0 is the outer corner of the first pixel.
    """

    long: Points
    short: Points
    long_mm: float
    short_mm: float


def slice_of_longest_axis(region: Region) -> int:
    """Return the index of the slice in which the region is longest; the first of equals."""
    spacing = np.asarray(region.grid.spacing[1:])
    occupied = np.flatnonzero(region.mask.any(axis=(1, 2)))
    lengths = [pdist(_hull(region.mask[index], spacing)).max() for index in occupied]
    return int(occupied[int(np.argmax(np.round(lengths, 6)))])


def axes(region: Region, index: int) -> Axes:
    """Return the axes of the region in one slice; refuses a slice where it has no voxel.

    The long axis joins the two points of the surface that are farthest apart, the surface passing
    half a voxel beyond the outermost centres as for the lesion's diameters; the short axis is the
    longest line at right angles to it, across the region's hull.
    """
    spacing = np.asarray(region.grid.spacing[1:])
    hull = _hull(region.mask[index], spacing)
    distances = squareform(pdist(hull))
    start, end = hull[list(np.unravel_index(int(np.argmax(distances)), distances.shape))]
    short = _across(hull, start, end)
    return Axes(
        long=_as_scoord(np.stack([start, end]), spacing),
        short=_as_scoord(short, spacing),
        long_mm=float(np.linalg.norm(end - start)),
        short_mm=float(np.linalg.norm(short[1] - short[0])),
    )


def carried(found: Axes, index: int, grid: Grid, onto: Grid) -> tuple[int, Axes] | None:
    """Return a slice of ``onto`` and axes found in slice ``index`` of ``grid``, drawn there.

    They lie in the nearest slice, as long as they were. None where the slices are not parallel, or
    where the axes would leave the lattice.
    """
    pixels = np.concatenate([found.long, found.short])[:, ::-1] - 0.5
    points = grid.to_patient(np.column_stack([np.full(len(pixels), float(index)), pixels]))
    indices = onto.to_indices(points)
    if not onto.contains(points).all() or np.ptp(indices[:, 0]) > _LEVEL:
        return None
    scoord: Points = (indices[:, 1:] + 0.5)[:, ::-1]
    drawn = Axes(long=scoord[:2], short=scoord[2:], long_mm=found.long_mm, short_mm=found.short_mm)
    return round(float(indices[:, 0].mean())), drawn


def _hull(plane: Mask, spacing: Points) -> Points:
    """Return the corners of the region's hull in one plane, (row, column) in mm."""
    surface = _surface(plane) * spacing
    corners: Points = surface[ConvexHull(surface).vertices]
    return corners


def _surface(plane: Mask) -> Points:
    """Return, in (row, column) indices, the middles of the pixel edges round the region."""
    padded = np.pad(plane, 1).astype(np.int8)
    points = []
    for axis in range(2):
        edges = np.argwhere(np.diff(padded, axis=axis) != 0) - 1.0
        edges[:, axis] += 0.5
        points.append(edges)
    found: Points = np.concatenate(points)
    return found


def _across(hull: Points, start: Points, end: Points) -> Points:
    """Return the two ends of the longest chord of the hull at right angles to a line."""
    along = (end - start) / np.linalg.norm(end - start)
    normal = np.array([-along[1], along[0]])
    places = (hull - start) @ along
    offsets = (hull - start) @ normal
    at = np.linspace(0, float(np.linalg.norm(end - start)), _STEPS + 1)
    low, high = _sides(places, offsets, at)
    widest = int(np.argmax(high - low))
    middle = start + at[widest] * along
    ends: Points = np.stack([middle + low[widest] * normal, middle + high[widest] * normal])
    return ends


def _sides(places: Points, offsets: Points, at: Points) -> tuple[Points, Points]:
    """Return how far a convex polygon reaches to either side of its long axis, at each place.

    The long axis is the hull's diameter, so that its ends are the hull's first and last place.
    """
    sides = []
    for sign in (-1, 1):
        mine = sign * offsets >= -1e-9
        order = np.argsort(places[mine], kind="stable")
        sides.append(np.interp(at, places[mine][order], offsets[mine][order]))
    return sides[0], sides[1]


def _as_scoord(points: Points, spacing: Points) -> Points:
    """Return (row, column) in mm from the first pixel's centre as (column, row) of SCOORD."""
    found: Points = (points / spacing + 0.5)[:, ::-1]
    return found
