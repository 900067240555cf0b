"""choose() takes one PET and one CT of a study by the stated rules, or says why not."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from inference.geometry import Grid
from node.dicom.eligibility import is_sharp
from node.dicom.geometry import PlaneGeometry, coverage, lattice, order
from node.dicom.reasons import REFUSALS, WARNINGS
from node.dicom.series import choose, studies
from node.dicom.tracer import Tracer, tracer_of
from node.errors import UnusableStudy
from tests.node.dicom.minimal import (
    code,
    ct_plane,
    pet_plane,
    radiopharmaceutical,
    save,
    series,
)


def chosen(folder, *datasets):
    return choose(save(folder, [ds for group in datasets for ds in group]))


def refusal(folder, *datasets):
    with pytest.raises(UnusableStudy) as raised:
        chosen(folder, *datasets)
    return raised.value.reason.code


def pets(uid="1.2.3.2", planes=5, **values):
    return series(pet_plane, uid, planes, **values)


def cts(uid="1.2.3.3", planes=5, **values):
    return series(ct_plane, uid, planes, **values)


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


def spaced(datasets, step, shift=0.0):
    for index, ds in enumerate(datasets):
        ds.ImagePositionPatient = [-14.0, -14.0, shift + step * index]
    return datasets


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


def test_localizers_among_the_axial_planes_are_passed_over(tmp_path):
    planes = cts(planes=6)
    planes[5].ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    planes[5].ImageOrientationPatient = [0, 1, 0, 0, 0, -1]

    assert len(chosen(tmp_path, pets(), planes).ct.planes) == 5


def test_a_plane_sent_again_with_the_same_bytes_counts_once(tmp_path):
    paths = save(tmp_path, [*pets(), *cts()])
    again = tmp_path / "again.dcm"
    again.write_bytes(paths[2].read_bytes())
    choice = choose([*paths, again])

    assert len(choice.pet.planes) == 5
    assert [reason.code for reason in choice.warnings] == ["SLICES_RESENT"]


def test_one_uid_with_other_bytes_is_refused(tmp_path):
    paths = save(tmp_path, [*pets(), *cts()])
    again = tmp_path / "again.dcm"
    again.write_bytes(paths[2].read_bytes()[:-2] + b"\1\1")

    with pytest.raises(UnusableStudy, match="SLICES_DUPLICATE"):
        choose([*paths, again])


def test_two_planes_at_one_place_are_refused(tmp_path):
    planes = pets()
    planes[3].ImagePositionPatient = planes[2].ImagePositionPatient

    assert refusal(tmp_path, planes, cts()) == "SLICES_DUPLICATE"


@pytest.mark.parametrize(
    ("places", "reason"),
    [
        ([0, 4, 8, 16, 20], "SLICES_MISSING"),
        ([0, 4, 8, 13, 17], "SLICES_IRREGULAR"),
        ([0, 4, 7, 11, 15], "SLICES_IRREGULAR"),
    ],
)
def test_planes_that_are_not_evenly_spaced_are_refused(tmp_path, places, reason):
    planes = pets()
    for ds, place in zip(planes, places, strict=True):
        ds.ImagePositionPatient = [-14.0, -14.0, place]

    assert refusal(tmp_path, planes, cts()) == reason


def test_8_the_jitter_of_bed_joins_is_tolerated(tmp_path):
    planes = pets()
    for ds, place in zip(planes, [0, 3.27, 6.54, 9.83, 13.10], strict=True):
        ds.ImagePositionPatient = [-14.0, -14.0, place]

    assert len(chosen(tmp_path, planes, spaced(cts(), 3.5)).pet.planes) == 5


def test_planes_of_a_tilted_gantry_are_refused(tmp_path):
    planes = cts()
    for index, ds in enumerate(planes):
        ds.ImagePositionPatient = [-14.0, -14.0 + index, 4.0 * index]

    assert refusal(tmp_path, pets(), planes) == "SLICES_IRREGULAR"


def test_planes_of_different_sizes_are_refused(tmp_path):
    planes = pets()
    planes[1].PixelSpacing = [5.0, 5.0]

    assert refusal(tmp_path, planes, cts()) == "SLICES_DIFFER"


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


def tracer(codes=(), name="", nuclide=("C-111A1", "SRT", "^18^Fluorine"), **descriptions):
    item = radiopharmaceutical()
    item.RadiopharmaceuticalCodeSequence = [code(*c) for c in codes]
    item.RadionuclideCodeSequence = [code(*nuclide)] if nuclide else []
    item.Radiopharmaceutical = name
    ds = Dataset()
    ds.RadiopharmaceuticalInformationSequence = [item]
    for keyword, value in descriptions.items():
        setattr(ds, keyword, value)
    return tracer_of(ds)


@pytest.mark.parametrize(
    "known",
    [
        {"codes": [("C-B1031", "SRT", "")]},
        {"codes": [("C-B1031", "SNM3", "")]},
        {"codes": [("C-B1031", "99SDM", "")]},
        {"codes": [("35321007", "SCT", "")]},
        {"codes": [("Y-X1743", "99SDM", "")]},
        {"codes": [("LOCAL", "99HOSP", "Fluorodeoxyglucose F^18^")]},
        {"name": "FDG -- fluorodeoxyglucose"},
        {"name": "F18-FDG"},
        {"name": "2-[18F]fluoro-2-deoxy-D-glucose", "nuclide": None},
    ],
    ids=lambda known: str(next(iter(known.values()))),
)
def test_7_fdg_is_known_by_code_in_any_scheme_or_by_text(known):
    assert tracer(**known) is Tracer.FDG


@pytest.mark.parametrize(
    "other",
    [
        {"name": "FLT"},
        {"name": "18F-PSMA-1007"},
        {"codes": [("126752", "DCM", "28H1 ^89^Zr")]},
        {"codes": [("C-B1036", "SRT", "")]},
        {"AttenuationCorrectionMethod": "measured,AC_CT FLT"},
        {"SeriesDescription": "PET DOTATATE WB"},
        {"StudyDescription": "PET/CT F-18 choline"},
    ],
    ids=lambda other: str(next(iter(other.values()))),
)
def test_11_another_tracer_is_known_by_code_name_or_description(other):
    assert tracer(**other) is Tracer.OTHER


@pytest.mark.parametrize("name", ["", "F18", "18F", "F-18 solution", "Other"])
def test_a_name_of_the_isotope_is_no_tracer(name):
    assert tracer(name=name) is Tracer.UNNAMED_F18


SECONDARY_CAPTURE = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}
PROJECTION = {
    "ImageType": ["DERIVED", "SECONDARY", "MIP"],
    "ImageOrientationPatient": [1, 0, 0, 0, 0, -1],
}
COPY = {"ImageType": ["DERIVED", "SECONDARY", "AXIAL"]}


@pytest.mark.parametrize("stray", [SECONDARY_CAPTURE, PROJECTION, COPY])
@pytest.mark.parametrize("make", [pet_plane, ct_plane])
def test_one_stray_object_does_not_cost_the_series(tmp_path, make, stray):
    uid = "1.2.3.2" if make is pet_plane else "1.2.3.3"
    (extra,) = series(make, uid, 1, **stray)
    extra.SOPInstanceUID = extra.file_meta.MediaStorageSOPInstanceUID = "1.2.3.77"
    choice = chosen(tmp_path, pets(), cts(), [extra])

    assert (len(choice.pet.planes), len(choice.ct.planes)) == (5, 5)
    assert "1.2.3.77" not in {p.sop_instance_uid for p in (*choice.pet.planes, *choice.ct.planes)}
    (told,) = choice.warnings
    assert told.code == "PLANES_LEFT"
    assert told.meaning.endswith(f"1 of the {'PET' if make is pet_plane else 'CT'}")


@pytest.mark.parametrize(("stated", "told"), [(5, []), (9, ["SLICES_FEWER"])])
def test_fewer_planes_than_the_series_says_are_told(tmp_path, stated, told):
    choice = chosen(tmp_path, pets(NumberOfSlices=stated), cts())

    assert [reason.code for reason in choice.warnings] == told
    assert all(reason.meaning.endswith("5 of 9") for reason in choice.warnings)


@pytest.mark.parametrize("kept", [(0, 1, 3, 5, 7, 9), (0, 3, 4, 8, 12), (0, 1, 4)])
def test_a_series_that_half_arrived_misses_planes(tmp_path, kept):
    arrived = [ds for index, ds in enumerate(pets(planes=13)) if index in kept]

    assert refusal(tmp_path, arrived, cts()) == "SLICES_MISSING"


def test_fdg_of_another_radionuclide_is_not_fdg(tmp_path):
    technetium = code("C-163A8", "SRT", "^99m^Technetium")
    item = radiopharmaceutical(RadionuclideCodeSequence=[technetium])

    given = {"RadiopharmaceuticalInformationSequence": [item]}
    assert refusal(tmp_path, pets(**given), cts()) == "TRACER_NOT_FDG"


def test_without_name_and_isotope_the_half_life_tells():
    gallium = ("C-131A3", "SRT", "^68^Gallium")

    assert tracer(nuclide=None) is Tracer.UNNAMED_F18
    assert tracer(nuclide=gallium) is Tracer.UNNAMED
    assert tracer_of(Dataset()) is Tracer.UNNAMED


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


@st.composite
def orientations(draw):
    """Any two axes square to each other."""
    angles = [draw(st.floats(-np.pi, np.pi)) for _ in range(3)]
    (a, b, c), (d, e, f) = np.cos(angles), np.sin(angles)
    about_x = np.array([[1, 0, 0], [0, a, -d], [0, d, a]])
    about_y = np.array([[b, 0, e], [0, 1, 0], [-e, 0, b]])
    about_z = np.array([[c, -f, 0], [f, c, 0], [0, 0, 1]])
    return about_x @ about_y @ about_z


@settings(max_examples=60)
@given(
    axes=orientations(),
    spacing=st.tuples(*[st.floats(0.4, 8)] * 3),
    count=st.integers(2, 40),
    seed=st.integers(0, 2**32 - 1),
)
def test_shuffled_planes_of_any_orientation_give_their_lattice_back(axes, spacing, count, seed):
    column_axis, row_axis, normal = axes.T
    origin = np.array([-120.0, 33.0, 950.5])
    planes = [
        PlaneGeometry(
            position=tuple(origin + index * spacing[0] * normal),
            row_axis=tuple(row_axis),
            column_axis=tuple(column_axis),
            spacing=spacing[1:],
            shape=(7, 9),
            frame_of_reference_uid="1.2.3",
        )
        for index in np.random.default_rng(seed).permutation(count)
    ]
    grid = lattice([planes[index] for index in order(planes)])

    assert grid.shape == (count, 7, 9)
    assert np.allclose(grid.spacing, spacing)
    assert np.allclose(grid.origin, origin)
    last = origin + (count - 1) * spacing[0] * normal + 6 * spacing[1] * row_axis
    assert np.allclose(grid.to_patient([count - 1, 6, 0]), last)
    assert np.dot(np.cross(grid.direction[2], grid.direction[1]), grid.direction[0]) > 0.99


def test_feet_first_and_prone_planes_are_sorted_along_their_own_normal():
    """A prone patient's rows run to the front: the normal points to the feet no more than up."""
    planes = [
        PlaneGeometry(
            position=(100.0, 50.0, place),
            row_axis=(0.0, 1.0, 0.0),
            column_axis=(-1.0, 0.0, 0.0),
            spacing=(2.0, 3.0),
            shape=(4, 5),
            frame_of_reference_uid="1.2.3",
        )
        for place in (0.0, 5.0, 10.0)
    ]
    grid = lattice([planes[index] for index in order(planes)])

    assert grid.direction[0] == (0.0, 0.0, -1.0)
    assert grid.origin == (100.0, 50.0, 10.0)
    assert tuple(grid.to_patient([1, 1, 1])) == (97.0, 52.0, 5.0)


def test_coverage_is_the_part_of_each_axis_that_is_shared():
    """PET 0 to 40 mm; CT 10 to 60 mm along, and 8 of 10 mm across."""
    axes = ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))
    pet = Grid(
        shape=(10, 10, 10),
        spacing=(4.0, 1.0, 1.0),
        origin=(0.0, 0.0, 2.0),
        direction=axes,
        frame_of_reference_uid="1.2",
    )
    ct = Grid(
        shape=(10, 10, 8),
        spacing=(5.0, 1.0, 1.0),
        origin=(0.0, 0.0, 12.5),
        direction=axes,
        frame_of_reference_uid="1.2",
    )

    assert coverage(pet, ct) == pytest.approx((0.75, 1.0, 0.8))
