"""load() gives SUVbw and HU on their grids, whatever the files look like."""

import json

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset

from inference.volume import Quantity
from node.config import Selection
from node.dicom.series import choose
from node.dicom.volumes import load
from node.errors import UnusableStudy
from tests.node.dicom.minimal import code, ct_plane, pet_plane, radiopharmaceutical, save, series

NAMES = Selection().contour_names
CODES = Selection().contour_codes


def loaded(folder, pets=None, cts=None):
    """The study of two series; BQML is corrected to administration, so SUV = 2e-4 times it."""
    pets = series(pet_plane, "1.2.3.2") if pets is None else pets
    cts = series(ct_plane, "1.2.3.3") if cts is None else cts
    for ds in pets:
        ds.DecayCorrection = "ADMIN"
    return load(choose(save(folder, [*pets, *cts])), contour_names=NAMES, contour_codes=CODES)


def test_both_volumes_lie_on_their_own_grids_in_one_frame(tmp_path):
    petct = loaded(tmp_path, cts=series(ct_plane, "1.2.3.3", PixelSpacing=[3.0, 4.0]))

    assert petct.pet.quantity is Quantity.SUVBW
    assert petct.ct.quantity is Quantity.HU
    assert petct.pet.voxels.dtype == petct.ct.voxels.dtype == np.float32
    assert petct.pet.grid.spacing == (4.0, 4.0, 4.0)
    assert petct.ct.grid.spacing == (4.0, 3.0, 4.0)
    assert petct.ct.grid.direction == ((0, 0, 1), (0, 1, 0), (1, 0, 0))


def test_2_every_plane_has_its_own_slope(tmp_path):
    """Plane i holds i; its slope is 1000 (i + 1): SUV = i (i + 1) 1000 x 2e-4."""
    pets = series(pet_plane, "1.2.3.2")
    for index, ds in enumerate(pets):
        ds.RescaleSlope = 1000 * (index + 1)
    suv = loaded(tmp_path, pets=pets).pet.voxels

    assert np.allclose(suv[:, 3, 3], [0.0, 0.4, 1.2, 2.4, 4.0])


def test_ct_intercepts_may_differ_from_plane_to_plane(tmp_path):
    cts = series(ct_plane, "1.2.3.3")
    for index, ds in enumerate(cts):
        ds.RescaleIntercept = -10 * index
    hu = loaded(tmp_path, cts=cts).ct.voxels

    assert hu[:, 0, 0].tolist() == [0, -9, -18, -27, -36]


@pytest.mark.parametrize(
    ("padding", "limit"), [(-2000, None), (63536, None), (-2000, -1900), (-1900, -2000)]
)
def test_padding_is_air(tmp_path, padding, limit):
    cts = series(ct_plane, "1.2.3.3", RescaleIntercept=-24)
    for ds in cts:
        stored = np.zeros((8, 8), np.int16)
        stored[0, 0] = -2000
        ds.PixelData = stored.tobytes()
        ds.add_new("PixelPaddingValue", "US" if padding > 0 else "SS", padding)
        if limit is not None:
            ds.add_new("PixelPaddingRangeLimit", "SS", limit)
    hu = loaded(tmp_path, cts=cts).ct.voxels

    assert (hu[0, 0, 0], hu[0, 0, 1]) == (-1024, -24)


def stored_as(value, **changes):
    """A PET whose first voxel of each plane holds ``value``, and all others 1000."""
    pets = series(pet_plane, "1.2.3.2", **changes)
    for ds in pets:
        stored = np.full((8, 8), 1000, np.int16)
        stored[0, 0] = value
        ds.PixelData = stored.tobytes()
    return pets


@pytest.mark.parametrize(("padding", "limit"), [(-32768, None), (-32768, -30000)])
def test_padding_of_a_pet_is_no_activity(tmp_path, padding, limit):
    pets = stored_as(-32768)
    for ds in pets:
        ds.add_new("PixelPaddingValue", "SS", padding)
        if limit is not None:
            ds.add_new("PixelPaddingRangeLimit", "SS", limit)
    suv = loaded(tmp_path, pets=pets).pet.voxels

    assert suv[0, 0, 0] == 0
    assert suv[0, 0, 1] == pytest.approx(0.2)


@pytest.mark.parametrize("slope", [0, -1])
def test_a_slope_that_is_not_positive_is_refused(tmp_path, slope):
    with pytest.raises(UnusableStudy) as raised:
        loaded(tmp_path, pets=series(pet_plane, "1.2.3.2", RescaleSlope=slope))
    assert raised.value.reason.code == "SUV_UNITS"


@pytest.mark.parametrize(("factor", "refused"), [(1.4, False), (1.6, True), (1e34, True)])
def test_a_pet_that_shows_more_than_was_injected_is_refused(tmp_path, factor, refused):
    """320 voxels of 64 ul hold 20.48 ml; SUV 70000 / 20.48 = 3418 in each is all of the dose."""
    slope = factor * 70e3 / 20.48 / 2e-4 / 1000
    pets = stored_as(1000, RescaleSlope=f"{slope:.8g}")
    if not refused:
        assert loaded(tmp_path, pets=pets).pet.voxels.max() == pytest.approx(factor * 3417.97)
        return
    with pytest.raises(UnusableStudy) as raised:
        loaded(tmp_path, pets=pets)
    assert raised.value.reason.code == "SUV_IMPLAUSIBLE"


@pytest.mark.parametrize("intercept", ["1E5", "-1.1E5", "1E39"])
def test_values_beyond_any_hounsfield_unit_are_refused(tmp_path, intercept):
    with pytest.raises(UnusableStudy) as raised:
        loaded(tmp_path, cts=series(ct_plane, "1.2.3.3", RescaleIntercept=intercept))
    assert raised.value.reason.code == "HU_IMPLAUSIBLE"


@pytest.mark.parametrize(("stated", "told"), [("01", True), ("00", False)])
def test_a_pet_that_was_compressed_with_loss_is_told(tmp_path, stated, told):
    pets = series(pet_plane, "1.2.3.2", LossyImageCompression=stated)

    codes = [reason.code for reason in loaded(tmp_path, pets=pets).warnings]
    assert ("PET_LOSSY" in codes) is told


def test_rows_and_columns_keep_their_order(tmp_path):
    """One hot voxel in row 2, column 5 lies 8 mm behind and 20 mm left of the first."""
    pets = series(pet_plane, "1.2.3.2")
    stored = np.zeros((8, 8), np.int16)
    stored[2, 5] = 5000
    pets[3].PixelData = stored.tobytes()
    pet = loaded(tmp_path, pets=pets).pet

    assert np.unravel_index(pet.voxels.argmax(), pet.voxels.shape) == (3, 2, 5)
    assert pet.grid.to_patient([3, 2, 5]).tolist() == [-14 + 20, -14 + 8, 12]


def test_the_headers_facts_go_with_the_volumes(tmp_path):
    cts = series(ct_plane, "1.2.3.3", SliceThickness=5, ContrastBolusAgent="agent")
    pets = series(pet_plane, "1.2.3.2", Manufacturer="Maker", PatientSex="F")
    petct = loaded(tmp_path, pets=pets, cts=cts)

    assert petct.study_instance_uid == "1.2.3.1"
    assert petct.pet_facts.series_instance_uid == "1.2.3.2"
    assert (petct.pet_facts.units, petct.pet_facts.decay_reference) == ("BQML", "ADMINISTRATION")
    assert petct.pet_facts.suvbw_factor == pytest.approx(2e-4)
    assert petct.pet_facts.uptake_min == pytest.approx(60)
    assert (petct.pet_facts.tracer, petct.pet_facts.manufacturer) == ("FDG", "Maker")
    assert (petct.ct_facts.slice_thickness_mm, petct.ct_facts.contrast) == (5, True)
    assert petct.ct_facts.convolution_kernel == "B30f"
    assert (petct.patient.sex, petct.patient.weight_kg) == ("F", 70)


@pytest.mark.parametrize("name", ["STS_001", "STS_002", "STS_025"])
def test_real_pets_hold_the_reference_values(test_data, name):
    expected = json.loads((test_data / "REFERENCE_VALUES.json").read_text())[f"ibsi-sts {name}"]
    choice = choose(list((test_data / "ibsi-sts-petct-gml" / name).rglob("*.dcm")))
    petct = load(choice, contour_names=NAMES, contour_codes=CODES)

    assert list(petct.pet.voxels.shape) == expected["shape"]
    assert petct.pet_facts.suvbw_factor == 1
    assert petct.pet.voxels.max() == pytest.approx(expected["SUVmax_stored"], abs=1e-4)
    assert petct.pet.voxels.mean() == pytest.approx(expected["SUVmean_volume"], abs=1e-5)
    assert petct.ct.voxels.min() == -1000
    assert [given.name for given in petct.given] == ["GTV_Mass_PET", "GTV_Mass_CT"]


def enhanced_pet(planes=5):
    """One instance of the frames that ``pet_plane`` makes, last plane first."""
    single = [pet_plane(index) for index in reversed(range(planes))]
    ds = pet_plane()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.130"
    for keyword in (
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "PixelSpacing",
        "RescaleSlope",
        "RescaleIntercept",
        "CorrectedImage",
        "AttenuationCorrectionMethod",
        "DecayCorrection",
        "SeriesType",
    ):
        delattr(ds, keyword)
    ds.AttenuationCorrected = ds.DecayCorrected = "YES"
    ds.DecayCorrectionDateTime = "20260102110000"
    item = radiopharmaceutical(RadiopharmaceuticalStartTime=None)
    item.RadiopharmaceuticalStartDateTime = "20260102100000"
    ds.RadiopharmaceuticalInformationSequence = [item]
    ds.NumberOfFrames = planes
    ds.SharedFunctionalGroupsSequence = [
        group(
            PixelMeasuresSequence={"PixelSpacing": [4.0, 4.0], "SliceThickness": 4.0},
            PlaneOrientationSequence={"ImageOrientationPatient": [1, 0, 0, 0, 1, 0]},
            PETFrameTypeSequence={"FrameType": ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]},
        )
    ]
    ds.PerFrameFunctionalGroupsSequence = [
        group(
            PlanePositionSequence={"ImagePositionPatient": list(plane.ImagePositionPatient)},
            PixelValueTransformationSequence={
                "RescaleSlope": 1000.0 + index,
                "RescaleIntercept": 0,
                "RescaleType": "US",
            },
            FrameContentSequence={
                "FrameAcquisitionDateTime": "20260102110200",
                "FrameAcquisitionDuration": 120000.0,
            },
        )
        for index, plane in enumerate(single)
    ]
    ds.PixelData = b"".join(plane.PixelData for plane in single)
    return ds


def group(**macros):
    found = Dataset()
    for keyword, values in macros.items():
        item = Dataset()
        for name, value in values.items():
            setattr(item, name, value)
        setattr(found, keyword, [item])
    return found


def test_an_enhanced_pet_is_read_frame_by_frame(tmp_path):
    """An hour of decay: SUV = stored x slope x 70e3 / (350e6 x 2^(-3600/6586.2))."""
    paths = save(tmp_path, [enhanced_pet(), *series(ct_plane, "1.2.3.3")])
    choice = choose(paths)
    petct = load(choice, contour_names=(), contour_codes=())
    factor = 2e-4 * 2 ** (3600 / 6586.2)

    assert [plane.frame for plane in choice.pet.planes] == [5, 4, 3, 2, 1]
    assert choice.pet.paths == (paths[0],)
    expected = np.arange(5) * (1000.0 + 4 - np.arange(5)) * factor
    assert np.allclose(petct.pet.voxels[:, 0, 0], expected, rtol=1e-6)
    assert petct.pet_facts.decay_reference == "DECAY_CORRECTION_DATETIME"
    assert petct.pet_facts.uptake_min == pytest.approx(62)


def test_more_frame_headers_than_frames_are_refused(tmp_path):
    ds = enhanced_pet()
    ds.NumberOfFrames = 4
    ds.PixelData = ds.PixelData[: 4 * 128]
    choice = choose(save(tmp_path, [ds, *series(ct_plane, "1.2.3.3")]))

    with pytest.raises(UnusableStudy, match="PIXELS_BAD"):
        load(choice, contour_names=(), contour_codes=())


def test_a_legacy_converted_pet_keeps_its_attributes_in_the_unassigned_groups(tmp_path):
    ds = enhanced_pet()
    ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.128.1"
    del ds.DecayCorrected, ds.DecayCorrectionDateTime, ds.AttenuationCorrected, ds.Units
    shared = ds.SharedFunctionalGroupsSequence[0]
    kept = group(
        UnassignedSharedConvertedAttributesSequence={
            "Units": "BQML",
            "DecayCorrection": "ADMIN",
            "CorrectedImage": ["DECY", "ATTN", "SCAT"],
        }
    )
    shared.update(kept)
    petct = load(
        choose(save(tmp_path, [ds, *series(ct_plane, "1.2.3.3")])),
        contour_names=(),
        contour_codes=(),
    )

    assert np.allclose(petct.pet.voxels[4, 0, 0], 4 * 1000 * 2e-4)
    assert petct.pet_facts.decay_reference == "ADMINISTRATION"


@pytest.mark.parametrize("kept", ["image", "multiframe"])
def test_a_real_ct_is_the_same_as_files_and_as_frames(test_data, tmp_path, kept):
    """Three planes of dcmqi's example, converted by PixelMed, and then said to be HU."""
    folder = test_data / "dcmqi-examples" / "segmentations" / "24x38x3"
    singles = [dcmread(path) for path in sorted((folder / "image").glob("*.dcm"))]
    singles.sort(key=lambda ds: float(ds.ImagePositionPatient[2]))
    ct_files = [dcmread(path) for path in (folder / kept).glob("*.dcm")]
    for ds in ct_files:
        ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = 1, 0, "HU"
        for shared in ds.get("SharedFunctionalGroupsSequence", []):
            shared.PixelValueTransformationSequence[0].RescaleType = "HU"
    pets = series(pet_plane, "1.2.3.2", 3, FrameOfReferenceUID=singles[0].FrameOfReferenceUID)
    for ds, place in zip(pets, singles, strict=True):
        ds.StudyInstanceUID = place.StudyInstanceUID
        ds.ImagePositionPatient, ds.PixelSpacing = place.ImagePositionPatient, [2.0, 2.0]
    choice = choose(save(tmp_path, [*pets, *ct_files]))
    ct = load(choice, contour_names=(), contour_codes=()).ct

    assert np.array_equal(ct.voxels, np.stack([ds.pixel_array for ds in singles]))
    assert np.allclose(ct.grid.origin, [float(x) for x in singles[0].ImagePositionPatient])


def test_the_codes_of_a_pet_that_names_its_tracer_only_by_text_are_not_needed(tmp_path):
    item = radiopharmaceutical(RadiopharmaceuticalCodeSequence=None, Radiopharmaceutical="FDG")
    pets = series(pet_plane, "1.2.3.2", RadiopharmaceuticalInformationSequence=[item])

    assert loaded(tmp_path, pets=pets).pet_facts.tracer == "FDG"


def test_an_unnamed_f18_tracer_is_taken_for_fdg_with_a_warning(tmp_path):
    item = radiopharmaceutical(RadiopharmaceuticalCodeSequence=None)
    item.RadionuclideCodeSequence = [code("C-111A1", "SNM3", "F^18^")]
    pets = series(pet_plane, "1.2.3.2", RadiopharmaceuticalInformationSequence=[item])
    petct = loaded(tmp_path, pets=pets)

    assert petct.pet_facts.tracer == "FDG (assumed)"
    assert "TRACER_ASSUMED" in {reason.code for reason in petct.warnings}
