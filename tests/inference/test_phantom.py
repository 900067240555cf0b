"""Phantoms are what their parameters say, on every scanner, and the same every time."""

from dataclasses import replace

import numpy as np
import pytest

from inference.geometry import Grid, axial_grid
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
from inference.scanner import Scanner
from inference.volume import Quantity

TUMOUR = Tumour(centre_lps_mm=(-78.0, 5.0, 20.0), diameter_mm=40.0, suv=8.0)
RIGHT_LUNG = Phantom(seed=3, tumour=TUMOUR)
SMALL = SCANNERS["small"]
QUIET = replace(SMALL, pet_noise=0.0, ct_noise_hu=0.0)
SHARP = replace(QUIET, pet_fwhm_mm=0.0)


def _near(centre, half_mm):
    c = np.asarray(centre)
    return tuple(c - half_mm), tuple(c + half_mm)


def _at(volume, point):
    index = np.rint(volume.grid.to_indices(point)).astype(int)
    return float(volume.voxels[tuple(index)])


def test_the_true_region_has_the_volume_of_a_sphere():
    """A sphere of 40 mm holds 4/3 pi 20^3 mm3 = 33.51 ml."""
    grid = axial_grid(shape=(60, 60, 60), spacing=(1, 1, 1), centre=TUMOUR.centre_lps_mm)

    region = tumour_region(RIGHT_LUNG, grid)

    assert region.volume_ml == pytest.approx(33.51, rel=0.005)


def test_the_true_region_lies_round_the_tumour_on_every_lattice():
    for scanner in SCANNERS.values():
        for grid in (scanner.ct_grid("2.25.1"), scanner.pet_grid("2.25.1")):
            region = tumour_region(RIGHT_LUNG, grid)
            centroid = grid.to_patient(np.argwhere(region.mask).mean(axis=0))

            assert np.allclose(centroid, TUMOUR.centre_lps_mm, atol=1.0)
            assert region.volume_ml == pytest.approx(33.51, rel=0.06)


def test_without_a_tumour_the_region_is_empty():
    grid = SMALL.pet_grid("2.25.1")

    assert tumour_region(Phantom(seed=3), grid).voxel_count == 0


def test_a_lattice_elsewhere_holds_none_of_the_tumour():
    grid = axial_grid(shape=(4, 4, 4), spacing=(1, 1, 1), centre=(500, 0, 0))

    assert tumour_region(RIGHT_LUNG, grid).voxel_count == 0


def test_the_same_phantom_is_drawn_the_same_to_the_last_bit():
    box = _near(TUMOUR.centre_lps_mm, 40)
    first, again = (draw(random_phantom(11), SMALL, box=box) for _ in range(2))

    assert np.array_equal(first.pet.voxels, again.pet.voxels)
    assert np.array_equal(first.ct.voxels, again.ct.voxels)
    assert first.study_instance_uid == again.study_instance_uid


def test_another_seed_is_another_patient():
    assert random_phantom(1) != random_phantom(2)
    assert random_phantom(1).frame_of_reference_uid != random_phantom(2).frame_of_reference_uid


@pytest.mark.parametrize("name", ["small", "feet-first", "oblique"])
def test_a_box_shows_what_the_whole_drawing_shows_there(name):
    scanner = replace(SCANNERS[name], pet_noise=0.0, ct_noise_hu=0.0)
    whole = draw(random_phantom(5), scanner)
    box = _near(random_phantom(5).tumour.centre_lps_mm, 50)

    part = draw(random_phantom(5), scanner, box=box)

    for small, large in ((part.pet, whole.pet), (part.ct, whole.ct)):
        start = np.rint(large.grid.to_indices(small.grid.origin)).astype(int)
        there = tuple(slice(a, a + n) for a, n in zip(start, small.grid.shape, strict=True))
        assert small.voxels.size < large.voxels.size
        assert np.allclose(small.voxels, large.voxels[there], atol=1e-3)
        assert small.grid.contains(np.clip(box, *_bounds(large.grid))).all()


def _bounds(grid: Grid):
    """A box well within the field of view, for the corners of a box that leave it."""
    inner = grid.to_patient([0, 0, 0]), grid.to_patient(np.asarray(grid.shape) - 1)
    low, high = np.minimum(*inner), np.maximum(*inner)
    return low + 0.15 * (high - low), high - 0.15 * (high - low)


def test_a_box_outside_the_field_of_view_is_refused():
    with pytest.raises(ValueError, match="outside"):
        draw(RIGHT_LUNG, SMALL, box=((900, 900, 900), (950, 950, 950)))


def test_noise_is_repeatable_and_absent_when_switched_off():
    box = _near(TUMOUR.centre_lps_mm, 40)
    noisy, quiet = draw(RIGHT_LUNG, SMALL, box=box), draw(RIGHT_LUNG, QUIET, box=box)

    assert np.std(noisy.ct.voxels - quiet.ct.voxels) == pytest.approx(SMALL.ct_noise_hu, rel=0.05)
    assert 0 < np.std(noisy.pet.voxels - quiet.pet.voxels) < 0.5


def test_blur_moves_activity_and_neither_makes_nor_loses_it():
    """A hot ball of 40 mm: 33.51 ml x (8.0 - 0.5 of lung) = 251 g above the lung around it."""
    box = _near(TUMOUR.centre_lps_mm, 45)
    with_tumour = draw(RIGHT_LUNG, QUIET, box=box).pet
    without = draw(replace(RIGHT_LUNG, tumour=None), QUIET, box=box).pet

    above = (with_tumour.voxels - without.voxels).sum() * with_tumour.grid.voxel_volume_ml

    assert above == pytest.approx(33.51 * 7.5, rel=0.03)


def test_the_middle_of_a_large_even_tumour_shows_its_suv():
    assert _at(draw(RIGHT_LUNG, QUIET).pet, TUMOUR.centre_lps_mm) == pytest.approx(8.0, rel=0.02)


def test_a_small_tumour_shows_less_than_its_suv():
    """10 mm seen with a FWHM of 6 mm and voxels of 4.6 mm: the partial volume effect."""
    small = replace(RIGHT_LUNG, tumour=replace(TUMOUR, diameter_mm=10.0))

    seen = draw(small, QUIET, box=_near(TUMOUR.centre_lps_mm, 30)).pet.voxels.max()

    assert 2.0 < seen < 6.5


@pytest.mark.parametrize("name", list(SCANNERS))
def test_the_tumour_stands_at_the_same_place_in_the_patient_on_every_scanner(name):
    scanner = replace(SCANNERS[name], pet_noise=0.0)
    pet = draw(RIGHT_LUNG, scanner, box=_near(TUMOUR.centre_lps_mm, 40)).pet

    hot = np.argwhere(pet.voxels > 4.0)

    assert np.allclose(pet.grid.to_patient(hot.mean(axis=0)), TUMOUR.centre_lps_mm, atol=1.5)


def test_feet_first_turns_the_image_and_not_the_patient():
    feet = SCANNERS["feet-first"].ct_grid("2.25.1")

    assert feet.direction == ((0, 0, -1), (0, 1, 0), (-1, 0, 0))


@pytest.mark.parametrize("position", ["HFS", "FFS", "HFP", "FFP"])
def test_slices_are_stacked_along_the_normal_of_the_image(position):
    """The normal of an image is the row's direction times the column's (PS3.3 C.7.6.2.1.1)."""
    scanner = replace(SCANNERS["oblique"], patient_position=position)
    slices, rows, columns = scanner.direction

    assert np.allclose(np.cross(columns, rows), slices)


def test_organs_have_the_density_and_the_uptake_of_organs():
    body = Body(liver_suv=2.3, blood_suv=1.7, lung_suv=0.5)
    drawn = draw(Phantom(seed=1, body=body), QUIET)
    liver, left_lung, outside = (-66.0, 0.0, -150.0), (85.0, -20.0, 10.0), (-195.0, -150.0, 0.0)
    aorta = (22.0, 45.0, -40.0)

    assert _at(drawn.ct, liver) == pytest.approx(56, abs=2)
    assert _at(drawn.pet, liver) == pytest.approx(2.3, abs=0.05)
    assert -900 < _at(drawn.ct, left_lung) < -780
    assert _at(drawn.pet, left_lung) == pytest.approx(0.5, abs=0.05)
    assert _at(drawn.pet, aorta) == pytest.approx(1.7, abs=0.25)
    assert _at(drawn.ct, outside) == -1000
    assert _at(drawn.pet, outside) == pytest.approx(0, abs=1e-3)
    assert (drawn.ct.voxels > 300).sum() > 1000, "there is bone"


def test_arms_beside_the_body_can_be_drawn():
    arms = draw(Phantom(seed=1, body=Body(arms=True)), QUIET).ct
    none = draw(Phantom(seed=1), QUIET).ct

    assert _at(arms, (182.0, 15.0, 0.0)) == pytest.approx(45, abs=2)
    assert _at(none, (182.0, 15.0, 0.0)) == -1000


@pytest.mark.parametrize("trait", ["solidity", "spiculation", "texture"])
def test_traits_of_density_are_seen_in_ct_alone(trait):
    box = _near(TUMOUR.centre_lps_mm, 50)
    mottled = replace(TUMOUR, heterogeneity=0.5)
    plain = draw(replace(RIGHT_LUNG, tumour=mottled), QUIET, box=box)
    changed = replace(mottled, **{trait: 0.5})
    other = draw(replace(RIGHT_LUNG, tumour=changed), QUIET, box=box)

    assert np.abs(other.ct.voxels - plain.ct.voxels).max() > 50
    assert np.array_equal(other.pet.voxels, plain.pet.voxels)


def test_heterogeneity_of_uptake_is_seen_in_pet_alone():
    box = _near(TUMOUR.centre_lps_mm, 50)
    plain = draw(RIGHT_LUNG, QUIET, box=box)
    other = draw(replace(RIGHT_LUNG, tumour=replace(TUMOUR, heterogeneity=1.0)), QUIET, box=box)

    assert np.array_equal(other.ct.voxels, plain.ct.voxels)
    assert _at(other.pet, TUMOUR.centre_lps_mm) < 0.6 * _at(plain.pet, TUMOUR.centre_lps_mm)


def test_ground_glass_surrounds_the_solid_part():
    part_solid = replace(TUMOUR, solidity=0.5)
    ct = draw(replace(RIGHT_LUNG, tumour=part_solid), SHARP).ct
    x, y, z = TUMOUR.centre_lps_mm

    assert _at(ct, (x, y, z)) == pytest.approx(35, abs=1)
    assert _at(ct, (x, y - 15, z)) == pytest.approx(-550, abs=1)


def test_the_edge_of_the_tumour_in_ct_is_one_voxel_wide():
    box = _near(TUMOUR.centre_lps_mm, 30)
    ct = draw(RIGHT_LUNG, QUIET, box=box).ct
    x, y, z = TUMOUR.centre_lps_mm
    k, j, _ = np.rint(ct.grid.to_indices((x, y, z))).astype(int)
    row = ct.voxels[k, j]
    crossing = np.count_nonzero((row > -750) & (row < 0))

    assert 0 < crossing <= 4, "two edges, of at most two voxels each"


def test_random_tumours_are_plausible_and_lie_in_a_lung():
    tumours = [random_phantom(seed).tumour for seed in range(60)]

    assert all(3 <= t.suv <= 18 and 10 <= t.diameter_mm <= 60 for t in tumours)
    assert {t.laterality for t in tumours} == {"left", "right"}
    assert len({round(t.suv, 3) for t in tumours}) == 60
    for seed in range(8):
        phantom = random_phantom(seed)
        centre = phantom.tumour.centre_lps_mm
        ct = draw(replace(phantom, tumour=None), QUIET, box=_near(centre, 8)).ct
        assert np.median(ct.voxels) < -600, f"seed {seed}: the centre is not in the lung"


def test_uptake_of_the_heart_is_independent_of_the_tumour():
    pairs = [(p.tumour.suv, p.body.myocardium_suv) for p in map(random_phantom, range(200))]

    assert abs(np.corrcoef(np.transpose(pairs))[0, 1]) < 0.2
    assert sum(heart > tumour for tumour, heart in pairs) > 20


def test_nodes_are_off_by_default_and_hot_where_asked_for():
    plain = replace(random_phantom(4), tumour=TUMOUR)
    spread = with_nodes(plain, n1=1, n2=2)

    assert plain.nodes == ()
    assert [node.station for node in spread.nodes] == ["N1", "N2", "N2"]
    for node in spread.nodes:
        pet = draw(spread, SHARP, box=_near(node.centre_lps_mm, 20)).pet
        assert _at(pet, node.centre_lps_mm) > 0.7 * node.suv
        assert node.centre_lps_mm[0] < 15, "on the side of the tumour, or in the middle"


def test_facts_agree_with_the_arithmetic_of_suv():
    """5 MBq/kg decay over 60 min to 3.4233 MBq/kg: 1 kBq/ml is SUV 0.29212."""
    drawn = draw(RIGHT_LUNG, SMALL, box=_near(TUMOUR.centre_lps_mm, 20))

    assert drawn.pet.quantity is Quantity.SUVBW
    assert drawn.pet_facts.units == "BQML"
    assert drawn.pet_facts.tracer == "FDG"
    assert drawn.pet_facts.uptake_min == 60
    assert drawn.pet_facts.suvbw_factor == pytest.approx(1000 / (5e6 * 0.5 ** (60 / 109.77)))


@pytest.mark.parametrize(
    "wrong",
    [{"diameter_mm": 0.0}, {"suv": -1.0}, {"texture": 1.5}, {"heterogeneity": -0.1}],
)
def test_an_impossible_tumour_is_refused(wrong):
    with pytest.raises(ValueError, match=r"tumour|SUV|traits"):
        replace(TUMOUR, **wrong)


def test_an_impossible_scanner_or_body_is_refused():
    with pytest.raises(ValueError, match="patient position"):
        replace(SMALL, patient_position="sideways")
    with pytest.raises(ValueError, match="negative"):
        replace(SMALL, pet_noise=-1)
    with pytest.raises(ValueError, match="positive"):
        Body(half_width_mm=0)


def test_clinical_scanners_have_different_lattices_for_pet_and_ct():
    clinical = [s for s in SCANNERS.values() if s.ct_shape[1:] == (512, 512)]

    assert len(clinical) >= 3
    assert len({s.ct_spacing for s in clinical}) == len(clinical)
    assert all(isinstance(s, Scanner) and s.pet_shape[1] < 256 for s in clinical)
