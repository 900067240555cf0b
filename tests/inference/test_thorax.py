"""The lungs and what lies between them are found on any CT that shows them, and on no other."""

from dataclasses import replace

import numpy as np
import pytest

from inference.geometry import axial_grid
from inference.phantom import SCANNERS, Tumour, draw, random_phantom
from inference.resample import region_onto
from inference.thorax import Thorax, find_thorax
from inference.volume import Quantity, Region, Volume


def ellipsoid(volume: np.ndarray, centre, radii, value: float, grid) -> None:
    positions = grid.to_patient(np.moveaxis(np.indices(grid.shape), 0, -1))
    inside = (((positions - np.asarray(centre)) / radii) ** 2).sum(axis=-1) <= 1
    volume[inside] = value


@pytest.fixture(scope="module")
def two_lungs() -> Volume:
    """A trunk along z with two ellipsoids of lung, 40 x 60 x 80 mm: 4/3 pi abc = 804 ml each."""
    grid = axial_grid(shape=(60, 100, 120), spacing=(4.0, 3.0, 3.0))
    hu = np.full(grid.shape, -1000.0, np.float32)
    ellipsoid(hu, (0, 0, 0), (150, 110, 1e6), 40.0, grid)
    ellipsoid(hu, (70, 0, 0), (40, 60, 80), -850.0, grid)
    ellipsoid(hu, (-70, 0, 0), (40, 60, 80), -850.0, grid)
    hu[:, 88:90, 10:110] = 200.0  # the table, 6 mm thick, behind the back
    return Volume(voxels=hu, grid=grid, quantity=Quantity.HU)


@pytest.fixture(scope="module")
def thorax(two_lungs) -> Thorax:
    return find_thorax(two_lungs)


def at(region: Region, point: tuple[float, float, float]) -> bool:
    index = np.rint(region.grid.to_indices(point)).astype(int)
    return bool(region.grid.contains(point)) and bool(region.mask[tuple(index)])


def test_the_lungs_have_the_volume_that_was_drawn(thorax):
    assert thorax.left_lung.volume_ml == pytest.approx(804, rel=0.05)
    assert thorax.right_lung.volume_ml == pytest.approx(804, rel=0.05)
    assert thorax.lung_volume_ml == pytest.approx(1608, rel=0.05)


def test_left_is_the_patients_left(thorax):
    """+x in LPS."""
    assert at(thorax.left_lung, (70, 0, 0))
    assert not at(thorax.left_lung, (-70, 0, 0))
    assert at(thorax.right_lung, (-70, 0, 0))


def test_the_cavity_holds_what_lies_between_the_lungs_and_no_more_than_a_margin_around(thorax):
    assert at(thorax.cavity, (0, 0, 0))
    assert at(thorax.cavity, (115, 0, 0))  # 5 mm outside the lung
    assert not at(thorax.cavity, (0, 90, 0))


def test_the_middle_of_the_body_is_found(thorax):
    assert thorax.midline_x_mm == pytest.approx(0, abs=3)


def test_lungs_that_touch_in_front_are_parted_at_the_midline(two_lungs):
    voxels = two_lungs.voxels.copy()
    ellipsoid(voxels, (0, -20, 0), (50, 15, 40), -850.0, two_lungs.grid)

    found = find_thorax(replace(two_lungs, voxels=voxels))

    assert found.left_lung.volume_ml == pytest.approx(found.right_lung.volume_ml, rel=0.05)
    assert not (found.left_lung.mask & found.right_lung.mask).any()


def test_gas_below_the_lungs_is_not_lung(two_lungs):
    """A stomach bubble of 200 ml holds no tissue: -1000 HU."""
    voxels = two_lungs.voxels.copy()
    ellipsoid(voxels, (60, 0, -105), (36, 36, 16), -1000.0, two_lungs.grid)

    found = find_thorax(replace(two_lungs, voxels=voxels))

    assert found.lung_volume_ml == pytest.approx(1608, rel=0.05)


def test_air_between_back_and_table_is_not_lung():
    """A limb on a curved table: 16 mm of air, 600 ml of it, closed in at both edges."""
    grid = axial_grid(shape=(60, 60, 60), spacing=(4.0, 3.0, 3.0))
    hu = np.full(grid.shape, 40.0, np.float32)
    hu[:, 40:45, 2:58] = -700.0
    hu[:, 50:] = -1000.0

    found = find_thorax(Volume(voxels=hu, grid=grid, quantity=Quantity.HU))

    assert found.lung_volume_ml == 0


@pytest.mark.parametrize("name", ["small", "feet-first", "oblique"])
def test_every_orientation_shows_the_same_lungs(name):
    phantom = random_phantom(1)
    reference = find_thorax(draw(phantom, SCANNERS["small"]).ct)

    found = find_thorax(draw(phantom, SCANNERS[name]).ct)

    assert found.left_lung.volume_ml == pytest.approx(reference.left_lung.volume_ml, rel=0.05)
    assert found.right_lung.volume_ml == pytest.approx(reference.right_lung.volume_ml, rel=0.05)
    carried = region_onto(found.left_lung, reference.left_lung.grid).mask
    common = np.count_nonzero(carried & reference.left_lung.mask)
    assert 2 * common / (carried.sum() + reference.left_lung.voxel_count) > 0.9


def test_the_heart_lies_low_and_to_the_left():
    phantom = replace(random_phantom(1), tumour=None)

    heart = find_thorax(draw(phantom, SCANNERS["small"]).ct).heart

    x, y, _ = heart.grid.to_patient(np.argwhere(heart.mask).mean(axis=0))
    assert 0 < x < 50
    assert y < 0
    assert 200 < heart.volume_ml < 2000


def test_a_large_tumour_of_the_lung_is_not_heart():
    tumour = Tumour(centre_lps_mm=(-85.0, 0.0, -30.0), diameter_mm=60.0, suv=8.0)
    phantom = replace(random_phantom(1), tumour=tumour)

    heart = find_thorax(draw(phantom, SCANNERS["small"]).ct).heart

    assert not at(heart, tumour.centre_lps_mm)


@pytest.mark.parametrize("hu", [-1024.0, 0.0, 3071.0])
@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 40, 3), (20, 30, 30)])
def test_an_image_without_lungs_gives_empty_regions(hu, shape):
    grid = axial_grid(shape=shape, spacing=(3.0, 2.0, 2.0))
    ct = Volume(voxels=np.full(shape, hu, np.float32), grid=grid, quantity=Quantity.HU)

    found = find_thorax(ct)

    assert found.lung_volume_ml == 0
    assert found.cavity.voxel_count == 0
    assert found.heart.voxel_count == 0
    assert found.midline_x_mm is None


def test_a_crop_inside_the_lung_shows_no_lungs():
    tumour = Tumour(centre_lps_mm=(-80.0, 10.0, 0.0), diameter_mm=30.0, suv=8.0)
    phantom = replace(random_phantom(1), tumour=tumour)
    box = ((-105.0, -15.0, -25.0), (-55.0, 35.0, 25.0))

    found = find_thorax(draw(phantom, SCANNERS["small"], box=box).ct)

    assert found.lung_volume_ml == 0


def test_uptake_is_not_searched_for_lungs(two_lungs):
    with pytest.raises(ValueError, match="HU"):
        find_thorax(replace(two_lungs, quantity=Quantity.SUVBW))
