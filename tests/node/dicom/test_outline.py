"""Outlines run along pixel edges, so that their area is the number of pixels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from node.dicom.outline import key_slice, outline


def area(points):
    """The shoelace formula over a closed polygon."""
    x, y = points[:-1].T
    u, v = points[1:].T
    return abs(float(np.sum(x * v - u * y))) / 2


def test_a_single_pixel_is_outlined_by_its_four_corners_and_the_middles_of_its_sides():
    plane = np.zeros((4, 5), dtype=bool)
    plane[2, 3] = True

    points = outline(plane)

    assert points.tolist() == [
        [3, 2], [3.5, 2], [4, 2], [4, 2.5], [4, 3], [3.5, 3], [3, 3], [3, 2.5], [3, 2],
    ]  # fmt: skip


def test_a_rectangle_has_more_than_five_points_lest_viewers_take_it_for_a_tool():
    plane = np.zeros((6, 6), dtype=bool)
    plane[1:4, 2:6] = True

    points = outline(plane)

    assert len(points) > 5
    assert area(points) == 12
    assert points.min(axis=0).tolist() == [2, 1]
    assert points.max(axis=0).tolist() == [6, 4]


def test_of_several_parts_the_largest_is_outlined_without_its_hole():
    plane = np.zeros((8, 12), dtype=bool)
    plane[0, 0] = True
    plane[2:7, 5:10] = True
    plane[4, 7] = False

    assert area(outline(plane)) == 25


def test_pixels_that_touch_at_a_corner_only_are_not_one_part():
    plane = np.array([[True, False], [False, True]])

    assert area(outline(plane)) == 1


def test_a_plane_without_a_region_is_refused():
    with pytest.raises(ValueError, match="no outline"):
        outline(np.zeros((3, 3), dtype=bool))


def test_the_key_slice_is_the_first_of_the_largest():
    mask = np.zeros((4, 3, 3), dtype=bool)
    mask[1, :2] = mask[2, 1:] = True
    mask[3, 0, 0] = True

    assert key_slice(mask) == 1


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.booleans(), min_size=7, max_size=7), min_size=1, max_size=7))
def test_the_area_of_an_outline_is_the_pixels_of_the_largest_part_and_its_holes(rows):
    plane = np.array(rows)
    if not plane.any():
        return
    labels, count = ndimage.label(plane)
    sizes = [np.count_nonzero(labels == n) for n in range(1, count + 1)]
    largest = labels == int(np.argmax(sizes)) + 1

    points = outline(plane)

    assert area(points) == np.count_nonzero(ndimage.binary_fill_holes(largest))
    assert points[0].tolist() == points[-1].tolist()
    assert len(points) > 5
