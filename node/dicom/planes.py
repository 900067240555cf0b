"""Standard views of a volume in the patient's own axes: sections and maximum projections."""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from inference.geometry import Grid, Points, Vector
from inference.volume import Mask, Region, Voxels

Image: TypeAlias = NDArray[np.float32]
Plane: TypeAlias = Literal["axial", "coronal", "sagittal"]
PLANES: Final[tuple[Plane, ...]] = ("axial", "coronal", "sagittal")
UPRIGHT: Final[tuple[Vector, Vector, Vector]] = ((0.0, 0.0, -1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))
"""Slices from head to feet, rows from front to back, columns from right to left."""

_STRAIGHT: Final = 1e-3
_EDGE: Final = 1e-6
_MOST_SAMPLES: Final = 3e6


@dataclass(frozen=True, kw_only=True)
class View:
    """A lattice of square pixels in one plane of the patient.

    ``origin`` (LPS mm) is the centre of the first pixel; ``right`` and ``down`` are the directions
    of columns and rows, unit vectors in LPS.
    """

    origin: Vector
    right: Vector
    down: Vector
    shape: tuple[int, int]
    """Rows and columns."""
    step_mm: float

    def pixel(self, point: Vector) -> tuple[float, float]:
        """Return the (row, column) that a point in LPS mm is projected to, fractions and all."""
        away = np.asarray(point) - np.asarray(self.origin)
        row, column = (float(away @ np.asarray(axis)) for axis in (self.down, self.right))
        return row / self.step_mm, column / self.step_mm


def bounds(grid: Grid) -> tuple[Points, Points]:
    """Return the least and the greatest LPS mm of a grid's voxels, out to their faces."""
    corners = grid.to_patient(
        np.array(list(np.ndindex(2, 2, 2))) * np.asarray(grid.shape, dtype=float) - 0.5
    )
    lowest: Points = corners.min(axis=0)
    highest: Points = corners.max(axis=0)
    return lowest, highest


def box_around(point: Vector, grid: Grid, *, side_mm: float) -> Vector:
    """Return the middle of a cube that holds the point and as little outside ``grid`` as can be."""
    lowest, highest = bounds(grid)
    low, high = lowest + side_mm / 2, highest - side_mm / 2
    inside = np.clip(np.asarray(point), np.minimum(low, high), np.maximum(low, high))
    middle = np.where(low > high, (low + high) / 2, inside)
    # A point that lies off the grid itself is still to be seen.
    return vector(np.clip(middle, np.subtract(point, side_mm / 2), np.add(point, side_mm / 2)))


def section(plane: Plane, point: Vector, *, middle: Vector, side_mm: float, pixels: int) -> View:
    """Return a square view through ``point`` in the middle of which ``middle`` is seen.

    As radiologists hang them, however the images were acquired: the patient's right is on the left
    of axial and coronal views, the front on the left of sagittal and above on axial ones, the
    head above.
    """
    right, down = directions(plane)
    step = side_mm / pixels
    away = np.cross(right, down)
    through = np.asarray(middle) + away * float(np.subtract(point, middle) @ away)
    first = through - (right + down) * (step * (pixels - 1) / 2)
    return View(
        origin=vector(first),
        right=vector(right),
        down=vector(down),
        shape=(pixels, pixels),
        step_mm=step,
    )


def sample(voxels: Voxels | Mask, grid: Grid, view: View) -> Image:
    """Return ``voxels`` at every pixel of the view, between voxels by linear interpolation.

    NaN where there is no voxel. Only the plane itself is computed.
    """
    first, by_row, by_column = _steps(grid, view)
    # affine_transform wants as many axes out as in: the plane is the first of a stack of one.
    sampled = ndimage.affine_transform(
        _plain(voxels),
        np.stack([np.zeros(3), by_row, by_column], axis=1),
        offset=first,
        output_shape=(1, *view.shape),
        output=np.float32,
        order=1,
        mode="nearest",
        prefilter=False,
    )[0]
    inside = np.ones(view.shape, np.bool_)
    for index, count in zip(_indices(grid, view), grid.shape, strict=True):
        inside &= (index > -0.5 - _EDGE) & (index < count - 0.5 + _EDGE)
    shown: Image = np.where(inside, sampled, np.float32(np.nan))
    return shown


def covered(region: Region, view: View) -> Mask:
    """Return the pixels of the view at which a region, ``sample``d as 1 in nothing, is over a half.

    Only the pixels near the region are computed.
    """
    found: Mask = np.zeros(view.shape, np.bool_)
    if region.box is None:
        return found
    indices = _indices(region.grid, view)
    near = np.ones(view.shape, np.bool_)
    for index, side, count in zip(indices, region.box, region.grid.shape, strict=True):
        near &= (index >= side.start - 1) & (index <= side.stop)
        near &= (index > -0.5 - _EDGE) & (index < count - 0.5 + _EDGE)
    found[near] = (
        ndimage.map_coordinates(
            _plain(region.mask),
            [index[near] for index in indices],
            output=np.float32,
            order=1,
            mode="nearest",
            prefilter=False,
        )
        > 0.5
    )
    return found


def _steps(grid: Grid, view: View) -> tuple[Points, Points, Points]:
    """Return the index of a view's first pixel, and the steps from row to row, column to column."""
    steps = np.stack([view.down, view.right], axis=1) * view.step_mm
    first = grid.to_indices(view.origin)
    by_row, by_column = (grid.to_indices(view.origin + steps[:, i]) - first for i in range(2))
    return first, by_row, by_column


def _indices(grid: Grid, view: View) -> list[Points]:
    """Return for each axis of the grid the index of every pixel, as SciPy computes it."""
    first, by_row, by_column = _steps(grid, view)
    rows, columns = (np.arange(count)[:, None] for count in view.shape)
    return [first[a] + rows * by_row[a] + columns.T * by_column[a] for a in range(3)]


def upright(voxels: Voxels, grid: Grid) -> tuple[Voxels, Grid]:
    """Return the volume with the axes of ``UPRIGHT``.

    Without resampling where its axes are the patient's, in whatever order; an oblique one is
    resampled to cubes, 0 where there is no voxel, so coarsely that it takes but a moment.
    """
    cosines = np.asarray(grid.direction) @ np.asarray(UPRIGHT).T
    order = np.abs(cosines).argmax(axis=0)
    signs = cosines[order, range(3)]
    if np.any(np.abs(signs) < 1 - _STRAIGHT**2):
        return _resampled(voxels, grid)
    flips = tuple(slice(None, None, 1 if sign > 0 else -1) for sign in signs)
    first = np.zeros(3)
    first[order] = [
        0 if sign > 0 else grid.shape[a] - 1 for a, sign in zip(order, signs, strict=True)
    ]
    turned = np.transpose(voxels, order)[flips]
    slices, rows, columns = turned.shape
    dz, dy, dx = (grid.spacing[axis] for axis in order)
    return turned, Grid(
        shape=(slices, rows, columns),
        spacing=(dz, dy, dx),
        origin=vector(grid.to_patient(first)),
        direction=UPRIGHT,
        frame_of_reference_uid=grid.frame_of_reference_uid,
    )


def project(voxels: Voxels, plane: Plane) -> Image:
    """Return the greatest values of an upright volume along the line of sight; NaN counts as 0."""
    axis = PLANES.index(plane)
    greatest: Image = np.nan_to_num(np.fmax.reduce(voxels, axis=axis)).astype(np.float32)
    return greatest


def _resampled(voxels: Voxels, grid: Grid) -> tuple[Voxels, Grid]:
    lowest, highest = bounds(grid)
    extent = highest - lowest
    step_mm = max(min(grid.spacing), float(np.cbrt(np.prod(extent) / _MOST_SAMPLES)))
    columns, rows, slices = (max(round(float(side) / step_mm), 1) for side in extent)
    half = step_mm / 2
    target = Grid(
        shape=(slices, rows, columns),
        spacing=(step_mm, step_mm, step_mm),
        origin=(float(lowest[0]) + half, float(lowest[1]) + half, float(highest[2]) - half),
        direction=UPRIGHT,
        frame_of_reference_uid=grid.frame_of_reference_uid,
    )
    first = grid.to_indices(target.to_patient((0, 0, 0)))
    matrix = (grid.to_indices(target.to_patient(np.eye(3))) - first).T
    resampled: Voxels = ndimage.affine_transform(
        voxels,
        matrix,
        offset=first,
        output_shape=target.shape,
        output=np.float32,
        order=1,
        cval=0,
        prefilter=False,
    )
    return resampled, target


def directions(plane: Plane) -> tuple[Points, Points]:
    """Return the directions of columns and rows of a plane, as it is hung, in LPS."""
    feet, back, left = (np.asarray(axis) for axis in UPRIGHT)
    if plane == "axial":
        return left, back
    return (left, feet) if plane == "coronal" else (back, feet)


def _plain(voxels: Voxels | Mask) -> Voxels:
    """Return numbers that SciPy interpolates; a mask's without a copy."""
    plain: Voxels = voxels.view(np.uint8 if voxels.dtype == np.bool_ else voxels.dtype)
    return plain


def vector(values: Points) -> Vector:
    """Return three numbers as a vector."""
    x, y, z = (float(value) for value in values)
    return x, y, z
