"""The axes of a region in one slice are those that a reader would draw."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.geometry import axial_grid
from inference.measure import diameters
from inference.volume import Region
from node.dicom.axes import axes, carried, slice_of_longest_axis

GRID = axial_grid(shape=(3, 40, 40), spacing=(5, 2, 2), frame_of_reference_uid="2.25.1")
TILTED = ((0.0, -0.28, 0.96), (0.0, 0.96, 0.28), (1.0, 0.0, 0.0))


def region(mask) -> Region:
    return Region(mask=np.asarray(mask, bool), grid=GRID)


def bar(slice_index=1, rows=slice(10, 12), columns=slice(5, 25)) -> Region:
    mask = np.zeros(GRID.shape, bool)
    mask[slice_index, rows, columns] = True
    return region(mask)


def ellipse(long_mm, short_mm, angle, spacing=2.0) -> Region:
    rows, columns = (np.indices(GRID.shape[1:]) - 19.5) * spacing
    along = columns * np.cos(angle) + rows * np.sin(angle)
    across = -columns * np.sin(angle) + rows * np.cos(angle)
    mask = np.zeros(GRID.shape, bool)
    mask[1] = (2 * along / long_mm) ** 2 + (2 * across / short_mm) ** 2 <= 1
    return region(mask)


def length(line, spacing=2.0):
    return float(np.linalg.norm(line[1] - line[0]) * spacing)


def test_a_row_of_20_pixels_is_20_pixels_long_and_one_pixel_wide():
    """40 mm and 2 mm; its middle row, the 11th, is at 10.5 in coordinates of SCOORD."""
    found = axes(bar(rows=slice(10, 11)), 1)

    assert found.long_mm == pytest.approx(40)
    assert found.short_mm == pytest.approx(2)
    assert sorted(map(tuple, found.long.round(6))) == [(5, 10.5), (25, 10.5)]
    assert found.short[:, 1].min() == pytest.approx(10)
    assert found.short[:, 1].max() == pytest.approx(11)


@pytest.mark.parametrize("angle", [0, 0.4, 1.1, 2.5])
def test_an_ellipse_has_its_own_axes_to_a_pixel_however_it_lies(angle):
    found = axes(ellipse(60, 36, angle), 1)

    assert found.long_mm == pytest.approx(60, abs=3)
    assert found.short_mm == pytest.approx(36, abs=3)


@given(st.integers(0, 2**24 - 1))
def test_the_axes_cross_at_right_angles_and_are_as_long_as_they_are_drawn(seed):
    rng = np.random.default_rng(seed)
    mask = np.zeros(GRID.shape, bool)
    mask[1, 8:20, 8:20] = rng.random((12, 12)) < 0.3
    mask[1, 14, 14] = True

    found = axes(region(mask), 1)

    long, short = found.long[1] - found.long[0], found.short[1] - found.short[0]
    assert abs(long @ short) < 1e-6 * max(1, np.linalg.norm(long) * np.linalg.norm(short))
    assert length(found.long) == pytest.approx(found.long_mm)
    assert length(found.short) == pytest.approx(found.short_mm)
    assert found.short_mm <= found.long_mm + 1e-6
    start, along = found.long[0], long / (long @ long)
    places = [(point - start) @ along for point in found.short]
    assert all(-1e-6 <= place <= 1 + 1e-6 for place in places)


def test_the_long_axis_is_the_longest_axial_diameter_of_the_lesion():
    shape = ellipse(50, 30, 0.7)

    assert axes(shape, 1).long_mm == pytest.approx(diameters(shape)[0])


def test_the_slice_is_the_one_in_which_the_region_is_longest():
    mask = bar(slice_index=0, rows=slice(5, 15), columns=slice(5, 15)).mask | bar(2).mask

    assert slice_of_longest_axis(region(mask)) == 2


def test_a_single_pixel_has_axes_of_its_own_size():
    found = axes(bar(rows=slice(3, 4), columns=slice(7, 8)), 1)

    assert (found.long_mm, found.short_mm) == (pytest.approx(2), pytest.approx(2))


def test_axes_are_carried_to_another_grid_as_long_and_at_the_same_place():
    """From 2 mm to 4 mm pixels and 5 mm to 3 mm slices: corner 11 / 2 and so on."""
    other = axial_grid(shape=(5, 20, 20), spacing=(3, 4, 4), frame_of_reference_uid="2.25.1")
    found = axes(ellipse(30, 14, 0.4), 1)

    index, drawn = carried(found, 1, GRID, other)

    assert index == round(float(other.to_indices(GRID.to_patient((1, 0, 0)))[0]))
    assert (drawn.long_mm, drawn.short_mm) == (found.long_mm, found.short_mm)
    assert length(drawn.long, spacing=4) == pytest.approx(found.long_mm)
    assert length(drawn.short, spacing=4) == pytest.approx(found.short_mm)
    places = [GRID.to_patient((1, y - 0.5, x - 0.5)) for x, y in found.long]
    again = [other.to_patient((index, y - 0.5, x - 0.5)) for x, y in drawn.long]
    assert np.allclose(np.asarray(places)[:, :2], np.asarray(again)[:, :2])


def test_axes_are_not_carried_to_slices_that_are_tilted_or_too_small():
    tilted = replace(GRID, direction=TILTED)
    small = axial_grid(shape=(3, 5, 5), spacing=(5, 2, 2), frame_of_reference_uid="2.25.1")
    found = axes(ellipse(30, 14, 0.4), 1)

    assert carried(found, 1, GRID, tilted) is None
    assert carried(found, 1, GRID, small) is None
