"""Standard views are in the patient's axes, however the images were acquired."""

from dataclasses import replace

import numpy as np
import pytest

from inference.geometry import Grid, axial_grid
from inference.volume import Region
from node.dicom import planes

GRID = axial_grid(shape=(10, 16, 20), spacing=(5, 4, 3))


def hot_spot(grid: Grid, point) -> np.ndarray:
    """One hot voxel, the one nearest to a point in LPS mm."""
    voxels = np.zeros(grid.shape, dtype=np.float32)
    voxels[tuple(np.round(grid.to_indices(point)).astype(int))] = 1
    return voxels


def feet_first(grid: Grid) -> Grid:
    """The same box acquired feet first: slices to the feet, columns to the right."""
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


def turned(grid: Grid) -> Grid:
    """The same box, turned by 30 degrees about the head-foot axis."""
    cosine, sine = float(np.cos(np.pi / 6)), float(np.sin(np.pi / 6))
    return replace(grid, direction=((0.0, 0.0, 1.0), (-sine, cosine, 0.0), (cosine, sine, 0.0)))


def brightest(image):
    row, column = np.unravel_index(int(np.nanargmax(image)), image.shape)
    return int(row), int(column)


@pytest.mark.parametrize("stored", [GRID, feet_first(GRID), sagittal(GRID)])
@pytest.mark.parametrize(
    ("plane", "right", "down"),
    [("axial", 13.5, 14.0), ("coronal", 13.5, -12.5), ("sagittal", 14.0, -12.5)],
)
def test_a_point_is_seen_where_radiologists_look_for_it(stored, plane, right, down):
    """The point lies left (x), back (y) and headwards (z); 101 pixels of 1 mm."""
    point = (13.5, 14.0, 12.5)
    view = planes.section(plane, point, middle=(0, 0, 0), side_mm=101, pixels=101)

    image = planes.sample(hot_spot(stored, point), stored, view)

    assert brightest(image) == pytest.approx((50 + down, 50 + right), abs=1)
    assert view.pixel(point) == pytest.approx((50 + down, 50 + right))


def test_an_oblique_volume_is_seen_where_it_lies():
    grid = turned(GRID)
    point = tuple(float(v) for v in grid.to_patient((4, 12, 15)))
    view = planes.section("axial", point, middle=(0, 0, 0), side_mm=120, pixels=240)

    image = planes.sample(hot_spot(grid, point), grid, view)

    assert brightest(image) == pytest.approx(view.pixel(point), abs=1)


def test_there_is_no_number_where_there_is_no_voxel():
    """A volume ends at the outer face of its last voxels: 60 of 100 mm from side to side."""
    view = planes.section("coronal", (0, 0, 0), middle=(0, 0, 0), side_mm=100, pixels=100)

    image = planes.sample(np.ones(GRID.shape, np.float32), GRID, view)

    assert np.isfinite(image).any(axis=0).sum() == 60
    assert np.isfinite(image).any(axis=1).sum() == 50
    assert set(image[np.isfinite(image)]) == {1.0}


def test_a_view_beside_the_volume_is_empty():
    view = planes.section("axial", (0, 0, 500), middle=(0, 0, 0), side_mm=10, pixels=5)

    assert np.isnan(planes.sample(np.zeros(GRID.shape, np.float32), GRID, view)).all()


@pytest.mark.parametrize("stored", [GRID, feet_first(GRID), sagittal(GRID)])
def test_a_volume_whose_axes_are_the_patients_is_turned_without_a_copy(stored):
    point = (13.5, 14.0, 12.5)
    voxels = hot_spot(stored, point)

    upright, grid = planes.upright(voxels, stored)

    assert np.shares_memory(upright, voxels)
    assert grid.direction == planes.UPRIGHT
    assert grid.to_patient(np.argwhere(upright)[0]) == pytest.approx(point)


def test_an_oblique_volume_is_resampled_upright():
    oblique = turned(GRID)
    voxels = np.zeros(GRID.shape, np.float32)
    voxels[4:7, 10:13, 14:17] = 1

    upright, grid = planes.upright(voxels, oblique)

    found = grid.to_patient(np.argwhere(upright > 0.5)).mean(axis=0)
    assert found == pytest.approx(oblique.to_patient((5, 11, 15)), abs=1)
    assert upright.max() == pytest.approx(1)


def test_a_projection_keeps_the_greatest_along_the_line_of_sight():
    voxels = hot_spot(GRID, (13.5, 14.0, 12.5))
    voxels[0, 0, 0] = np.nan
    upright, grid = planes.upright(voxels, GRID)
    slices, rows, columns = np.argwhere(upright == 1)[0]

    assert grid.shape == GRID.shape
    assert brightest(planes.project(upright, "axial")) == (rows, columns)
    assert brightest(planes.project(upright, "coronal")) == (slices, columns)
    assert brightest(planes.project(upright, "sagittal")) == (slices, rows)
    assert np.isfinite(planes.project(upright, "axial")).all()


@pytest.mark.parametrize(
    ("point", "side_mm", "middle"),
    [
        ((0.0, 0.0, 0.0), 20.0, (0.0, 0.0, 0.0)),
        # 30 mm from the middle to the face in x, 32 in y, 25 in z: the box stays inside.
        ((28.0, -31.0, 24.0), 20.0, (20.0, -22.0, 15.0)),
        # Wider than the volume: all of it is seen.
        ((28.0, -31.0, 24.0), 70.0, (0.0, 0.0, 0.0)),
        # The point is not in the volume at all: it is seen nevertheless.
        ((100.0, 0.0, 0.0), 20.0, (90.0, 0.0, 0.0)),
    ],
)
def test_the_box_around_a_point_holds_it_and_little_beyond_the_volume(point, side_mm, middle):
    assert planes.box_around(point, GRID, side_mm=side_mm) == pytest.approx(middle)


@pytest.mark.parametrize("seed", range(40))
def test_what_a_region_covers_is_what_sampling_all_of_it_tells(seed):
    """On grids that lie askew or straight, with regions that reach the edge, or are empty."""
    rng = np.random.default_rng(seed)
    turned, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    cosines = turned if seed % 2 else np.eye(3)[::-1]
    grid = replace(
        axial_grid(shape=(9, 11, 13), spacing=(3.0, 2.0, 2.0)),
        direction=tuple(map(tuple, cosines.tolist())),
    )
    mask = np.zeros(grid.shape, np.bool_)
    first = rng.integers(0, 9, 3)
    mask[tuple(slice(a, a + n) for a, n in zip(first, rng.integers(0, 7, 3), strict=True))] = True
    region = Region(mask=mask, grid=grid)
    for plane in planes.PLANES:
        point = tuple(grid.to_patient(first).tolist())
        view = planes.section(plane, point, middle=point, side_mm=40.0, pixels=40)

        assert np.array_equal(planes.covered(region, view), planes.sample(mask, grid, view) > 0.5)
