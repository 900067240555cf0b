"""Carries numbers and regions from one grid to another, by patient position.

SimpleITK orders axes (column, row, slice). This is the only module that reverses them.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby, product
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from inference import itk
from inference.beside import each
from inference.geometry import Grid, Points
from inference.volume import BlockMeans, Box, Mask, Region, Volume, Voxels

if TYPE_CHECKING:
    import SimpleITK as sitk


def volume_onto(volume: Volume, grid: Grid, *, fill: float) -> Volume:
    """Interpolate a volume linearly at the voxel centres of ``grid``.

    A voxel reaches half a spacing beyond its centre, so the outermost half voxel repeats the edge;
    further out stands ``fill``. Only the part of the source that ``grid`` covers is copied.
    """
    box = _covered(volume.grid, grid)
    if box is None:
        empty: Voxels = np.full(grid.shape, fill, np.float32)
        return Volume(voxels=empty, grid=_in_frame(grid, volume.grid), quantity=volume.quantity)
    source = _image(
        np.ascontiguousarray(volume.voxels[box], dtype=np.float32), crop(volume.grid, box)
    )
    return Volume(
        voxels=_resample(source, grid, fill),
        grid=_in_frame(grid, volume.grid),
        quantity=volume.quantity,
    )


def region_onto(region: Region, grid: Grid) -> Region:
    """Carry a region to another grid: its voxel centres that lie inside the region there.

    Inside is where the region, taken as 1 in nothing and interpolated linearly, is one half or
    more; a region wholly in view has that half moved by up to a tenth, so that it keeps its volume
    although its corners are rounded. The same lattice gives the same region back. A region so small
    that it falls between the centres keeps the voxel that holds its centroid; outside ``grid`` it
    is empty.
    """
    if grid.is_close(region.grid):
        return Region(mask=region.mask.copy(), grid=_in_frame(grid, region.grid))
    box = region.box
    if box is None:
        return empty_region(_in_frame(grid, region.grid))
    part = crop(region.grid, box)
    padded = np.pad(region.mask[box].astype(np.float32), 1)
    source_grid = part.crop((-1, -1, -1), [n + 1 for n in part.shape])
    target = _covered(grid, source_grid)
    if target is None:
        return empty_region(_in_frame(grid, region.grid))
    values = _resample(_image(padded, source_grid), _nudged(crop(grid, target)), 0.0)
    in_view = bool(np.all(grid.contains(_corners(part))))
    wanted = region.volume_ml / grid.voxel_volume_ml
    inside: Mask = values >= (_level(values, wanted) if in_view else 0.5)
    carried = Region.placed(_in_frame(grid, region.grid), target, inside)
    if carried.is_empty:
        centroid = part.to_patient(np.argwhere(region.mask[box]).mean(axis=0))
        return _centroid_alone(carried.grid, centroid)
    return carried


def _level(values: Voxels, wanted: float) -> float:
    """Return the level, 0.4 to 0.6, that ``wanted`` voxels reach, as nearly as may be."""
    count = min(max(round(wanted), 1), values.size)
    low, high = 0.4, 0.6
    count -= int(np.count_nonzero(values >= high))
    between = values[(values >= low) & (values < high)]  # the others need no sorting
    if count <= 0:
        return high
    return low if count > between.size else float(np.partition(between, -count)[-count])


def _centroid_alone(grid: Grid, centroid: Points) -> Region:
    """Return the voxel that holds a point; outside ``grid`` there is none."""
    alone = empty_region(grid)
    if grid.contains(centroid):
        nearest = np.rint(grid.to_indices(centroid)).astype(int)
        alone.mask[tuple(np.clip(nearest, 0, np.asarray(grid.shape) - 1))] = True
    return alone


class BlockSums:
    """Adds up blocks of a volume while its planes come in, in any order; from one thread.

    For whole numbers alone, and a power of two of columns: then every sum is exact, as are the
    means along the rows that ``block_means`` begins with, and the order changes no bit.
    """

    def __init__(self, voxels: Voxels, factors: tuple[int, int, int]) -> None:
        """Add up nothing yet."""
        self._voxels, self._factors = voxels, factors
        slices, rows, columns = (n // f for n, f in zip(voxels.shape, factors, strict=True))
        self._sums: Voxels = np.zeros((slices, rows, columns), np.float32)
        self._added = 0
        # Made once: fresh memory for each plane would cost more than adding does.
        self._lines = np.empty((rows, columns * factors[2]), np.int16)
        self._block: Voxels = np.empty(self._lines.shape, np.float32)

    @staticmethod
    def can_be_of(factors: tuple[int, int, int]) -> bool:
        """Whether sums of such blocks are exact."""
        wide = factors[2]
        return wide & (wide - 1) == 0

    def add(self, first: int, planes: NDArray[np.int16], most: float) -> None:
        """Add planes of the volume from the first on; no value in them is beyond plus minus most.

        They come as the whole numbers that they are: half as many bytes to go through.
        """
        deep, high, wide = self._factors
        slices, rows, columns = self._sums.shape
        lines = self._lines if most * high < 2**15 else self._lines.astype(np.int32)
        counted = planes[: max(slices * deep - first, 0), : rows * high, : columns * wide]
        for block, its in groupby(enumerate(counted, first), key=lambda one: one[0] // deep):
            self._block.fill(0)
            for _, plane in its:
                parted = plane.reshape(rows, high, columns * wide)
                np.copyto(lines, parted[:, 0])
                for line in range(1, high):
                    lines += parted[:, line]
                self._block += lines
            self._sums[block] += _sums_along_rows(self._block.reshape(rows, columns, wide))
        self._added += len(planes)

    def means(self, most: float) -> BlockMeans | None:
        """Return the means, where all planes were added and no value was beyond plus minus most."""
        deep, high, wide = self._factors
        size = deep * high * wide
        if size * most >= 2**24 or self._added != len(self._voxels):
            return None
        # Of a power of two of columns the mean is exact: what is rounded is rounded once, here.
        means: Voxels = self._sums / np.float32(size)
        return BlockMeans(of=self._voxels, factors=self._factors, means=means)


def block_means(voxels: Voxels, factors: Sequence[int]) -> Voxels:
    """Average blocks of ``factors`` voxels along slices, rows and columns; what is left over goes.

    A slice is summed while it is in cache, along its rows first: many times as fast as two means of
    the whole volume, and the same float32 to the last bit. Two threads have half of them each.
    """
    deep, high, wide = factors
    slices, rows, columns = (size // f for size, f in zip(voxels.shape, factors, strict=True))
    means: Voxels = np.zeros((slices, rows, columns), np.float32)

    def add(some: range) -> None:
        for index in some:
            plane = voxels[index, : rows * high, : columns * wide]
            along_rows = _mean_along_rows(plane.reshape(rows * high, columns, wide))
            for row in range(high):
                means[index // deep] += along_rows[row::high]

    middle = slices // 2 * deep
    each(add, (range(middle), range(middle, slices * deep)))
    means /= np.float32(deep * high)
    return means


def _sums_along_rows(parts: Voxels) -> Voxels:
    """Return the sums of the last axis, which has a power of two of whole numbers.

    Two of them are added at once, as if they were one complex number.
    """
    if parts.shape[-1] == 1:
        return parts[..., 0]
    pairs = parts.view(np.complex64)
    total = pairs[..., 0].copy()
    for n in range(1, pairs.shape[-1]):
        total += pairs[..., n]
    sums: Voxels = total.real + total.imag
    return sums


def _mean_along_rows(parts: Voxels) -> Voxels:
    """Return what ``mean`` of the last axis does, which takes long where it has few numbers."""
    count = parts.shape[-1]
    if count >= 8:  # from here on NumPy sums in another order than one by one
        means: Voxels = parts.mean(axis=-1, dtype=np.float32)
        return means
    total: Voxels = parts[..., 0] + np.float32(0)
    for n in range(1, count):
        total += parts[..., n]
    total /= np.float32(count)
    return total


def crop(grid: Grid, box: Box) -> Grid:
    """Return the part of ``grid`` that ``box`` cuts out of an array on it."""
    return grid.crop([b.start for b in box], [b.stop for b in box])


def _nudged(grid: Grid) -> Grid:
    """Move a grid by micrometres, so that a centre on a face falls to one side, not to both."""
    x, y, z = grid.origin
    return replace(grid, origin=(x + 1.1e-3, y + 1.3e-3, z + 1.7e-3))


def _in_frame(grid: Grid, source: Grid) -> Grid:
    """Refuse to carry anything between frames of reference: positions there mean nothing here."""
    if grid.frame_of_reference_uid != source.frame_of_reference_uid:
        raise ValueError(
            f"cannot carry from frame of reference {source.frame_of_reference_uid} "
            f"to {grid.frame_of_reference_uid}"
        )
    return grid


def _covered(grid: Grid, other: Grid) -> Box | None:
    """Return the box of ``grid`` that the voxels of ``other`` reach, with two voxels to spare."""
    indices = grid.to_indices(_corners(other))
    low = np.maximum(np.floor(indices.min(axis=0)) - 2, 0).astype(int)
    high = np.minimum(np.ceil(indices.max(axis=0)) + 3, grid.shape).astype(int)
    if np.any(low >= high):
        return None
    first, second, third = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    return first, second, third


def _corners(grid: Grid) -> Points:
    """Return the eight outer corners of the lattice's corner voxels in LPS mm."""
    ends = [(-0.5, size - 0.5) for size in grid.shape]
    return grid.to_patient(list(product(*ends)))


def _image(voxels: Voxels, grid: Grid) -> "sitk.Image":
    """Return a SimpleITK image: axes reversed, direction cosines in columns."""
    image = itk.GetImageFromArray(voxels)
    image.SetSpacing(grid.spacing[::-1])
    image.SetOrigin(grid.origin)
    image.SetDirection(_columns(grid))
    placed: sitk.Image = image
    return placed


def _columns(grid: Grid) -> list[float]:
    """Return the direction cosines as SimpleITK takes them: column, row and slice side by side."""
    cosines: list[float] = np.asarray(grid.direction)[::-1].T.ravel().tolist()
    return cosines


def _resample(source: "sitk.Image", grid: Grid, fill: float) -> Voxels:
    sampler = itk.ResampleImageFilter()
    sampler.SetInterpolator(itk.sitkLinear)
    sampler.SetDefaultPixelValue(fill)
    sampler.SetOutputPixelType(itk.sitkFloat32)
    sampler.SetSize(grid.shape[::-1])
    sampler.SetOutputSpacing(grid.spacing[::-1])
    sampler.SetOutputOrigin(grid.origin)
    sampler.SetOutputDirection(_columns(grid))
    voxels: Voxels = itk.GetArrayFromImage(sampler.Execute(source))
    return voxels


def empty_region(grid: Grid) -> Region:
    """Return the region of ``grid`` that holds no voxel."""
    mask: Mask = np.zeros(grid.shape, np.bool_)
    return Region(mask=mask, grid=grid)
