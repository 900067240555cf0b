"""Brings what a network tells of where it looked back to the patient."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from inference.card import Inputs
from inference.findings import Saliency
from inference.geometry import Grid, Points, Vector
from inference.preprocess import crop_start, cube_grid
from inference.volume import Quantity, Volume, Voxels


def saliency_on_pet(
    task: str, cells: Voxels, *, pet: Grid, centre: Vector, inputs: Inputs
) -> Saliency:
    """Return the saliency of one task on the PET voxels around the network's field of view.

    ``cells`` is ``(row, column)`` as an engine gives it for a lesion at ``centre``. The network
    joins its three planes in one map, so each cell speaks of an axial, a coronal and a sagittal
    place at once; a voxel is as salient as the least of the three that it projects on, since only
    where all three agree can one point in the patient be meant. Voxels whose centre lies outside
    the field of view are 0, and the greatest is 1 unless all are 0.
    """
    field = _field_of_view(centre, inputs, pet.frame_of_reference_uid)
    near = _box_around(field, pet)
    pixels = field.to_indices(near.to_patient(_indices(near)))
    inside = np.all((pixels >= -0.5) & (pixels <= inputs.crop_side - 0.5), axis=-1)
    voxels = np.zeros(near.shape, np.float32)
    voxels[inside] = _least_of_planes(cells, pixels[inside], inputs)
    greatest = voxels.max()
    if greatest > 0:
        voxels /= greatest
    return Saliency(task=task, on_pet=Volume(voxels=voxels, grid=near, quantity=Quantity.SALIENCY))


def _field_of_view(centre: Vector, inputs: Inputs, frame_of_reference_uid: str) -> Grid:
    """Return the part of the cube that the planes cross, its voxels as large as pixels."""
    start = crop_start(inputs)
    stop = start + inputs.crop_side
    return cube_grid(centre, inputs, frame_of_reference_uid).crop((start,) * 3, (stop,) * 3)


def _box_around(field: Grid, pet: Grid) -> Grid:
    """Return the part of ``pet`` that holds every voxel with its centre in ``field``."""
    ends = np.stack(np.meshgrid(*[(-0.5, side - 0.5) for side in field.shape]), axis=-1)
    corners = pet.to_indices(field.to_patient(ends)).reshape(-1, 3)
    last = np.asarray(pet.shape) - 1
    first = np.clip(np.ceil(corners.min(axis=0)), 0, last).astype(int)
    final = np.clip(np.floor(corners.max(axis=0)), first, last).astype(int)
    return pet.crop(first.tolist(), (final + 1).tolist())


def _indices(grid: Grid) -> Points:
    return np.moveaxis(np.indices(grid.shape, dtype=np.float64), 0, -1)


def _least_of_planes(cells: Voxels, pixels: Points, inputs: Inputs) -> NDArray[np.float64]:
    """Interpolate each plane at the projections of ``(n, 3)`` pixels; keep the least."""
    z, y, x = pixels.T * (len(cells) / inputs.crop_side)
    axial, coronal, sagittal = (
        ndimage.map_coordinates(cells.astype(np.float64), place, order=1, mode="nearest")
        for place in ((y, x), (z, x), (z, y))
    )
    least: NDArray[np.float64] = np.minimum(np.minimum(axial, coronal), sagittal)
    return least
