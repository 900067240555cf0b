from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from inference.applicability import judge, share_inside, unfamiliar
from inference.bundle import default_path, load
from inference.card import ScannerModel
from inference.findings import Lesion, Prediction
from inference.geometry import Grid, axial_grid
from inference.measure import share_within
from inference.petct import CtFacts, PatientFacts, PetCt, PetFacts
from inference.thorax import find_thorax
from inference.volume import Quantity, Region, Volume

CHEST = axial_grid(shape=(75, 100, 100), spacing=(4.0, 4.0, 4.0))
SEEN = {"lung_volume_ml": 4000.0, "lesion_in_thorax": True}


@pytest.fixture(scope="module")
def bundle():
    return load(default_path())


def chest(grid=CHEST, **facts):
    pet_facts = PetFacts(
        series_instance_uid="2.25.2",
        units="BQML",
        suvbw_factor=1.0,
        decay_reference="START",
        uptake_min=facts.get("uptake_min", 60.0),
        tracer=facts.get("tracer", "FDG"),
        manufacturer=facts.get("manufacturer", ""),
        model_name=facts.get("model_name", ""),
    )
    ct_facts = CtFacts(series_instance_uid="2.25.3", slice_thickness_mm=facts.get("slice_mm"))
    voxels = np.zeros(grid.shape, np.float32)
    return PetCt(
        study_instance_uid="2.25.1",
        pet=Volume(voxels=voxels, grid=grid, quantity=Quantity.SUVBW),
        ct=Volume(voxels=voxels, grid=grid, quantity=Quantity.HU),
        pet_facts=pet_facts,
        ct_facts=ct_facts,
        patient=PatientFacts(age_years=facts.get("age_years", 65.0)),
    )


def lesion(centroid=(0.0, 0.0, 0.0), diameter_mm=30.0, suv_max=8.0):
    region = Region(mask=np.ones((1, 1, 1), np.bool_), grid=CHEST.crop((0, 0, 0), (1, 1, 1)))
    return Lesion(
        label="primary",
        source="pet-threshold",
        on_pet=region,
        on_ct=region,
        suv_max=suv_max,
        suv_mean=suv_max,
        suv_peak=None,
        mtv_ml=1.0,
        tlg_g=suv_max,
        volume_ml=1.0,
        longest_axial_diameter_mm=diameter_mm,
        longest_diameter_mm=diameter_mm,
        centroid_lps_mm=centroid,
        suv_max_lps_mm=centroid,
        laterality="right",
    )


def test_a_lung_tumour_in_a_whole_chest_is_covered(bundle):
    verdict = judge(chest(), lesion(), bundle, **SEEN)

    assert verdict.applicable
    assert not verdict.withhold
    assert verdict.reasons == ()


@pytest.mark.parametrize(
    ("facts", "found", "code"),
    [
        ({"uptake_min": 20.0}, {}, "UPTAKE_TIME"),
        ({"uptake_min": 180.0}, {}, "UPTAKE_TIME"),
        ({"uptake_min": None}, {}, "UPTAKE_UNKNOWN"),
        ({"tracer": "FLT"}, {}, "TRACER"),
        ({"tracer": ""}, {}, "TRACER"),
        ({"slice_mm": 7.0}, {}, "CT_SLICES"),
        ({"age_years": 9.0}, {}, "AGE"),
        ({}, {"diameter_mm": 5.0}, "LESION_SIZE"),
        ({}, {"diameter_mm": 120.0}, "LESION_SIZE"),
        ({}, {"suv_max": 40.0}, "LESION_SUV"),
    ],
)
def test_what_the_card_does_not_cover_is_marked_but_still_predicted(bundle, facts, found, code):
    verdict = judge(chest(**facts), lesion(**found), bundle, **SEEN)

    assert [reason.code for reason in verdict.reasons] == [code]
    assert not verdict.applicable
    assert not verdict.withhold


def test_thick_slices_of_either_image_are_marked(bundle):
    thick = axial_grid(shape=(40, 100, 100), spacing=(8.0, 4.0, 4.0))

    verdict = judge(chest(thick), lesion(), bundle, **SEEN)

    assert [reason.code for reason in verdict.reasons] == ["CT_SLICES", "PET_SLICES"]


def test_an_unknown_age_is_not_held_against_a_study(bundle):
    assert judge(chest(age_years=None), lesion(), bundle, **SEEN).applicable


@pytest.mark.parametrize(
    ("seen", "code"),
    [({"lung_volume_ml": 12.0}, "NO_LUNGS"), ({"lesion_in_thorax": False}, "OUTSIDE_THORAX")],
)
def test_without_lungs_or_outside_the_thorax_nothing_is_predicted(bundle, seen, code):
    verdict = judge(chest(), lesion(), bundle, **(SEEN | seen))

    assert [reason.code for reason in verdict.reasons] == [code]
    assert verdict.withhold


def test_every_reason_is_given_and_not_only_the_first(bundle):
    verdict = judge(
        chest(tracer="FLT"), lesion(), bundle, lung_volume_ml=0.0, lesion_in_thorax=False
    )

    assert [r.code for r in verdict.reasons] == ["NO_LUNGS", "OUTSIDE_THORAX", "TRACER"]


def test_the_share_inside_is_one_half_for_a_lesion_on_the_face_of_the_image(bundle):
    """The face is half a voxel, 2 mm, beyond the centre of the last slice."""
    inputs = bundle.card.inputs
    top = CHEST.to_patient((74.5, 49.5, 49.5))

    assert share_inside(chest(), (0.0, 0.0, 0.0), inputs) == 1.0
    assert share_inside(chest(), tuple(top), inputs) == pytest.approx(0.5, abs=0.04)
    assert share_inside(chest(), (0.0, 0.0, 900.0), inputs) == 0.0


def test_a_field_of_view_that_leaves_the_image_is_marked_and_one_mostly_outside_withheld(bundle):
    near_top, beyond = CHEST.to_patient([(68.0, 49.5, 49.5), (80.0, 49.5, 49.5)])

    marked = judge(chest(), lesion(tuple(near_top)), bundle, **SEEN)
    withheld = judge(chest(), lesion(tuple(beyond)), bundle, **SEEN)

    assert [reason.code for reason in marked.reasons] == ["CUBE_OUTSIDE"]
    assert not marked.withhold
    assert [reason.code for reason in withheld.reasons] == ["CUBE_OUTSIDE"]
    assert withheld.withhold


def limited(bundle, **limits):
    card = replace(bundle.card, limits=replace(bundle.card.limits, **limits))
    return replace(bundle, card=card)


GE_690 = {"manufacturer": "GE MEDICAL SYSTEMS", "model_name": "Discovery 690"}


@pytest.mark.parametrize(
    ("facts", "known"),
    [
        (GE_690, True),
        ({"manufacturer": "GE Medical  Systems ", "model_name": "discovery 690"}, True),
        ({"manufacturer": "SIEMENS", "model_name": "Biograph64"}, True),
        ({"manufacturer": "GE MEDICAL SYSTEMS", "model_name": "Discovery MI"}, False),
        ({"manufacturer": "Philips", "model_name": "Discovery 690"}, False),
        ({"model_name": "Discovery 690"}, False),
        ({}, False),
    ],
    ids=["listed", "spelt otherwise", "any model", "other model", "other make", "no make", "none"],
)
def test_a_scanner_that_is_not_of_the_training_set_is_marked(bundle, facts, known):
    """One model of one make is listed, and another make without a model."""
    trained_on = (ScannerModel(**GE_690), ScannerModel(manufacturer="Siemens"))

    verdict = judge(chest(**facts), lesion(), limited(bundle, scanners=trained_on), **SEEN)

    assert [reason.code for reason in verdict.reasons] == ([] if known else ["SCANNER"])
    assert not verdict.withhold


def test_a_scanner_is_named_in_the_reason(bundle):
    trained_on = limited(bundle, scanners=(ScannerModel(manufacturer="Siemens"),))

    named, unnamed = (judge(chest(**f), lesion(), trained_on, **SEEN) for f in (GE_690, {}))

    assert "scanner, GE MEDICAL SYSTEMS Discovery 690, is none" in named.reasons[0].meaning
    assert "which is not named" in unnamed.reasons[0].meaning


def test_where_the_card_lists_no_scanner_every_one_will_do(bundle):
    assert judge(chest(), lesion(), limited(bundle, scanners=()), **SEEN).applicable


def test_overt_nodes_are_marked_and_the_hottest_is_told(bundle):
    strict = limited(bundle, node_suv_max=2.5)
    foci = [lesion(suv_max=suv) for suv in (2.5, 4.0, 6.25)]

    verdict = judge(chest(), lesion(), strict, **SEEN, nodal_foci=foci)

    (reason,) = verdict.reasons
    assert reason.code == "CN_POSITIVE"
    assert "2 further foci" in reason.meaning
    assert "6.2 g/ml, more than 2.5 g/ml" in reason.meaning
    assert not verdict.withhold


def test_a_node_at_the_limit_is_no_overt_metastasis(bundle):
    """Above SUV 2.5, as the criterion has it; and a card without the limit asks for nothing."""
    strict, lenient = limited(bundle, node_suv_max=2.5), limited(bundle, node_suv_max=None)

    at, above = [lesion(suv_max=2.5)], [lesion(suv_max=2.6)]

    assert judge(chest(), lesion(), strict, **SEEN, nodal_foci=at).applicable
    assert not judge(chest(), lesion(), strict, **SEEN, nodal_foci=above).applicable
    assert judge(chest(), lesion(), lenient, **SEEN, nodal_foci=above).applicable


def test_what_a_withheld_study_is_beside_is_told_too(bundle):
    strict = limited(bundle, node_suv_max=2.5, scanners=(ScannerModel(manufacturer="Siemens"),))

    verdict = judge(
        chest(),
        lesion(),
        strict,
        lung_volume_ml=0.0,
        lesion_in_thorax=True,
        nodal_foci=[lesion(suv_max=6.0)],
    )

    assert [r.code for r in verdict.reasons] == ["NO_LUNGS", "SCANNER", "CN_POSITIVE"]
    assert verdict.withhold


def prediction(task, distance, distance_max):
    return Prediction(
        task=task, probability=0.4, cutoff=0.5, distance=distance, distance_max=distance_max
    )


def test_what_the_networks_did_not_learn_from_is_one_reason_with_the_numbers():
    usual, odd = prediction("occult_n1", 9.8, 19.9), prediction("occult_n2", 31.24, 18.8)

    (reason,) = unfamiliar([usual, odd])
    (both,) = unfamiliar([replace(odd, task="occult_n1"), odd])

    assert reason.code == "UNLIKE_TRAINING"
    assert reason.meaning.endswith("occult_n2 by 31.2, at most 18.8")
    assert both.meaning.endswith("occult_n1 by 31.2, at most 18.8; occult_n2 by 31.2, at most 18.8")


def test_what_looks_as_usual_or_cannot_be_told_is_no_reason():
    at_the_limit = prediction("occult_n1", 19.9, 19.9)

    assert unfamiliar([at_the_limit, prediction("occult_n2", None, None)]) == ()


def sarcoma(folder: Path, quantity: Quantity) -> Volume:
    """Read a GE axial series; its slices need no decoder."""
    slices = [pydicom.dcmread(path) for path in folder.glob("*.dcm")]
    slices.sort(key=lambda image: float(image.ImagePositionPatient[2]))
    first, second = slices[0], slices[1]
    x, y, z = (float(v) for v in first.ImagePositionPatient)
    row, column = (float(v) for v in first.PixelSpacing)
    voxels = [
        image.pixel_array * float(image.RescaleSlope) + float(image.RescaleIntercept)
        for image in slices
    ]
    grid = Grid(
        shape=(len(slices), int(first.Rows), int(first.Columns)),
        spacing=(float(second.ImagePositionPatient[2]) - z, row, column),
        origin=(x, y, z),
        direction=((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0)),
        frame_of_reference_uid="2.25.9",
    )
    return Volume(voxels=np.asarray(voxels, np.float32), grid=grid, quantity=quantity)


@pytest.mark.parametrize("case", ["STS_001", "STS_002", "STS_025"])
def test_a_soft_tissue_sarcoma_is_not_applicable_and_its_predictions_are_withheld(
    bundle, test_data, case
):
    folder = test_data / "ibsi-sts-petct-gml" / case
    pet = sarcoma(folder / "PET" / "image", Quantity.SUVBW)
    ct = sarcoma(folder / "CT" / "image", Quantity.HU)
    thorax = find_thorax(ct)
    hot = Region(mask=pet.voxels >= 0.41 * pet.voxels.max(), grid=pet.grid)
    mass = pet.grid.to_patient(np.argwhere(hot.mask).mean(axis=0))

    verdict = judge(
        replace(chest(), pet=pet, ct=ct),
        lesion(tuple(mass), suv_max=float(pet.voxels.max())),
        bundle,
        lung_volume_ml=thorax.lung_volume_ml,
        lesion_in_thorax=share_within(hot, thorax.cavity) >= 0.5,
    )

    assert {"NO_LUNGS", "OUTSIDE_THORAX"} <= {reason.code for reason in verdict.reasons}
    assert not verdict.applicable
    assert verdict.withhold
