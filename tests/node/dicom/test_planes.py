"""Standard views are in the patient's axes, however the images were acquired."""

from dataclasses import replace

import numpy as np
import pytest

from inference.geometry import Grid, axial_grid
from node.dicom import planes

GRID = axial_grid(shape=(10, 16, 20), spacing=(5, 4, 3))


def hot_spot(grid: Grid, point) -> np.ndarray:
    """One hot voxel, the one nearest to a point in LPS mm."""
    voxels = np.zeros(grid.shape, dtype=np.float32)
    voxels[tuple(np.round(grid.to_indices(point)).astype(int))] = 1
    return voxels


def feet_first(grid: Grid) -> Grid:
    """The same box acquired feet first and prone: slices to the feet, columns to the right."""
    return replace(
        grid,
        direction=((0.0, 0.0, -1.0), (0.0, 1.0, 0.0), (-1.0, 0.0, 0.0)),
        origin=(-grid.origin[0], grid.origin[1], -grid.origin[2]),
    )


def sagittal(grid: Grid) -> Grid:
    """The same box stored as sagittal slices."""
    slices, rows, columns = grid.shape
    return Grid(
        shape=(columns, slices, rows),
        spacing=(grid.spacing[2], grid.spacing[0], grid.spacing[1]),
        origin=(grid.origin[0], grid.origin[1], -grid.origin[2]),
        direction=((1.0, 0.0, 0.0), (0.0, 0.0, -1.0), (0.0, 1.0, 0.0)),
        frame_of_reference_uid=grid.frame_of_reference_uid,
    )


def brightest(image):
    row, column = np.unravel_index(int(np.argmax(image)), image.shape)
    return int(row), int(column)


@pytest.mark.parametrize("stored", [GRID, feet_first(GRID), sagittal(GRID)])
def test_the_patients_left_is_on_the_right_and_the_head_above(stored):
    """The point lies left, back and headwards of the middle."""
    point = (13.5, 14.0, 12.5)
    voxels = hot_spot(stored, point)
    coronal = planes.coronal_view(stored, step_mm=1.0)
    axial = planes.axial_view(stored, height_mm=12.5, pixels=101)

    projection = planes.sample(voxels, stored, coronal, order=1, outside=0).max(axis=0)
    plane = planes.sample(voxels, stored, axial, order=1, outside=0)[0]

    assert brightest(projection) == pytest.approx((22.5 - 12.5, 28.5 + 13.5), abs=1)
    row, column = brightest(plane)
    assert row > 50
    assert column > 50
    assert coronal.shape[1:] == (46, 58)


def test_a_sagittal_view_has_the_front_on_the_left():
    voxels = hot_spot(GRID, (1.5, 14.0, -12.5))
    view = planes.sagittal_view(GRID, step_mm=1.0)

    row, column = brightest(planes.sample(voxels, GRID, view, order=1, outside=0).max(axis=0))

    assert (row, column) == (22.5 + 12.5, 30 + 14)


def test_an_oblique_volume_is_seen_where_it_lies():
    """Turned by 30 degrees about the head-foot axis."""
    cosine, sine = float(np.cos(np.pi / 6)), float(np.sin(np.pi / 6))
    turned = replace(GRID, direction=((0.0, 0.0, 1.0), (-sine, cosine, 0.0), (cosine, sine, 0.0)))
    x, y, z = (float(v) for v in turned.to_patient((4, 12, 15)))
    view = planes.axial_view(turned, height_mm=z, pixels=201)

    plane = planes.sample(hot_spot(turned, (x, y, z)), turned, view, order=1, outside=0)[0]

    row, column = brightest(plane)
    assert (view.origin[0] + column * view.step_mm) == pytest.approx(x, abs=1)
    assert (view.origin[1] + row * view.step_mm) == pytest.approx(y, abs=1)


def test_outside_the_volume_there_is_the_value_asked_for():
    view = planes.axial_view(GRID, height_mm=500.0, pixels=5)

    plane = planes.sample(np.zeros(GRID.shape, np.float32), GRID, view, order=1, outside=-1000)

    assert np.all(plane == -1000)
