"""Carries numbers and regions from one grid to another, by patient position.

SimpleITK orders axes (column, row, slice). This is the only module that reverses them.
"""

from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from inference import itk
from inference.geometry import Grid, Points
from inference.volume import Mask, Region, Volume, Voxels

if TYPE_CHECKING:
    import SimpleITK as sitk

Box: TypeAlias = tuple[slice, slice, slice]


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
    mask: Mask = np.zeros(grid.shape, np.bool_)
    carried = Region(mask=mask, grid=_in_frame(grid, region.grid))
    box = bounding_box(region.mask)
    if box is None:
        return carried
    part = crop(region.grid, box)
    padded = np.pad(region.mask[box].astype(np.float32), 1)
    source_grid = part.crop((-1, -1, -1), [n + 1 for n in part.shape])
    target = _covered(grid, source_grid)
    if target is None:
        return carried
    values = _resample(_image(padded, source_grid), _nudged(crop(grid, target)), 0.0)
    in_view = bool(np.all(grid.contains(_corners(part))))
    wanted = region.volume_ml / grid.voxel_volume_ml
    mask[target] = values >= (_level(values, wanted) if in_view else 0.5)
    if not mask[target].any():
        _keep_centroid(mask, grid, part.to_patient(np.argwhere(region.mask[box]).mean(axis=0)))
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


def _keep_centroid(mask: Mask, grid: Grid, centroid: Points) -> None:
    if grid.contains(centroid):
        nearest = np.rint(grid.to_indices(centroid)).astype(int)
        mask[tuple(np.clip(nearest, 0, np.asarray(grid.shape) - 1))] = True


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


def voxels_of(mask: Mask) -> NDArray[np.intp]:
    """Return the ``(n, 3)`` indices of the true voxels, as ``np.argwhere`` does."""
    box = bounding_box(mask)
    if box is None:
        return np.empty((0, 3), np.intp)
    found: NDArray[np.intp] = np.argwhere(mask[box]) + [side.start for side in box]
    return found


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
