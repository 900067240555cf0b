"""Polygons become the voxels whose centres they hold."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.geometry import axial_grid
from node.dicom.polygons import draw

GRID = axial_grid(shape=(6, 20, 30), spacing=(3.0, 2.0, 1.0), centre=(10.0, -5.0, 40.0))


def square(slice_index, rows, columns, grid=GRID):
    """A polygon along the edges of the voxels of two half-open ranges."""
    (top, bottom), (left, right) = rows, columns
    corners = [(top, left), (top, right), (bottom, right), (bottom, left)]
    return grid.to_patient([(slice_index, r - 0.5, c - 0.5) for r, c in corners])


def box(slices, rows, columns, grid=GRID):
    mask = np.zeros(grid.shape, bool)
    mask[slice(*slices), slice(*rows), slice(*columns)] = True
    return mask


def test_a_polygon_along_voxel_edges_gives_those_voxels():
    drawn = draw([square(i, (4, 9), (10, 20)) for i in (1, 2, 3)], GRID)

    assert np.array_equal(drawn.mask, box((1, 4), (4, 9), (10, 20)))
    assert drawn.dropped == 0


def test_a_contour_of_a_million_points_takes_no_more_memory_than_its_points():
    """Four times it runs up and down the image, eight million crossings of rows in all."""
    rows = np.tile([-5.0, 25.0], 50_000)
    columns = np.linspace(0, 29, rows.size)
    zigzag = GRID.to_patient(np.column_stack([np.full(rows.size, 1.0), rows, columns]))
    tracemalloc.start()
    try:
        drawn = draw([zigzag] * 4, GRID)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert not drawn.mask.any()  # each of an even number cuts out what the one before drew
    assert peak < 250e6


def test_a_voxel_belongs_where_its_centre_lies_inside():
    """From a little left of column 10's centre to a little left of column 12's: 10 and 11."""
    inside = GRID.to_patient(
        [(1, r, c) for r, c in ((2.9, 9.9), (2.9, 11.9), (4.1, 11.9), (4.1, 9.9))]
    )

    assert np.array_equal(draw([inside], GRID).mask, box((1, 2), (3, 5), (10, 12)))


def test_a_polygon_inside_another_cuts_a_hole():
    outer, hole = square(2, (2, 12), (5, 25)), square(2, (5, 8), (10, 15))
    expected = box((2, 3), (2, 12), (5, 25)) & ~box((2, 3), (5, 8), (10, 15))

    assert np.array_equal(draw([outer, hole], GRID).mask, expected)


def test_a_keyhole_is_a_hole():
    """One polygon: round the outside, in along row 5's edge, round the hole, and out again."""
    points = [(1.5, 4.5), (1.5, 24.5), (11.5, 24.5), (11.5, 4.5), (6.5, 4.5)]
    points += [(6.5, 9.5), (7.5, 9.5), (7.5, 14.5), (4.5, 14.5), (4.5, 9.5), (6.5, 9.5), (6.5, 4.5)]
    keyhole = GRID.to_patient([(2, row, column) for row, column in points])
    expected = box((2, 3), (2, 12), (5, 25)) & ~box((2, 3), (5, 8), (10, 15))

    assert np.array_equal(draw([keyhole], GRID).mask, expected)


def test_two_islands_of_one_plane_are_both_drawn():
    drawn = draw([square(2, (2, 4), (3, 6)), square(2, (10, 14), (20, 29))], GRID)

    assert drawn.mask.sum() == 2 * 3 + 4 * 9


def test_a_polygon_over_the_edge_of_the_image_is_cut_off():
    assert np.array_equal(
        draw([square(0, (-5, 4), (25, 60))], GRID).mask, box((0, 1), (0, 4), (25, 30))
    )


@pytest.mark.parametrize(
    "polygon",
    [
        square(-1, (2, 5), (2, 5)),
        square(6.1, (2, 5), (2, 5)),
        GRID.to_patient([(1, 2, 2), (1, 2, 8), (2, 8, 8)]),
        square(2, (2, 5), (2, 5))[:2],
    ],
    ids=["below", "above", "not parallel", "two points"],
)
def test_a_polygon_on_no_slice_is_dropped_and_counted(polygon):
    drawn = draw([polygon, square(1, (2, 5), (2, 5))], GRID)

    assert drawn.dropped == 1
    assert drawn.mask.sum() == 9


def test_a_plane_within_half_a_slice_is_taken():
    assert np.array_equal(
        draw([square(2.4, (2, 5), (2, 5))], GRID).mask, box((2, 3), (2, 5), (2, 5))
    )


def test_planes_closer_than_slices_do_not_cancel_each_other():
    near, far = square(2.0, (2, 5), (2, 5)), square(2.3, (2, 5), (2, 5))

    assert np.array_equal(draw([near, far], GRID).mask, box((2, 3), (2, 5), (2, 5)))


def test_contours_on_every_second_slice_stand_for_those_between():
    planes = [square(i, (2, 5), (2, 5)) for i in (0, 2, 4)]

    assert draw(planes, GRID).mask.any(axis=(1, 2)).tolist() == [True] * 6


def test_a_gap_between_two_lesions_stays_a_gap():
    fine = axial_grid(shape=(12, 20, 30), spacing=(3.0, 2.0, 1.0))
    planes = [square(i, (2, 5), (2, 5), fine) for i in (1, 2, 3, 8, 9)]

    assert np.flatnonzero(draw(planes, fine).mask.any(axis=(1, 2))).tolist() == [1, 2, 3, 8, 9]


@settings(max_examples=40)
@given(
    radius_mm=st.floats(4, 9),
    row=st.floats(8, 11),
    column=st.floats(12, 17),
)
def test_a_disc_holds_the_voxels_whose_centres_it_holds(radius_mm, row, column):
    angles = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    rows, columns = row + radius_mm / 2 * np.sin(angles), column + radius_mm * np.cos(angles)
    points = GRID.to_patient(np.stack([np.full(720, 3), rows, columns], axis=-1))
    drawn = draw([points], GRID).mask[3]

    grid_rows, grid_columns = np.indices(drawn.shape)
    distance = np.hypot((grid_rows - row) * 2, grid_columns - column)
    sure = np.abs(distance - radius_mm) > 0.01
    assert np.array_equal(drawn[sure], (distance < radius_mm)[sure])
