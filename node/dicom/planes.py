"""Standard views of a volume in the patient's own axes: axial planes and projections."""

from dataclasses import dataclass
from typing import Final, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from inference.geometry import Grid, Points, Vector
from inference.volume import Mask, Voxels

Image: TypeAlias = NDArray[np.float32]

_LEFT: Final = np.array([1.0, 0.0, 0.0])
_BACK: Final = np.array([0.0, 1.0, 0.0])
_HEAD: Final = np.array([0.0, 0.0, 1.0])


@dataclass(frozen=True, kw_only=True)
class View:
    """A lattice of pixels in the patient, seen from ``depth`` parallel planes.

    ``right`` and ``down`` are the directions of columns and rows in LPS, ``away`` that from one
    plane to the next; ``origin`` (mm) is the centre of the first pixel of the first plane.
    """

    origin: Vector
    right: Vector
    down: Vector
    away: Vector
    shape: tuple[int, int, int]
    """Planes, rows and columns."""
    step_mm: float


class ViewOf(Protocol):
    """Chooses a view of a whole grid: ``coronal_view`` or ``sagittal_view``."""

    def __call__(self, grid: Grid, *, step_mm: float) -> View:
        """Return the view of ``grid`` with square pixels of ``step_mm``."""
        ...


def bounds(grid: Grid) -> tuple[Points, Points]:
    """Return the least and the greatest LPS mm of a grid's voxel centres."""
    far = np.asarray(grid.shape) - 1
    corners = grid.to_patient(np.array(list(np.ndindex(2, 2, 2))) * far)
    lowest: Points = corners.min(axis=0)
    highest: Points = corners.max(axis=0)
    return lowest, highest


def axial_view(grid: Grid, *, height_mm: float, pixels: int) -> View:
    """Return a square axial view at LPS z ``height_mm`` that holds the whole grid.

    The patient's right is on the left and the back below, however the images were acquired.
    """
    lowest, highest = bounds(grid)
    middle = (lowest + highest) / 2
    side = max(float(highest[0] - lowest[0]), float(highest[1] - lowest[1]), 1.0)
    corner = middle[:2] - side / 2
    return View(
        origin=(float(corner[0]), float(corner[1]), height_mm),
        right=_vector(_LEFT),
        down=_vector(_BACK),
        away=_vector(_HEAD),
        shape=(1, pixels, pixels),
        step_mm=side / max(pixels - 1, 1),
    )


def coronal_view(grid: Grid, *, step_mm: float) -> View:
    """Return all coronal planes of the grid: head above, the patient's right on the left."""
    return _whole(grid, right=_LEFT, away=_BACK, step_mm=step_mm)


def sagittal_view(grid: Grid, *, step_mm: float) -> View:
    """Return all sagittal planes of the grid: head above, the patient's front on the left."""
    return _whole(grid, right=_BACK, away=_LEFT, step_mm=step_mm)


def sample(
    voxels: Voxels | Mask, grid: Grid, view: View, *, order: Literal[0, 1], outside: float
) -> Image:
    """Return ``voxels`` at every pixel and plane of the view; ``outside`` where there are none."""
    steps = np.stack([view.away, view.down, view.right], axis=1) * view.step_mm
    origin = grid.to_indices(view.origin)
    matrix = np.stack(
        [grid.to_indices(view.origin + steps[:, i]) - origin for i in range(3)], axis=1
    )
    sampled: Image = ndimage.affine_transform(
        voxels.view(np.uint8) if voxels.dtype == np.bool_ else voxels,
        matrix,
        offset=origin,
        output_shape=view.shape,
        output=np.float32,
        order=order,
        cval=outside,
        prefilter=False,
    )
    return sampled


def _whole(grid: Grid, *, right: Points, away: Points, step_mm: float) -> View:
    lowest, highest = bounds(grid)
    origin = np.where(_HEAD > 0, highest, lowest)
    extent = highest - lowest
    planes, rows, columns = (
        int(float(extent @ axis) / step_mm) + 1 for axis in (away, _HEAD, right)
    )
    return View(
        origin=_vector(origin),
        right=_vector(right),
        down=_vector(-_HEAD),
        away=_vector(away),
        shape=(planes, rows, columns),
        step_mm=step_mm,
    )


def _vector(values: Points) -> Vector:
    x, y, z = (float(value) for value in values)
    return x, y, z
