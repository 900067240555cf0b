"""Uptake, extent and side of one lesion, on shapes whose numbers can be checked by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest

from inference.geometry import Grid, axial_grid
from inference.measure import (
    PEAK_RADIUS_MM,
    centroid,
    diameters,
    laterality,
    measure,
    sphere_weights,
)
from inference.resample import empty_region
from inference.volume import Quantity, Region, Volume

GRID = axial_grid(shape=(21, 21, 21), spacing=(2.0, 2.0, 2.0))


def suv(voxels: np.ndarray, grid: Grid = GRID) -> Volume:
    return Volume(voxels=voxels.astype(np.float32), grid=grid, quantity=Quantity.SUVBW)


def block(*ranges: tuple[int, int], grid: Grid = GRID) -> Region:
    mask = np.zeros(grid.shape, bool)
    mask[tuple(slice(*r) for r in ranges)] = True
    return Region(mask=mask, grid=grid)


def ball(centre: tuple[float, float, float], diameter_mm: float, grid: Grid = GRID) -> Region:
    positions = grid.to_patient(np.moveaxis(np.indices(grid.shape), 0, -1))
    mask = ((positions - np.asarray(centre)) ** 2).sum(axis=-1) <= (diameter_mm / 2) ** 2
    return Region(mask=mask, grid=grid)


def test_the_metabolic_volume_holds_the_voxels_at_or_above_the_threshold():
    """Ten voxels of 8 mm3: one of SUV 10, four of 5, five of 4; 41 % of 10 is 4.1."""
    voxels = np.zeros(GRID.shape)
    voxels[10, 10, 5:15] = [10, 5, 5, 5, 5, 4, 4, 4, 4, 4]

    measures = measure(block((10, 11), (10, 11), (5, 15)), suv(voxels), threshold_fraction=0.41)

    assert measures.suv_max == 10
    assert measures.mtv_ml == pytest.approx(5 * 0.008)
    assert measures.suv_mean == pytest.approx(30 / 5)
    assert measures.tlg_g == measures.suv_mean * measures.mtv_ml
    assert measures.metabolic.mask.sum() == 5


def test_a_voxel_exactly_at_the_threshold_counts():
    voxels = np.zeros(GRID.shape)
    voxels[10, 10, 5:7] = [8, 4]

    measures = measure(block((10, 11), (10, 11), (5, 7)), suv(voxels), threshold_fraction=0.5)

    assert measures.metabolic.mask.sum() == 2


def test_the_maximum_lies_at_the_centre_of_the_hottest_voxel():
    """The middle voxel (10, 10, 10) is at the origin; index (10, 8, 13) is 4 mm to the front."""
    voxels = np.ones(GRID.shape)
    voxels[10, 8, 13] = 7

    measures = measure(ball((0, 0, 0), 30), suv(voxels), threshold_fraction=0.41)

    assert measures.suv_max_lps_mm == (6.0, -4.0, 0.0)


def test_uptake_outside_the_region_is_not_the_regions():
    voxels = np.ones(GRID.shape)
    voxels[0, 0, 0] = 99

    assert measure(ball((0, 0, 0), 10), suv(voxels), threshold_fraction=0.41).suv_max == 1


def test_the_peak_of_even_uptake_is_that_uptake():
    measures = measure(ball((0, 0, 0), 10), suv(np.full(GRID.shape, 3.5)), threshold_fraction=0.41)

    assert measures.suv_peak == pytest.approx(3.5)


def test_the_peak_of_a_single_hot_voxel_is_its_share_of_a_millilitre():
    """8 mm3 of SUV 100 in 1000 mm3 of nothing: 0.8."""
    voxels = np.zeros(GRID.shape)
    voxels[10, 10, 10] = 100

    measures = measure(ball((0, 0, 0), 10), suv(voxels), threshold_fraction=0.41)

    assert measures.suv_peak == pytest.approx(0.8, rel=0.01)


def test_the_peak_sphere_may_leave_the_region_and_need_not_hold_the_maximum():
    """A lone voxel of 20 gives 0.16; a warm ball of SUV 10 elsewhere gives 10."""
    voxels = 10.0 * ball((10, 0, 0), 20).mask
    voxels[10, 10, 3] = 20
    region = Region(mask=(voxels > 0) & (np.indices(GRID.shape)[0] == 10), grid=GRID)

    measures = measure(region, suv(voxels), threshold_fraction=0.41)

    assert measures.suv_max == 20
    assert measures.suv_peak == pytest.approx(10)


def test_the_peak_is_unknown_where_its_sphere_leaves_the_image():
    voxels = np.ones(GRID.shape)
    voxels[1, 10, 10] = 5

    measures = measure(block((0, 21), (8, 13), (8, 13)), suv(voxels), threshold_fraction=0.41)

    assert measures.suv_peak is None


def test_the_peak_is_unknown_in_an_image_smaller_than_its_sphere():
    grid = axial_grid(shape=(3, 3, 3), spacing=(2.0, 2.0, 2.0))
    whole = Region(mask=np.ones(grid.shape, bool), grid=grid)

    measures = measure(whole, suv(np.ones(grid.shape), grid), threshold_fraction=0.41)

    assert measures.suv_peak is None


@pytest.mark.parametrize("spacing", [(2.0, 2.0, 2.0), (3.27, 5.47, 5.47), (1.0, 0.7, 0.7)])
def test_the_sphere_holds_one_millilitre(spacing):
    grid = axial_grid(shape=(5, 5, 5), spacing=spacing)

    offsets, weights = sphere_weights(grid)

    assert 4 / 3 * math.pi * PEAK_RADIUS_MM**3 == pytest.approx(1000)
    assert weights.sum() == pytest.approx(1)
    middle = float(weights[(offsets == 0).all(axis=1)][0])
    assert math.prod(spacing) / middle == pytest.approx(1000, rel=0.01)
    assert np.allclose(weights @ offsets, 0)


def test_what_cannot_be_measured_is_refused():
    pet = suv(np.ones(GRID.shape))
    with pytest.raises(ValueError, match="empty region"):
        measure(empty_region(GRID), pet, threshold_fraction=0.41)
    with pytest.raises(ValueError, match="own grid"):
        measure(
            empty_region(axial_grid(shape=(2, 2, 2), spacing=(1, 1, 1))),
            pet,
            threshold_fraction=0.41,
        )
    with pytest.raises(ValueError, match="fraction of SUVmax"):
        measure(ball((0, 0, 0), 10), pet, threshold_fraction=41)
    with pytest.raises(ValueError, match="g/ml"):
        measure(
            ball((0, 0, 0), 10), replace(pet, quantity=Quantity.ACTIVITY), threshold_fraction=0.41
        )


def test_a_row_of_voxels_is_as_long_as_its_voxels():
    """Five voxels of 2 mm along a row; ten along z, which no axial slice shows."""
    assert diameters(block((10, 11), (10, 11), (5, 10))) == (pytest.approx(10), pytest.approx(10))
    within, in_space = diameters(block((3, 13), (10, 11), (10, 11)))
    assert within == pytest.approx(2)
    assert in_space == pytest.approx(20)


def test_a_single_voxel_is_as_long_as_its_longest_side():
    grid = axial_grid(shape=(3, 3, 3), spacing=(5.0, 2.0, 1.0))

    assert diameters(block((1, 2), (1, 2), (1, 2), grid=grid)) == (
        pytest.approx(2),
        pytest.approx(5),
    )


def test_a_cube_is_measured_between_the_faces_of_its_corner_voxels():
    """10 x 10 x 10 voxels of 2 mm. The corners' faces lie (9, 9, 10) voxels apart, or (9, 10)."""
    within, in_space = diameters(block((5, 15), (5, 15), (5, 15)))

    assert within == pytest.approx(2 * math.hypot(9, 10))
    assert in_space == pytest.approx(2 * math.sqrt(81 + 81 + 100))


@pytest.mark.parametrize("diameter_mm", [10.0, 23.0, 37.0])
def test_a_ball_is_as_long_as_its_diameter(diameter_mm):
    grid = axial_grid(shape=(41, 41, 41), spacing=(1.0, 1.0, 1.0))

    within, in_space = diameters(ball((0, 0, 0), diameter_mm, grid))

    assert within == pytest.approx(diameter_mm, abs=1)
    assert in_space == pytest.approx(diameter_mm, abs=1)


def test_the_diameter_of_ibsis_digital_phantom_is_ibsis():
    """IBSI reference manual, digital phantom (2 mm voxels): maximum 3D diameter 13.1 mm."""
    part = np.ones((4, 4, 5), bool)  # slice, row, column; 74 of 80 voxels
    part[1, 1, 0] = part[1, 2, 2] = False
    part[3, 2:, 3:] = False
    grid = axial_grid(shape=(4, 4, 5), spacing=(2.0, 2.0, 2.0))

    _, in_space = diameters(Region(mask=part, grid=grid))

    assert in_space == pytest.approx(13.1, abs=0.05)


def test_an_empty_region_has_no_extent():
    assert diameters(empty_region(GRID)) == (0.0, 0.0)
    with pytest.raises(ValueError, match="no centroid"):
        centroid(empty_region(GRID))


def test_the_centroid_is_the_mean_of_the_voxel_centres():
    """Columns 3 to 6 of 21, 2 mm apart round column 10: x from -14 to -8 mm."""
    assert centroid(block((10, 11), (10, 11), (3, 7))) == (-11.0, 0.0, 0.0)


def test_the_side_is_that_of_the_nearer_lung():
    """+x is the patient's left (LPS)."""
    left, right = ball((14, 0, 0), 10), ball((-14, 0, 0), 10)

    assert laterality(ball((12, 0, 0), 4), left, right) == "left"
    assert laterality(ball((-12, 0, 0), 4), left, right) == "right"
    assert laterality(ball((2, 0, 0), 4), left, right) == "midline"


def test_the_side_is_unknown_without_both_lungs():
    assert laterality(ball((12, 0, 0), 4), ball((14, 0, 0), 10), empty_region(GRID)) is None
