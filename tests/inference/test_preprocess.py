import numpy as np
import pytest

from inference.card import PLANES, Channel, Inputs
from inference.geometry import Grid, axial_grid
from inference.petct import CtFacts, PetCt, PetFacts
from inference.preprocess import cube_grid, cubes, network_inputs, normalise, planes
from inference.volume import Quantity, Volume

INPUTS = Inputs(
    spacing_mm=2.0,
    cube_side=16,
    crop_side=8,
    planes=PLANES,
    pet=Channel(clip=(0.0, 1000.0), mean=100.0, sd=10.0, fill=0.0),
    ct=Channel(clip=(-1000.0, 1000.0), mean=0.0, sd=1.0, fill=-1000.0),
)
CENTRE = (10.0, -20.0, 30.0)


def turned(grid, rotation):
    """The same lattice, turned about the origin of the patient."""
    rotate = np.asarray(rotation)
    return Grid(
        shape=grid.shape,
        spacing=grid.spacing,
        origin=tuple(map(float, rotate @ grid.origin)),
        direction=tuple(tuple(map(float, rotate @ axis)) for axis in grid.direction),
        frame_of_reference_uid=grid.frame_of_reference_uid,
    )


def about_x(degrees):
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return [[1, 0, 0], [0, c, -s], [0, s, c]]


FEET_FIRST = [[-1, 0, 0], [0, 1, 0], [0, 0, -1]]
GRIDS = {
    "head first": np.eye(3),
    "feet first": FEET_FIRST,
    "oblique": about_x(20),
}


def ramp(grid, weights, offset, quantity):
    """A value that is linear in x, y and z, which linear interpolation keeps exactly."""
    points = grid.to_patient(np.stack(np.indices(grid.shape), axis=-1))
    voxels = (points @ np.asarray(weights) + offset).astype(np.float32)
    return Volume(voxels=voxels, grid=grid, quantity=quantity)


def petct_on(pet_grid, ct_grid):
    return PetCt(
        study_instance_uid="2.25.1",
        pet=ramp(pet_grid, (1, 2, 3), 500.0, Quantity.SUVBW),
        ct=ramp(ct_grid, (3, 1, 2), 0.0, Quantity.HU),
        pet_facts=PetFacts(
            series_instance_uid="2.25.2",
            units="BQML",
            suvbw_factor=1.0,
            decay_reference="START",
            uptake_min=60.0,
            tracer="FDG",
        ),
        ct_facts=CtFacts(series_instance_uid="2.25.3"),
    )


@pytest.mark.parametrize("rotation", GRIDS.values(), ids=GRIDS.keys())
def test_a_cube_lies_on_the_patients_axes_whatever_way_the_images_were_taken(rotation):
    pet_grid = turned(axial_grid(shape=(30, 30, 30), spacing=(4.0, 5.0, 5.0)), rotation)
    ct_grid = turned(axial_grid(shape=(50, 60, 60), spacing=(3.0, 2.0, 2.0)), rotation)

    cut = cubes(petct_on(pet_grid, ct_grid), CENTRE, INPUTS)

    points = cube_grid(CENTRE, INPUTS, "2.25.1").to_patient(
        np.stack(np.indices((16, 16, 16)), axis=-1)
    )
    assert np.allclose(cut.pet, points @ [1, 2, 3] + 500, atol=1e-2)
    assert np.allclose(cut.ct, points @ [3, 1, 2], atol=1e-2)


def test_the_middle_voxel_lies_on_the_lesion_and_indices_run_to_head_back_and_left():
    grid = cube_grid(CENTRE, INPUTS, "2.25.1")

    assert grid.to_patient((8, 8, 8)).tolist() == [10.0, -20.0, 30.0]
    assert grid.to_patient((9, 8, 8)).tolist() == [10.0, -20.0, 32.0]
    assert grid.to_patient((8, 9, 8)).tolist() == [10.0, -18.0, 30.0]
    assert grid.to_patient((8, 8, 9)).tolist() == [12.0, -20.0, 30.0]


def test_the_planes_are_the_three_through_the_middle_voxel():
    slices, rows, columns = np.indices((16, 16, 16)).astype(np.float32)
    cube = 10000 * slices + 100 * rows + columns

    axial, coronal, sagittal = planes(cube, INPUTS)

    assert axial[0, 1] == 80405  # slice 8, row 4, column 5
    assert coronal[0, 1] == 40805  # slice 4, row 8, column 5
    assert sagittal[0, 1] == 40508  # slice 4, row 5, column 8
    assert axial[4, 4] == coronal[4, 4] == sagittal[4, 4] == 80808


def test_outside_the_images_stands_the_fill_and_values_are_clipped():
    grid = axial_grid(shape=(4, 4, 4), spacing=(2.0, 2.0, 2.0))
    petct = petct_on(grid, grid)
    petct.pet.voxels[:] = 5000.0
    petct.ct.voxels[:] = np.nan

    cut = cubes(petct, (0.0, 0.0, 0.0), INPUTS)

    assert cut.pet[8, 8, 8] == 1000.0
    assert cut.pet[0, 0, 0] == 0.0
    assert np.all(cut.ct == -1000.0)


def test_normalising_subtracts_the_mean_and_divides_by_the_sd():
    values = np.array([100.0, 110.0, 70.0], np.float32)

    assert normalise(values, INPUTS.pet).tolist() == [0.0, 1.0, -3.0]


def test_network_inputs_are_one_case_of_three_planes_in_float32():
    grid = axial_grid(shape=(30, 30, 30), spacing=(4.0, 4.0, 4.0))

    pet, ct = network_inputs(petct_on(grid, grid), CENTRE, INPUTS)

    assert pet.shape == ct.shape == (1, 3, 8, 8)
    assert pet.dtype == ct.dtype == np.float32
    # At the lesion: 10 + 2 * -20 + 3 * 30 + 500 = 560, so (560 - 100) / 10 = 46.
    assert pet[0, 0, 4, 4] == pytest.approx(46.0, abs=1e-3)
    assert ct[0, 2, 4, 4] == pytest.approx(3 * 10 - 20 + 2 * 30, abs=1e-2)
