"""Voxels on a grid, with the quantity that they hold."""

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from inference.geometry import Grid

Voxels: TypeAlias = NDArray[np.float32]
Mask: TypeAlias = NDArray[np.bool_]


Box: TypeAlias = tuple[slice, slice, slice]


def bounding_box(mask: Mask, *, margin: int = 0) -> Box | None:
    """Return the smallest box of indices that holds all true voxels, widened by ``margin``.

    None where the mask is empty; the margin stops at the edge of the array.
    """
    in_slices = mask.any(axis=(1, 2))
    if not in_slices.any():
        return None
    slices = np.flatnonzero(in_slices)
    held = mask[slices[0] : slices[-1] + 1]  # most of a volume holds nothing
    flat: NDArray[np.bool_] = np.logical_or.reduce(held, axis=0)
    hits = (slices, np.flatnonzero(flat.any(axis=1)), np.flatnonzero(flat.any(axis=0)))
    first, second, third = (
        slice(max(int(found[0]) - margin, 0), min(int(found[-1]) + 1 + margin, size))
        for found, size in zip(hits, mask.shape, strict=True)
    )
    return first, second, third


def shifted(inner: Box, outer: Box) -> Box:
    """Return where a box lies of which ``inner`` counts from the beginning of ``outer``."""
    a, b, c = (
        slice(o.start + i.start, o.start + i.stop) for o, i in zip(outer, inner, strict=True)
    )
    return a, b, c


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

    @classmethod
    def placed(cls, grid: Grid, box: Box, part: Mask) -> Self:
        """Return the region of a grid that is ``part`` in a box of it, and nothing elsewhere.

        Where it lies is known then: nobody needs to look through the whole of the grid for it.
        """
        mask: Mask = np.zeros(grid.shape, np.bool_)
        mask[box] = part
        region = cls(mask=mask, grid=grid)
        inner = bounding_box(part)
        object.__setattr__(region, "box", None if inner is None else shifted(inner, box))
        return region

    @cached_property
    def box(self) -> Box | None:
        """The smallest box of indices that holds the region; None where it is empty."""
        return bounding_box(self.mask)

    @property
    def is_empty(self) -> bool:
        """Whether it holds no voxel."""
        return self.box is None

    @cached_property
    def voxel_count(self) -> int:
        """Number of voxels in the region."""
        return 0 if self.box is None else int(np.count_nonzero(self.mask[self.box]))

    @property
    def voxels(self) -> NDArray[np.intp]:
        """The ``(n, 3)`` indices of its voxels, as ``np.argwhere`` gives them."""
        if self.box is None:
            return np.empty((0, 3), np.intp)
        found: NDArray[np.intp] = np.argwhere(self.mask[self.box])
        found += [side.start for side in self.box]
        return found

    @property
    def volume_ml(self) -> float:
        """Voxel count times voxel volume, in ml."""
        return self.voxel_count * self.grid.voxel_volume_ml
