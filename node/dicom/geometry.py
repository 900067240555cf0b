"""Planes of a series as one regular lattice, or the reason why they are none."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from inference.geometry import Grid, Vector
from node.dicom.attributes import Attributes, number, numbers, shared, text
from node.dicom.reasons import unusable

Positions: TypeAlias = NDArray[np.float64]

MISSING_STEP = 1.5
"""A gap of more than this many usual steps means that a plane is missing."""
STEP_TOLERANCE = 0.1
"""How far a step may differ from the usual one: bed joins differ by less than 1 %."""
DRIFT_TOLERANCE_MM = 1.0
"""How far planes may shift sideways over the whole stack; more is a tilted gantry."""
FARTHEST_MM = 1e5
"""No plane lies farther from the origin of its frame of reference."""
SPACING_MM = (1e-3, 1e3)
"""Of pixels and of planes; what lies outside is no number of mm."""
LONGEST_MM = 5000.0
"""Twice the tallest patient, in any direction."""
VOXELS_MOST = 2**30
"""Four thousand planes of 512 x 512: 4 GiB as the numbers that we count with."""
_DUPLICATE_MM = 0.01
_COSINE_TOLERANCE = 1e-3
_SIDE_MOST = 65535  # Rows and Columns have VR US


@dataclass(frozen=True, kw_only=True, slots=True)
class PlaneGeometry:
    """Where one image plane lies: centre of its first voxel, axes, voxel size and count."""

    position: Vector
    row_axis: Vector
    """Direction from row to row, down the image: the second triple of Image Orientation."""
    column_axis: Vector
    """Direction from column to column, along a row: the first triple."""
    spacing: tuple[float, float]
    """Between rows, between columns: the order of Pixel Spacing (PS3.3 10.7.1.3)."""
    shape: tuple[int, int]
    frame_of_reference_uid: str

    @property
    def normal(self) -> Vector:
        """Along a row times down the image; to the head for the usual axial plane."""
        x, y, z = np.cross(self.column_axis, self.row_axis) + 0.0  # never minus zero
        return float(x), float(y), float(z)

    def is_parallel_to(self, other: "PlaneGeometry") -> bool:
        """Tell whether both planes have the same axes, voxel size and count."""
        mine = (self.row_axis, self.column_axis, self.spacing)
        others = (other.row_axis, other.column_axis, other.spacing)
        if self.shape != other.shape:
            return False
        return mine == others or all(
            np.allclose(a, b, rtol=0, atol=_COSINE_TOLERANCE)
            for a, b in zip(mine, others, strict=True)
        )


def plane_geometry(header: Attributes) -> PlaneGeometry | None:
    """Read where a plane lies; None where an attribute is absent or makes no plane."""
    position = numbers(header, "ImagePositionPatient")
    frame = shared(header, _frame)
    # A text of digits may say anything.
    if frame is None or len(position) != 3 or max(map(abs, position)) > FARTHEST_MM:
        return None
    row_axis, column_axis, spacing, shape, uid = frame
    return PlaneGeometry(
        position=(position[0], position[1], position[2]),
        row_axis=row_axis,
        column_axis=column_axis,
        spacing=spacing,
        shape=shape,
        frame_of_reference_uid=uid,
    )


_Frame: TypeAlias = tuple[Vector, Vector, tuple[float, float], tuple[int, int], str]
"""Row axis, column axis, spacing, shape, Frame of Reference UID: what the planes share."""


def _frame(header: Attributes) -> _Frame | None:
    cosines = numbers(header, "ImageOrientationPatient")
    spacing = numbers(header, "PixelSpacing")
    rows, columns = number(header, "Rows"), number(header, "Columns")
    if (len(cosines), len(spacing)) != (6, 2) or not (rows and columns):
        return None
    axes = _orthonormal(cosines)
    low, high = SPACING_MM
    if axes is None or not low <= min(spacing) <= max(spacing) <= high:
        return None
    if not 1 <= min(rows, columns) <= max(rows, columns) <= _SIDE_MOST:
        return None
    uid = text(header, "FrameOfReferenceUID")
    return axes[1], axes[0], (spacing[0], spacing[1]), (int(rows), int(columns)), uid


@lru_cache(maxsize=256)  # the planes of a series share theirs
def _orthonormal(cosines: tuple[float, ...]) -> tuple[Vector, Vector] | None:
    """Return both axes of length one and square to each other, if they nearly are."""
    if max(map(abs, cosines)) > 2:
        return None
    first, second = np.asarray(cosines[:3]), np.asarray(cosines[3:])
    lengths = np.linalg.norm(first), np.linalg.norm(second)
    if abs(lengths[0] - 1) > 0.01 or abs(lengths[1] - 1) > 0.01 or abs(first @ second) > 0.01:
        return None
    first = first / lengths[0]
    second = second - (second @ first) * first
    second = second / np.linalg.norm(second)
    (a, b, c), (d, e, f) = (first + 0.0).tolist(), (second + 0.0).tolist()
    return (a, b, c), (d, e, f)


def order(planes: Sequence[PlaneGeometry]) -> list[int]:
    """Return the indices that sort planes along the first plane's normal."""
    return np.argsort(heights(planes), kind="stable").tolist() if planes else []


def heights(planes: Sequence[PlaneGeometry]) -> Positions:
    """Return each plane's place along the first plane's normal, in mm."""
    places: Positions = np.asarray([p.position for p in planes]) @ np.asarray(planes[0].normal)
    return places


def duplicates(sorted_heights: Positions) -> list[tuple[int, int]]:
    """Return the neighbours that lie at the same place."""
    near = np.flatnonzero(np.diff(sorted_heights) < _DUPLICATE_MM)
    return [(int(i), int(i) + 1) for i in near]


def lattice(planes: Sequence[PlaneGeometry]) -> Grid:
    """Return the lattice of planes that are sorted along their normal.

    The slice axis points along the normal (column axis times row axis), so that the axes in the
    order column, row, slice are right-handed. The spacing between slices is the mean step. Raises
    UnusableStudy where planes are too few, differ, coincide, are missing or unevenly spaced, and
    where they make a volume that no patient fills and no memory holds.
    """
    if len(planes) < 2:
        raise unusable("SLICES_TOO_FEW", f"{len(planes)} plane")
    first = planes[0]
    if not all(first.is_parallel_to(plane) for plane in planes):
        raise unusable("SLICES_DIFFER")
    places = heights(planes)
    if duplicates(places):
        raise unusable("SLICES_DUPLICATE", f"{len(duplicates(places))} times")
    step = _even_step(places)
    _refuse_tilt(planes)
    _refuse_giants((len(planes), *first.shape), (step, *first.spacing))
    return Grid(
        shape=(len(planes), *first.shape),
        spacing=(step, *first.spacing),
        origin=first.position,
        direction=(first.normal, first.row_axis, first.column_axis),
        frame_of_reference_uid=first.frame_of_reference_uid,
    )


def _even_step(places: Positions) -> float:
    steps = np.diff(places)
    usual = _usual_step(steps)
    gaps = int(np.count_nonzero(steps > MISSING_STEP * usual))
    if gaps:
        raise unusable("SLICES_MISSING", f"{gaps} gaps in steps of {usual:.2f} mm")
    mean = float(places[-1] - places[0]) / (len(places) - 1)
    off_lattice = np.abs(places - places[0] - mean * np.arange(len(places)))
    if np.abs(steps - usual).max() > STEP_TOLERANCE * usual or off_lattice.max() > usual / 2:
        raise unusable("SLICES_IRREGULAR", f"steps from {steps.min():.2f} to {steps.max():.2f} mm")
    return mean


def _usual_step(steps: Positions) -> float:
    """Return the step between neighbours.

    It is the least, where all are multiples of it, as in a series that lacks most of its planes.
    """
    least, middle = float(steps.min()), float(np.median(steps))
    multiples = steps / least
    are_gaps = bool(np.abs(multiples - np.round(multiples)).max() <= STEP_TOLERANCE)
    return least if are_gaps else middle


def _refuse_tilt(planes: Sequence[PlaneGeometry]) -> None:
    offset = np.asarray(planes[-1].position) - np.asarray(planes[0].position)
    normal = np.asarray(planes[0].normal)
    drift = float(np.linalg.norm(offset - (offset @ normal) * normal))
    if drift > DRIFT_TOLERANCE_MM:
        raise unusable("SLICES_IRREGULAR", f"the stack leans by {drift:.1f} mm: a tilted gantry?")


def _refuse_giants(shape: Sequence[int], spacing: Sequence[float]) -> None:
    extents = [count * step for count, step in zip(shape, spacing, strict=True)]
    if prod(shape) > VOXELS_MOST or max(extents) > LONGEST_MM:
        sizes = " x ".join(f"{size:.0f}" for size in extents)
        raise unusable("SIZE_IMPLAUSIBLE", f"{prod(shape)} voxels in {sizes} mm")


def is_axial(normal: Vector) -> bool:
    """Tell whether planes lie within 25 degrees of across the body."""
    return abs(normal[2]) > float(np.cos(np.radians(25)))


def coverage(pet: Grid, ct: Grid) -> tuple[float, float, float]:
    """Return which part of the PET's extent the CT covers along the PET's axes, each 0 to 1."""
    axes = np.asarray(pet.direction)
    parts = []
    for axis, extent in zip(axes, np.asarray(pet.shape) * np.asarray(pet.spacing), strict=True):
        half_ct = _half_extent(ct, axis)
        offset = float((np.asarray(ct.centre) - np.asarray(pet.centre)) @ axis)
        low = max(-extent / 2, offset - half_ct)
        high = min(extent / 2, offset + half_ct)
        parts.append(max(0.0, float(high - low)) / float(extent))
    return parts[0], parts[1], parts[2]


def _half_extent(grid: Grid, axis: Positions) -> float:
    extents = np.asarray(grid.shape) * np.asarray(grid.spacing)
    return float(np.abs(np.asarray(grid.direction) @ axis) @ extents) / 2
