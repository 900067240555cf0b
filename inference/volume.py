"""Voxels on a grid, with the quantity that they hold."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from inference.geometry import Grid

Voxels: TypeAlias = NDArray[np.float32]
Mask: TypeAlias = NDArray[np.bool_]


class Quantity(StrEnum):
    """What a voxel's number means, and its unit."""

    HU = "HU"
    ACTIVITY = "Bq/ml"
    SUVBW = "g/ml"
    SALIENCY = "1"
    """A share of the greatest, without unit."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Volume:
    """Numbers of one quantity, ``voxels[slice, row, column]`` on ``grid``."""

    voxels: Voxels
    grid: Grid
    quantity: Quantity

    def __post_init__(self) -> None:
        if self.voxels.shape != self.grid.shape:
            raise ValueError(f"voxels {self.voxels.shape} do not fit the grid {self.grid.shape}")


@dataclass(frozen=True, kw_only=True, eq=False)
class BlockMeans:
    """The means of blocks of voxels; what is left over at the ends is in none."""

    of: Voxels
    """The very voxels that were averaged: for a copy that was changed these are no means."""
    factors: tuple[int, int, int]
    """How many voxels a block has along slices, rows and columns."""
    means: Voxels


@dataclass(frozen=True, kw_only=True, eq=False)
class Region:
    """A set of voxels, ``mask[slice, row, column]`` on ``grid``."""

    mask: Mask
    grid: Grid

    def __post_init__(self) -> None:
        if self.mask.shape != self.grid.shape:
            raise ValueError(f"mask {self.mask.shape} does not fit the grid {self.grid.shape}")
        if self.mask.dtype != np.bool_:
            raise ValueError(f"a mask holds booleans, got {self.mask.dtype}")

    @property
    def voxel_count(self) -> int:
        """Number of voxels in the region."""
        return int(np.count_nonzero(self.mask))

    @property
    def volume_ml(self) -> float:
        """Voxel count times voxel volume, in ml."""
        return self.voxel_count * self.grid.voxel_volume_ml
