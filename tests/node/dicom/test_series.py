"""choose() takes one PET and one CT of a study by the stated rules, or says why not."""

import json

import pytest

from node.dicom.eligibility import is_sharp
from node.dicom.reasons import REFUSALS, WARNINGS
from node.dicom.series import choose, studies
from node.errors import UnusableStudy
from tests.node.dicom.choosing import chosen, cts, pets, refusal, spaced
from tests.node.dicom.minimal import (
    save,
)


def test_codes_and_meanings_fit_a_coded_entry():
    """VR SH holds 16 characters, VR LO 64 (PS3.5 6.2)."""
    for code_value, meaning in (REFUSALS | WARNINGS).items():
        assert len(code_value) <= 16
        assert len(meaning) <= 64
    assert not REFUSALS.keys() & WARNINGS.keys()


def test_the_planes_are_sorted_along_the_normal(tmp_path):
    choice = chosen(tmp_path, reversed(pets()), cts())

    assert [plane.position[2] for plane in choice.pet.planes] == [0, 4, 8, 12, 16]
    assert choice.pet.paths == tuple(plane.path for plane in choice.pet.planes)
    assert choice.pet.frame_of_reference_uid == choice.ct.frame_of_reference_uid


def test_every_series_gets_one_sentence(tmp_path):
    other = cts("1.2.3.4", SOPClassUID="1.2.840.10008.5.1.4.1.1.7", Modality="OT")
    choice = chosen(tmp_path, pets(), cts(), other, cts("1.2.3.5", ConvolutionKernel="B70f"))

    assert len(choice.explanation) == 4
    assert "taken as the PET" in choice.explanation[0]
    assert "taken as the CT" in choice.explanation[1]
    assert "neither PET nor CT" in choice.explanation[2]
    assert "its kernel is sharp" in choice.explanation[3]


def test_files_of_two_studies_are_told_apart(tmp_path):
    first, second = pets(), cts(StudyInstanceUID="1.2.4")
    found = studies([*save(tmp_path, first), *save(tmp_path, second), tmp_path / "absent"])

    assert {uid: len(paths) for uid, paths in found.items()} == {"1.2.3.1": 5, "1.2.4": 5}
    with pytest.raises(ValueError, match="more than one study"):
        choose([path for paths in found.values() for path in paths])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"SeriesType": ["DYNAMIC", "IMAGE"]}, "PET_DYNAMIC"),
        ({"SeriesType": None, "NumberOfTimeSlices": 6}, "PET_DYNAMIC"),
        ({"SeriesType": ["GATED", "IMAGE"]}, "PET_GATED"),
        ({"SeriesType": ["STATIC", "REPROJECTION"]}, "PET_DERIVED"),
        ({"ImageType": ["DERIVED", "SECONDARY", "MIP"]}, "PET_DERIVED"),
        ({"ImageType": ["DERIVED", "SECONDARY", "MPR"]}, "PET_DERIVED"),
        ({"CorrectedImage": ["DECY", "SCAT"]}, "PET_NO_ATTN_CORR"),
        ({"AttenuationCorrectionMethod": "NONE"}, "PET_NO_ATTN_CORR"),
        ({"Units": "PROPCNTS"}, "PET_NO_ATTN_CORR"),
        ({"AttenuationCorrectionMethod": None, "CorrectedImage": ["ATTN"]}, "PET_NO_ATTN_CORR"),
        ({"ImageOrientationPatient": [1, 0, 0, 0, 0, -1]}, "SLICES_DUPLICATE"),
        ({"PixelSpacing": None}, "GEOMETRY_ABSENT"),
        ({"Modality": "NM"}, "PET_MISSING"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.20"}, "PET_CLASS"),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else value,
)
def test_a_pet_that_is_none_is_refused_with_its_reason(tmp_path, changes, reason):
    assert refusal(tmp_path, pets(**changes), cts()) == reason


def test_3_attenuation_correction_is_believed_where_scatter_or_a_method_goes_with_it(tmp_path):
    by_scatter = pets(AttenuationCorrectionMethod=None)

    assert chosen(tmp_path, by_scatter, cts()).pet.modality == "PT"


def test_a_static_series_may_count_its_beds_as_time_slices(tmp_path):
    assert chosen(tmp_path, pets(NumberOfTimeSlices=6), cts()).pet.modality == "PT"


def test_the_corrected_pet_is_taken_beside_the_uncorrected(tmp_path):
    choice = chosen(tmp_path, pets(), pets("1.2.3.1.9", planes=9, CorrectedImage=["DECY"]), cts())

    assert choice.pet.series_instance_uid == "1.2.3.2"
    assert any("PET_NO_ATTN_CORR" in sentence for sentence in choice.explanation)


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"ImageType": ["DERIVED", "SECONDARY"]}, "it is derived"),
        ({"planes": 4}, "it has fewer planes"),
        ({"PixelSpacing": [4.1, 4.1]}, "its voxels are larger"),
        ({"SeriesTime": "105959"}, "it is older"),
        ({}, "its UID sorts later"),
    ],
    ids=["derived", "fewer", "coarser", "older", "alike"],
)
def test_among_pets_the_stated_rules_decide_in_their_order(tmp_path, other, reason):
    choice = chosen(tmp_path, pets(), pets("1.2.3.2.9", **other), cts())

    assert choice.pet.series_instance_uid == "1.2.3.2"
    assert reason in choice.explanation[1]


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"ImageType": ["DERIVED", "SECONDARY", "AXIAL"]}, "it is derived"),
        ({"ConvolutionKernel": ["Br64f", "3"]}, "its kernel is sharp"),
        ({"SeriesTime": "105959"}, "it is older"),
        ({"FrameOfReferenceUID": "1.2.99"}, "FRAME_MISMATCH"),
    ],
    ids=["derived", "sharp", "older", "frame"],
)
def test_among_cts_the_stated_rules_decide_in_their_order(tmp_path, other, reason):
    choice = chosen(tmp_path, pets(), cts(), cts("1.2.3.3.9", **other))

    assert choice.ct.series_instance_uid == "1.2.3.3"
    assert reason in choice.explanation[2]


def test_the_thinner_ct_goes_first_but_not_below_0_9_mm(tmp_path):
    thick = cts()
    thin = spaced(cts("1.2.3.3.8", planes=21), 1.0, shift=-2.0)
    thinnest = spaced(cts("1.2.3.3.9", planes=41), 0.5, shift=-2.0)

    assert chosen(tmp_path, pets(), thick, thin, thinnest).ct.series_instance_uid == "1.2.3.3.8"


def test_a_ct_of_the_whole_pet_goes_before_a_thinner_one_of_a_part(tmp_path):
    part = spaced(cts("1.2.3.3.8", planes=18), 1.0)
    choice = chosen(tmp_path, pets(), cts(), part)

    assert choice.ct.series_instance_uid == "1.2.3.3"
    assert "it covers less of the PET" in choice.explanation[2]


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (list, "CT_MISSING"),
        (lambda: cts(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]), "CT_MISSING"),
        (lambda: cts(ImageType=["DERIVED", "SECONDARY", "MIP"]), "CT_MISSING"),
        (lambda: cts(RescaleIntercept=None), "CT_NOT_HU"),
        (lambda: cts(RescaleType="US"), "CT_NOT_HU"),
        (lambda: cts(FrameOfReferenceUID="1.2.99"), "FRAME_MISMATCH"),
        (lambda: spaced(cts(), 4.0, shift=100.0), "CT_NOT_COVERING"),
        (lambda: cts(planes=3), "CT_NOT_COVERING"),
        (lambda: cts(PixelSpacing=[1.0, 1.0]), "CT_NOT_COVERING"),
        (lambda: cts(planes=1), "SLICES_TOO_FEW"),
        (lambda: cts()[:2] + cts()[3:], "SLICES_MISSING"),
    ],
    ids=[
        "none",
        "localizer",
        "MIP",
        "no intercept",
        "US",
        "frame",
        "above",
        "three of five",
        "a quarter across",
        "single",
        "gap",
    ],
)
def test_a_ct_that_is_none_is_refused_with_its_reason(tmp_path, make, reason):
    assert refusal(tmp_path, pets(), make()) == reason


def test_a_ct_of_most_of_the_pet_is_taken_with_a_warning(tmp_path):
    choice = chosen(tmp_path, pets(), cts(planes=4))

    assert [reason.code for reason in choice.warnings] == ["CT_PARTIAL"]


def test_a_chest_ct_is_taken_for_a_pet_of_the_whole_body(tmp_path):
    """A PET of 900 mm and a CT of 300 mm."""
    whole = spaced(pets(planes=90), 10.0)
    chest = spaced(cts(planes=30), 10.0, shift=300.0)

    assert [r.code for r in chosen(tmp_path, whole, chest).warnings] == ["CT_PARTIAL"]


@pytest.mark.parametrize("name", ["STS_001", "STS_002", "STS_025"])
def test_small_crops_of_a_real_pet_ct_are_taken(test_data, name):
    paths = list((test_data / "ibsi-sts-petct-gml" / name).rglob("*.dcm"))
    expected = json.loads((test_data / "REFERENCE_VALUES.json").read_text())[f"ibsi-sts {name}"]
    choice = choose(paths)

    assert len(choice.pet.planes) == expected["shape"][0]
    assert choice.warnings == ()
    assert {document.modality for document in choice.documents} == {"RTSTRUCT"}


@pytest.mark.parametrize(
    ("name", "reason"), [("1.dcm", "TRACER_NOT_FDG"), ("2.dcm", "PET_DYNAMIC")]
)
def test_11_real_flt_and_dynamic_pets_are_refused(test_data, name, reason):
    with pytest.raises(UnusableStudy, match=reason):
        choose([test_data / "acrin-flt-breast-pt-slices" / name])


@pytest.mark.parametrize(
    "kernel", ["B70f", "B60s", "Br64", "LUNG", "BONEPLUS", "FC52", "YC", "EDGE"]
)
def test_kernels_for_lung_and_bone_are_sharp(kernel):
    assert is_sharp(kernel)


@pytest.mark.parametrize(
    "kernel", ["B30f", "B40s", "I31f", "Br38", "STANDARD", "SOFT", "FC18", "C", ""]
)
def test_other_kernels_are_soft(kernel):
    assert not is_sharp(kernel)
