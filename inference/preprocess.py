"""From a PET/CT and a point in the patient to network input, for training and serving alike."""

from dataclasses import dataclass

import numpy as np

from inference.beside import beside
from inference.card import Channel, Inputs
from inference.geometry import Grid, Vector
from inference.petct import PetCt
from inference.resample import volume_onto
from inference.volume import Volume, Voxels


@dataclass(frozen=True, kw_only=True, eq=False)
class Cubes:
    """SUVbw and HU on one cube, clipped, indexed towards the head, the back and the left."""

    pet: Voxels
    ct: Voxels


def cube_grid(centre: Vector, inputs: Inputs, frame_of_reference_uid: str) -> Grid:
    """Return the cube on the patient's axes whose voxel ``cube_side // 2`` lies on ``centre``."""
    middle = inputs.cube_side // 2 * inputs.spacing_mm
    x, y, z = centre
    return Grid(
        shape=(inputs.cube_side,) * 3,
        spacing=(inputs.spacing_mm,) * 3,
        origin=(x - middle, y - middle, z - middle),
        direction=((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0)),
        frame_of_reference_uid=frame_of_reference_uid,
    )


def cubes(petct: PetCt, centre: Vector, inputs: Inputs) -> Cubes:
    """Resample PET and CT to one cube around ``centre``, whatever way the images were taken."""
    grid = cube_grid(centre, inputs, petct.pet.grid.frame_of_reference_uid)
    with beside(lambda: _cube(petct.pet, grid, inputs.pet)) as pet:
        ct = _cube(petct.ct, grid, inputs.ct)
    return Cubes(pet=pet(), ct=ct)


def crop_start(inputs: Inputs) -> int:
    """Return the index in the cube, along each axis, of the planes' first pixel."""
    return inputs.cube_side // 2 - inputs.crop_side // 2


def planes(cube: Voxels, inputs: Inputs) -> Voxels:
    """Return the axial, coronal and sagittal plane through the middle voxel, as three channels."""
    middle = inputs.cube_side // 2
    start = crop_start(inputs)
    crop = slice(start, start + inputs.crop_side)
    stacked: Voxels = np.stack(
        [cube[middle, crop, crop], cube[crop, middle, crop], cube[crop, crop, middle]]
    )
    return stacked


def normalise(values: Voxels, channel: Channel) -> Voxels:
    """Subtract the training set's mean and divide by its SD."""
    normalised: Voxels = (values - np.float32(channel.mean)) / np.float32(channel.sd)
    return normalised.astype(np.float32, copy=False)


def network_inputs(petct: PetCt, centre: Vector, inputs: Inputs) -> tuple[Voxels, Voxels]:
    """Return the PET and the CT input of one lesion, each ``(1, plane, row, column)``."""
    cut = cubes(petct, centre, inputs)
    pet = normalise(planes(cut.pet, inputs), inputs.pet)
    ct = normalise(planes(cut.ct, inputs), inputs.ct)
    return pet[np.newaxis], ct[np.newaxis]


def _cube(volume: Volume, grid: Grid, channel: Channel) -> Voxels:
    return _clip(volume_onto(volume, grid, fill=channel.fill).voxels, channel)


def _clip(values: Voxels, channel: Channel) -> Voxels:
    """Clip; what is not a number becomes ``fill``, so that one broken voxel spoils nothing else."""
    clipped: Voxels = np.clip(np.where(np.isnan(values), channel.fill, values), *channel.clip)
    return clipped.astype(np.float32, copy=False)
