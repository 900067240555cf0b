"""Which focus is taken for the primary tumour, and what is said of it."""

import time
from dataclasses import replace

import numpy as np
import pytest

from inference.foci import FOCI_MOST, find_foci
from inference.lesion import LesionRules, locate
from inference.petct import GivenRegion, PetCt, RegionSource
from inference.phantom import (
    SCANNERS,
    Body,
    Phantom,
    Tumour,
    draw,
    random_phantom,
    tumour_region,
    with_nodes,
)
from inference.resample import region_onto
from inference.thorax import find_thorax
from inference.volume import Region

TUMOUR = Tumour(centre_lps_mm=(-85.0, 20.0, 30.0), diameter_mm=30.0, suv=8.0)
"""In the right lung."""
HOT_HEART = Phantom(seed=3, tumour=TUMOUR, body=Body(myocardium_suv=14.0, kidney_suv=20.0))


@pytest.fixture(scope="module")
def hot_heart() -> PetCt:
    return draw(HOT_HEART, SCANNERS["small"])


def dice(region: Region, truth: Region) -> float:
    common = np.count_nonzero(region.mask & truth.mask)
    return 2 * common / (region.voxel_count + truth.voxel_count)


def ball(petct: PetCt, centre, diameter_mm: float, *, on_ct: bool) -> Region:
    phantom = replace(
        HOT_HEART, tumour=replace(TUMOUR, centre_lps_mm=centre, diameter_mm=diameter_mm)
    )
    return tumour_region(phantom, (petct.ct if on_ct else petct.pet).grid)


def given(region: Region, source: RegionSource = RegionSource.RTSTRUCT) -> GivenRegion:
    return GivenRegion(
        region=region,
        source=source,
        name="GTV",
        series_instance_uid="2.25.7",
        sop_instance_uid="2.25.8",
    )


def test_the_tumour_is_found_although_heart_and_kidneys_are_hotter(hot_heart):
    lesions = locate(hot_heart, LesionRules())

    assert [lesion.label for lesion in lesions] == ["primary"]
    primary = lesions[0]
    assert primary.source == "pet-threshold"
    assert dice(primary.on_pet, tumour_region(HOT_HEART, hot_heart.pet.grid)) > 0.85
    assert np.allclose(primary.centroid_lps_mm, TUMOUR.centre_lps_mm, atol=2.5)
    assert primary.laterality == "right"
    assert "heart" in primary.explanation


def test_its_measures_fit_together(hot_heart):
    primary = locate(hot_heart, LesionRules())[0]

    assert primary.tlg_g == primary.suv_mean * primary.mtv_ml
    assert primary.suv_mean < primary.suv_peak < primary.suv_max
    assert primary.mtv_ml <= primary.volume_ml == primary.on_pet.volume_ml
    assert primary.longest_axial_diameter_mm <= primary.longest_diameter_mm
    assert primary.longest_diameter_mm == pytest.approx(30, abs=5)
    assert primary.on_ct.volume_ml == pytest.approx(primary.volume_ml, rel=0.02)
    assert primary.on_ct.grid == hot_heart.ct.grid
    assert hot_heart.pet.grid.contains(primary.suv_max_lps_mm)


def test_a_necrotic_core_is_tumour_but_not_metabolic_volume():
    phantom = replace(
        HOT_HEART, tumour=replace(TUMOUR, diameter_mm=56.0, suv=12.0, heterogeneity=0.7)
    )
    petct = draw(phantom, SCANNERS["small"])

    primary = locate(petct, LesionRules())[0]

    assert dice(primary.on_pet, tumour_region(phantom, petct.pet.grid)) > 0.85
    index = np.rint(petct.pet.grid.to_indices(TUMOUR.centre_lps_mm)).astype(int)
    assert primary.on_pet.mask[tuple(index)]
    assert primary.mtv_ml < 0.9 * primary.volume_ml


def test_without_a_tumour_nothing_is_found():
    phantom = replace(HOT_HEART, tumour=None)

    assert locate(draw(phantom, SCANNERS["small"]), LesionRules()) == ()


def test_where_all_is_too_cold_nothing_is_found(hot_heart):
    """An SUV that is wrong by a hundred leaves no voxel above the floor of the foci."""
    cold = replace(hot_heart.pet, voxels=hot_heart.pet.voxels * np.float32(0.01))

    assert locate(replace(hot_heart, pet=cold), LesionRules()) == ()


def test_a_tumour_fainter_than_the_rule_is_left(hot_heart):
    assert locate(hot_heart, LesionRules(suv_min=12.0)) == ()


def test_nodes_are_further_foci_after_the_primary():
    phantom = with_nodes(random_phantom(5), n1=1, n2=1)
    petct = draw(phantom, SCANNERS["small"])

    lesions = locate(petct, LesionRules())

    assert [lesion.label for lesion in lesions] == ["primary", "focus-1", "focus-2"]
    assert dice(lesions[0].on_pet, tumour_region(phantom, petct.pet.grid)) > 0.7
    # The N1 node lies at the hilum, where lung is around it; the N2 node between the lungs.
    assert [lesion.place for lesion in lesions] == ["lung", "lung", "mediastinum"]
    for node in phantom.nodes:
        distances = [
            np.linalg.norm(np.subtract(lesion.centroid_lps_mm, node.centre_lps_mm))
            for lesion in lesions[1:]
        ]
        assert min(distances) < 6


@pytest.mark.parametrize("name", ["feet-first", "oblique"])
def test_every_orientation_gives_the_same_centroid(name, hot_heart):
    """PET voxels are about 4.5 mm: half of one is 2.3 mm."""
    upright = locate(hot_heart, LesionRules())[0]

    turned = locate(draw(HOT_HEART, SCANNERS[name]), LesionRules())[0]

    assert np.allclose(turned.centroid_lps_mm, upright.centroid_lps_mm, atol=2.3)
    assert turned.laterality == "right"


@pytest.mark.parametrize(
    "centre",
    [(-126.0, 40.0, 0.0), (-78.0, 12.0, 112.0), (-45.0, -50.0, -40.0), (112.0, 55.0, -60.0)],
    ids=["chest wall", "apex", "pericardium", "left base"],
)
def test_a_tumour_that_has_grown_onto_something_is_found(centre):
    phantom = replace(HOT_HEART, tumour=replace(TUMOUR, centre_lps_mm=centre))
    petct = draw(phantom, SCANNERS["small"])

    primary = locate(petct, LesionRules())[0]

    assert dice(primary.on_pet, tumour_region(phantom, petct.pet.grid)) > 0.7


@pytest.mark.parametrize("on_ct", [True, False], ids=["on the CT", "on the PET"])
def test_a_given_contour_wins_over_a_hotter_focus(hot_heart, on_ct):
    contour = ball(hot_heart, (85.0, 20.0, 40.0), 25.0, on_ct=on_ct)  # normal left lung
    petct = replace(hot_heart, given=(given(contour),))

    lesions = locate(petct, LesionRules())

    assert [lesion.label for lesion in lesions] == ["primary", "focus-1"]
    primary, focus = lesions
    assert primary.source == "RTSTRUCT"
    assert primary.laterality == "left"
    assert primary.suv_max < 1.5 < focus.suv_max
    expected = contour if on_ct else region_onto(contour, hot_heart.ct.grid)
    assert np.array_equal(primary.on_ct.mask, expected.mask)
    assert '"GTV"' in primary.explanation
    assert primary.volume_ml == contour.volume_ml


def mark(grid, centre_lps_mm, radius_mm=8.0):
    """A disc on the one slice of a grid that is nearest to a place."""
    points = grid.to_patient(np.moveaxis(np.indices(grid.shape), 0, -1))
    mask = np.linalg.norm(points - np.asarray(centre_lps_mm), axis=-1) <= radius_mm
    mask[np.arange(len(mask)) != np.rint(grid.to_indices(centre_lps_mm)[0])] = False
    return Region(mask=mask, grid=grid)


@pytest.mark.parametrize("on_ct", [True, False], ids=["on the CT", "on the PET"])
def test_a_mark_on_one_plane_chooses_the_focus_that_it_lies_in(hot_heart, on_ct):
    grid = (hot_heart.ct if on_ct else hot_heart.pet).grid
    whole = locate(hot_heart, LesionRules())[0]
    marked = replace(
        given(mark(grid, TUMOUR.centre_lps_mm), RegionSource.SR), marks_only=True, origin="by hand"
    )

    primary, *others = locate(replace(hot_heart, given=(marked,)), LesionRules())

    assert others == []
    assert np.array_equal(primary.on_pet.mask, whole.on_pet.mask)
    assert primary.source == "pet-threshold"
    assert "marked on one plane" in primary.explanation
    assert primary.explanation.endswith('"GTV" of the SR that came with the study; by hand')


def test_a_mark_where_nothing_is_avid_stands_for_itself(hot_heart):
    grid = hot_heart.pet.grid
    marked = replace(given(mark(grid, (85.0, 20.0, 40.0)), RegionSource.SR), marks_only=True)

    primary = locate(replace(hot_heart, given=(marked,)), LesionRules())[0]

    assert primary.source == "SR"
    assert np.array_equal(primary.on_pet.mask, marked.region.mask)


def test_the_first_given_region_that_meets_the_pet_counts(hot_heart):
    nowhere = Region(mask=np.zeros(hot_heart.pet.grid.shape, bool), grid=hot_heart.pet.grid)
    contour = ball(hot_heart, TUMOUR.centre_lps_mm, 20.0, on_ct=False)
    petct = replace(
        hot_heart, given=(given(nowhere), given(contour, RegionSource.SEG), given(nowhere))
    )

    lesions = locate(petct, LesionRules())

    assert [lesion.label for lesion in lesions] == ["primary"]
    assert lesions[0].source == "SEG"
    assert np.array_equal(lesions[0].on_pet.mask, contour.mask)


def test_a_crop_without_lungs_is_measured_where_a_contour_is_given_and_else_left():
    x, y, z = TUMOUR.centre_lps_mm
    box = ((x - 22, y - 22, z - 22), (x + 22, y + 22, z + 22))
    crop = draw(HOT_HEART, SCANNERS["small"], box=box)
    contour = tumour_region(HOT_HEART, crop.pet.grid)

    assert locate(crop, LesionRules()) == ()
    primary = locate(replace(crop, given=(given(contour),)), LesionRules())[0]
    assert primary.suv_max == crop.pet.voxels[contour.mask].max()
    assert primary.laterality is None


def test_rules_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="fraction"):
        LesionRules(threshold_fraction=41)
    with pytest.raises(ValueError, match="SUV"):
        LesionRules(suv_min=0)


def test_an_suv_wrong_by_a_thousand_does_not_keep_a_worker_for_minutes(hot_heart):
    """Each speck of noise is a focus then; without a limit this takes minutes."""
    wrong = replace(hot_heart.pet, voxels=hot_heart.pet.voxels * np.float32(1000))
    thorax = find_thorax(hot_heart.ct)

    began = time.process_time()
    foci = find_foci(wrong, thorax, suv_min=2.5, threshold_fraction=0.41)

    assert time.process_time() - began < 10
    assert len(foci) == FOCI_MOST


def test_a_focus_that_is_fainter_than_what_surrounds_it_is_its_hottest_voxel(hot_heart):
    """A spot of SUV 4 between walls of 12: 41 % of the way from 12 down to 4 is above it."""
    pet = hot_heart.pet
    at = np.rint(pet.grid.to_indices((85.0, 20.0, 30.0)))
    steps = (np.moveaxis(np.indices(pet.grid.shape), 0, -1) - at) * pet.grid.spacing
    away = np.linalg.norm(steps, axis=-1)
    shell = (away <= 20) & (np.abs(steps[..., 0]) < 0.7 * away)
    voxels = np.select([away < 4, away < 11, shell], [4, 1, 12], pet.voxels)
    thorax = find_thorax(hot_heart.ct)

    foci = find_foci(
        replace(pet, voxels=voxels.astype(np.float32)),
        thorax,
        suv_min=2.5,
        threshold_fraction=0.41,
    )

    (spot,) = [focus for focus in foci if focus.suv_max == 4]
    assert spot.region.voxel_count == 1
    assert spot.region.mask[tuple(at.astype(int))]
