"""Where voxels lie in the patient: one axis order (slice, row, column), coordinates in LPS mm."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Vector: TypeAlias = tuple[float, float, float]
Points: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A regular lattice of voxel centres, placed in one frame of reference.

    ``shape`` and ``spacing`` (mm) are ordered slice, row, column. ``origin`` is the centre of voxel
    (0, 0, 0) in LPS mm. ``direction`` holds the direction cosines of the slice, row and column
    *index* axes, each a unit vector in LPS: ``direction[0]`` points from slice 0 to slice 1,
    ``direction[1]`` from row 0 to row 1 (down the image), ``direction[2]`` along a row.
    """

    shape: tuple[int, int, int]
    spacing: Vector
    origin: Vector
    direction: tuple[Vector, Vector, Vector]
    frame_of_reference_uid: str

    def __post_init__(self) -> None:
        if min(self.shape) < 1:
            raise ValueError(f"shape must be positive, got {self.shape}")
        if not np.all(np.isfinite(self.spacing)) or min(self.spacing) <= 0:
            raise ValueError(f"spacing must be positive, got {self.spacing} mm")
        cosines = np.asarray(self.direction, dtype=float)
        if not np.allclose(cosines @ cosines.T, np.eye(3), atol=1e-3):
            raise ValueError(f"direction must be orthonormal, got {self.direction}")

    @cached_property
    def _index_to_mm(self) -> Points:
        """A 3 x 3 matrix whose columns are the steps of the slice, row and column index, in mm."""
        steps: Points = np.asarray(self.direction, dtype=float).T * np.asarray(self.spacing)
        return steps

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel in ml."""
        return float(np.prod(self.spacing)) / 1000.0

    @property
    def centre(self) -> Vector:
        """The middle of the lattice in LPS mm."""
        middle = (np.asarray(self.shape) - 1) / 2
        x, y, z = self.to_patient(middle)
        return float(x), float(y), float(z)

    def to_patient(self, indices: ArrayLike) -> Points:
        """Map ``(..., 3)`` (slice, row, column) indices, fractions allowed, to LPS mm."""
        index = np.asarray(indices, dtype=float)
        points: Points = index @ self._index_to_mm.T + np.asarray(self.origin)
        return points

    def to_indices(self, points: ArrayLike) -> Points:
        """Map ``(..., 3)`` LPS mm to fractional (slice, row, column) indices."""
        offset = np.asarray(points, dtype=float) - np.asarray(self.origin)
        indices: Points = offset @ np.linalg.inv(self._index_to_mm).T
        return indices

    def contains(self, points: ArrayLike) -> NDArray[np.bool_]:
        """Tell for each of ``(..., 3)`` LPS mm whether it lies within the voxels of the lattice."""
        indices = self.to_indices(points)
        inside: NDArray[np.bool_] = np.all(
            (indices >= -0.5) & (indices <= np.asarray(self.shape) - 0.5), axis=-1
        )
        return inside

    def crop(self, start: Sequence[int], stop: Sequence[int]) -> "Grid":
        """Return the part of the lattice from index ``start`` up to, not including, ``stop``."""
        x, y, z = self.to_patient(start)
        slices, rows, columns = (int(b) - int(a) for a, b in zip(start, stop, strict=True))
        return Grid(
            shape=(slices, rows, columns),
            spacing=self.spacing,
            origin=(float(x), float(y), float(z)),
            direction=self.direction,
            frame_of_reference_uid=self.frame_of_reference_uid,
        )

    def is_close(self, other: "Grid", *, tolerance_mm: float = 1e-3) -> bool:
        """Tell whether both lattices have the same voxels, to ``tolerance_mm`` at every corner."""
        if self.shape != other.shape:
            return False
        corners = np.array(list(product(*((0, side - 1) for side in self.shape))))
        apart = np.abs(self.to_patient(corners) - other.to_patient(corners))
        return bool(np.all(apart <= tolerance_mm))


def axial_grid(
    *,
    shape: tuple[int, int, int],
    spacing: Vector,
    centre: Vector = (0.0, 0.0, 0.0),
    frame_of_reference_uid: str = "2.25.1",
) -> Grid:
    """Return an axial lattice: slices run to the head, rows to the back, columns to the left."""
    half = (np.asarray(shape) - 1) / 2 * np.asarray(spacing)
    x, y, z = centre
    return Grid(
        shape=shape,
        spacing=spacing,
        origin=(x - float(half[2]), y - float(half[1]), z - float(half[0])),
        direction=((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0)),
        frame_of_reference_uid=frame_of_reference_uid,
    )
