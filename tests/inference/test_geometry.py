"""One lattice, both ways: indices to the patient and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from inference.geometry import Grid, axial_grid


@st.composite
def grids(draw):
    """Any orientation, spacing, size and place."""
    turn = Rotation.random(rng=draw(st.integers(0, 2**32 - 1))).as_matrix()
    number = st.floats(0.5, 6)
    place = st.floats(-500, 500)
    return Grid(
        shape=tuple(draw(st.integers(1, 60)) for _ in range(3)),
        spacing=tuple(draw(number) for _ in range(3)),
        origin=tuple(draw(place) for _ in range(3)),
        direction=tuple(tuple(float(x) for x in row) for row in turn),
        frame_of_reference_uid="2.25.1",
    )


@given(grids(), st.tuples(*[st.floats(-100, 100)] * 3))
def test_indices_survive_the_round_trip_through_the_patient(grid, indices):
    assert np.allclose(grid.to_indices(grid.to_patient(indices)), indices, atol=1e-6)


@given(grids())
def test_one_step_of_an_index_moves_by_the_spacing_along_its_axis(grid):
    start = grid.to_patient((0, 0, 0))
    for axis in range(3):
        step = grid.to_patient(np.eye(3)[axis]) - start
        assert np.allclose(step, np.multiply(grid.direction[axis], grid.spacing[axis]))


@given(grids())
def test_a_lattice_holds_its_centre_and_not_a_point_beyond_its_border(grid):
    assert grid.contains(grid.centre)
    beyond = grid.to_patient((grid.shape[0] - 0.4, 0, 0))
    assert not grid.contains(beyond)


def test_a_crop_keeps_every_voxel_where_it_was():
    grid = axial_grid(shape=(5, 6, 7), spacing=(3, 2, 1), centre=(10, 20, 30))

    part = grid.crop((1, 2, 3), (4, 6, 7))

    assert part.shape == (3, 4, 4)
    assert np.allclose(part.to_patient((0, 0, 0)), grid.to_patient((1, 2, 3)))


def test_an_axial_lattice_runs_to_head_back_and_left():
    grid = axial_grid(shape=(3, 3, 3), spacing=(4, 2, 1))

    assert np.allclose(grid.to_patient((2, 2, 2)) - grid.to_patient((0, 0, 0)), (2, 4, 8))
    assert grid.centre == (0, 0, 0)
    assert grid.voxel_volume_ml == pytest.approx(0.008)


def test_lattices_with_two_axes_swapped_are_not_the_same():
    grid = axial_grid(shape=(3, 4, 4), spacing=(3, 2, 2))
    slices, rows, columns = grid.direction
    swapped = Grid(
        shape=grid.shape,
        spacing=grid.spacing,
        origin=grid.origin,
        direction=(slices, columns, rows),
        frame_of_reference_uid=grid.frame_of_reference_uid,
    )

    assert grid.is_close(grid)
    assert not grid.is_close(swapped)


@pytest.mark.parametrize(
    "wrong",
    [
        {"shape": (0, 1, 1)},
        {"spacing": (0, 1, 1)},
        {"spacing": (float("nan"), 1, 1)},
        {"direction": ((1, 0, 0), (1, 0, 0), (0, 0, 1))},
    ],
)
def test_a_lattice_that_is_none_is_refused(wrong):
    right = {
        "shape": (1, 1, 1),
        "spacing": (1, 1, 1),
        "origin": (0, 0, 0),
        "direction": ((0, 0, 1), (0, 1, 0), (1, 0, 0)),
        "frame_of_reference_uid": "2.25.1",
    }

    with pytest.raises(ValueError, match="must be"):
        Grid(**{**right, **wrong})
