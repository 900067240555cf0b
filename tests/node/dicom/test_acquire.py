"""What a phantom's scanner sends is what was drawn, and the standard's validator accepts it."""

import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache

import numpy as np
import pydicom
import pytest
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
)

from inference.geometry import Grid
from inference.petct import PatientFacts, PetCt
from inference.phantom import SCANNERS, Phantom, Tumour, draw, tumour_region
from inference.volume import Region
from node.dicom.acquire import Habit, Study, write

TUMOUR = Tumour(centre_lps_mm=(-80.0, 5.0, 20.0), diameter_mm=30.0, suv=9.0)
PHANTOM = Phantom(seed=7, tumour=TUMOUR)
BOX = ((-120.0, -35.0, -20.0), (-40.0, 45.0, 60.0))
STUDY = Study.of_phantom(7, datetime(2026, 1, 5, 9, 30, 0, 250000, tzinfo=UTC))


@cache
def _drawn(name: str = "small") -> PetCt:
    return draw(PHANTOM, SCANNERS[name], box=BOX)


def _series(paths, modality):
    """The slices of one modality, read by pydicom alone, sorted along the image's normal."""
    found = [ds for ds in map(pydicom.dcmread, paths) if ds.Modality == modality]
    return sorted(found, key=lambda ds: float(np.dot(ds.ImagePositionPatient, _normal(ds))))


def _normal(ds):
    return np.cross(ds.ImageOrientationPatient[:3], ds.ImageOrientationPatient[3:])


def _rescaled(ds):
    return ds.pixel_array * float(ds.RescaleSlope) + float(ds.RescaleIntercept)


def _when(text):
    return datetime.strptime(text, "%Y%m%d%H%M%S.%f").replace(tzinfo=UTC)


def _suv(ds):
    """SUVbw by the formula of each habit, straight from the header."""
    if ds.Units == "GML":
        return _rescaled(ds)
    if ds.Units == "CNTS":
        return _rescaled(ds) * float(ds[0x7053, 0x1000].value)
    (injection,) = ds.RadiopharmaceuticalInformationSequence
    injected = _when(injection.RadiopharmaceuticalStartDateTime)
    reference = _when(ds.SeriesDate + ds.SeriesTime)
    halvings = (reference - injected).total_seconds() / float(injection.RadionuclideHalfLife)
    dose_bq = float(injection.RadionuclideTotalDose) * 2**-halvings
    return _rescaled(ds) * float(ds.PatientWeight) * 1000 / dose_bq


@pytest.mark.parametrize("habit", list(Habit))
def test_the_suv_read_back_is_the_suv_drawn(tmp_path, habit):
    paths = write(_drawn(), tmp_path, habit=habit, study=STUDY)
    step = _drawn().pet.voxels.max() / 32767

    read = np.stack([_suv(ds) for ds in _series(paths, "PT")])

    assert np.allclose(read, _drawn().pet.voxels, atol=step)


def test_the_hu_read_back_are_the_hu_drawn(tmp_path):
    paths = write(_drawn(), tmp_path, habit=Habit.GE, study=STUDY)

    read = np.stack([_rescaled(ds) for ds in _series(paths, "CT")])

    assert np.abs(read - _drawn().ct.voxels).max() <= 0.5


def test_the_header_states_the_dose_that_the_suv_takes():
    """70 kg, 5 MBq/kg: 350 MBq; an hour later 350 x 2^(-3600/6586.2) = 239.6 MBq are left."""
    factor = _drawn().pet_facts.suvbw_factor

    assert factor == pytest.approx(70e3 / 239.63e6, rel=1e-4)


def test_the_injected_dose_is_five_megabecquerel_a_kilogram(tmp_path):
    paths = write(_drawn(), tmp_path, habit=Habit.SIEMENS, study=STUDY)
    (injection,) = _series(paths, "PT")[0].RadiopharmaceuticalInformationSequence

    assert float(injection.RadionuclideTotalDose) == pytest.approx(350e6, rel=1e-5)
    assert injection.RadiopharmaceuticalStartDateTime == "20260105083000.250000"


def test_siemens_keeps_one_slope_and_ge_one_for_every_slice(tmp_path):
    siemens, ge = (
        {
            str(ds.RescaleSlope)
            for ds in _series(write(_drawn(), tmp_path / h, habit=h, study=STUDY), "PT")
        }
        for h in (Habit.SIEMENS, Habit.GE)
    )

    assert len(siemens) == 1
    assert len(ge) == _drawn().pet.grid.shape[0]


def test_philips_counts_carry_both_private_factors_and_no_date_of_injection(tmp_path):
    ds = _series(write(_drawn(), tmp_path, habit=Habit.PHILIPS, study=STUDY), "PT")[0]
    (injection,) = ds.RadiopharmaceuticalInformationSequence
    factor = _drawn().pet_facts.suvbw_factor

    assert ds[0x7053, 0x0010].value == "Philips PET Private Group"
    assert float(ds[0x7053, 0x1000].value) == pytest.approx(
        factor * float(ds[0x7053, 0x1009].value), rel=1e-6
    )
    assert "RadiopharmaceuticalStartDateTime" not in injection
    assert injection.RadiopharmaceuticalStartTime == "083000"


@pytest.mark.parametrize("habit", list(Habit))
def test_times_of_the_beds_agree_with_the_decay_factor(tmp_path, habit):
    """DecayFactor = 2^(time from the reference to the bed's mean activity / half-life)."""
    slices = _series(write(_drawn(), tmp_path, habit=habit, study=STUDY), "PT")
    since_s = 3600.0 if habit is Habit.GML else 0.0

    assert len({ds.AcquisitionTime for ds in slices}) == STUDY.beds
    for ds in slices:
        mean_s = float(ds.FrameReferenceTime) / 1000
        begun = _when(ds.AcquisitionDate + ds.AcquisitionTime)
        reference = _when(ds.SeriesDate + ds.SeriesTime)
        assert float(ds.DecayFactor) == pytest.approx(2 ** ((mean_s + since_s) / 6586.2), rel=1e-6)
        assert mean_s - (begun - reference).total_seconds() == pytest.approx(60, abs=0.1)
        assert ds.ActualFrameDuration == 120000


@pytest.mark.parametrize("name", list(SCANNERS))
def test_position_and_orientation_give_the_lattice_again(tmp_path, name):
    drawn = draw(PHANTOM, SCANNERS[name], box=((-90.0, -5.0, 10.0), (-70.0, 15.0, 30.0)))
    paths = write(drawn, tmp_path, habit=Habit.SIEMENS, study=STUDY)

    for modality, grid in (("CT", drawn.ct.grid), ("PT", drawn.pet.grid)):
        slices = _series(paths, modality)
        first = slices[0]
        assert np.allclose(first.ImagePositionPatient, grid.origin, atol=1e-6)
        assert np.allclose(first.ImageOrientationPatient[:3], grid.direction[2], atol=1e-6)
        assert np.allclose(first.ImageOrientationPatient[3:], grid.direction[1], atol=1e-6)
        assert np.allclose(
            slices[-1].ImagePositionPatient, grid.to_patient((grid.shape[0] - 1, 0, 0)), atol=1e-6
        )
        assert [float(v) for v in first.PixelSpacing] == list(grid.spacing[1:])


def test_a_tumour_scanned_feet_first_stands_at_the_same_place_in_the_patient(tmp_path):
    paths = write(_drawn("feet-first"), tmp_path, habit=Habit.SIEMENS, study=STUDY)
    slices = _series(paths, "PT")
    suv = np.stack([_suv(ds) for ds in slices])
    first = slices[0]
    k, j, i = np.argwhere(suv > 4.5).mean(axis=0)

    step = np.subtract(slices[1].ImagePositionPatient, first.ImagePositionPatient)
    along_row = np.multiply(first.ImageOrientationPatient[:3], first.PixelSpacing[1])
    down_column = np.multiply(first.ImageOrientationPatient[3:], first.PixelSpacing[0])
    place = np.asarray(first.ImagePositionPatient) + k * step + j * down_column + i * along_row

    assert along_row[0] < 0, "the patient's left is at the left of the image"
    assert np.allclose(place, TUMOUR.centre_lps_mm, atol=1.0)


@pytest.mark.parametrize("position", ["HFS", "FFS", "HFP", "FFP"])
def test_the_position_of_the_patient_follows_from_the_lattice(tmp_path, position):
    scanner = replace(SCANNERS["small"], patient_position=position)
    drawn = draw(PHANTOM, scanner, box=((-85.0, 0.0, 15.0), (-75.0, 10.0, 25.0)))
    paths = write(drawn, tmp_path, habit=Habit.SIEMENS, study=STUDY)
    pet = _series(paths, "PT")[0]
    (lying,) = pet.PatientOrientationCodeSequence
    (facing,) = lying.PatientOrientationModifierCodeSequence
    (gantry,) = pet.PatientGantryRelationshipCodeSequence

    assert _series(paths, "CT")[0].PatientPosition == position
    assert facing.CodeMeaning == {"S": "supine", "P": "prone"}[position[2]]
    assert gantry.CodeMeaning == {"H": "headfirst", "F": "feet-first"}[position[0]]


@pytest.mark.parametrize("habit", list(Habit))
@pytest.mark.parametrize("name", ["small", "oblique"])
def test_the_validator_finds_no_error(tmp_path, habit, name):
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy (package dicom3tools) is not installed")
    contour = tumour_region(PHANTOM, _drawn(name).ct.grid)
    paths = write(_drawn(name), tmp_path, habit=habit, study=STUDY, include_contour=contour)
    cts = _drawn(name).ct.grid.shape[0]

    for path in (paths[0], paths[cts], paths[-2], paths[-1]):
        verdict = subprocess.run(
            ["dciodvfy", str(path)], capture_output=True, text=True, check=False
        )
        assert "Error" not in verdict.stdout + verdict.stderr
    verdict = subprocess.run(
        ["dcentvfy", *map(str, paths)], capture_output=True, text=True, check=False
    )
    assert "Error" not in verdict.stdout + verdict.stderr


@pytest.mark.parametrize(
    "syntax",
    [
        ImplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
        RLELossless,
        JPEGLSLossless,
    ],
)
def test_every_transfer_syntax_holds_the_same_values(tmp_path, syntax):
    drawn = draw(PHANTOM, SCANNERS["small"], box=((-90.0, -5.0, 10.0), (-70.0, 15.0, 30.0)))
    plain = write(drawn, tmp_path / "plain", habit=Habit.GE, study=STUDY)
    other = write(
        drawn, tmp_path / "other", habit=Habit.GE, study=STUDY, transfer_syntax_uid=syntax
    )

    for one, two in zip(map(pydicom.dcmread, plain), map(pydicom.dcmread, other), strict=True):
        assert two.file_meta.TransferSyntaxUID == syntax
        assert one.SOPInstanceUID == two.SOPInstanceUID
        assert np.array_equal(one.pixel_array, two.pixel_array)


def test_the_same_study_is_written_the_same_to_the_last_byte(tmp_path):
    first, again = (
        write(_drawn(), tmp_path / name, habit=Habit.SIEMENS, study=STUDY) for name in "ab"
    )

    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in again]


def test_shuffling_changes_names_and_numbers_and_no_image(tmp_path):
    plain = write(_drawn(), tmp_path / "plain", habit=Habit.GE, study=STUDY)
    shuffled = write(
        _drawn(), tmp_path / "mixed", habit=Habit.GE, study=replace(STUDY, shuffle_seed=1)
    )

    assert {p.name for p in plain} == {p.name for p in shuffled}
    assert [p.name for p in plain] != [p.name for p in shuffled]
    for one, two in zip(_series(plain, "PT"), _series(shuffled, "PT"), strict=True):
        assert one.SOPInstanceUID == two.SOPInstanceUID
        assert one.ImageIndex == two.ImageIndex
        assert one.PixelData == two.PixelData


def test_nobody_takes_the_patient_for_a_person(tmp_path):
    ds = pydicom.dcmread(write(_drawn(), tmp_path, habit=Habit.GE, study=STUDY)[0])

    assert ds.PatientName == "Phantom^Seed 7"
    assert ds.PatientID == "PHANTOM-7"
    assert ds.PatientBirthDate == ""


def test_uids_are_unique_and_belong_together(tmp_path):
    paths = write(_drawn(), tmp_path, habit=Habit.GE, study=STUDY)
    found = [pydicom.dcmread(path, stop_before_pixels=True) for path in paths]

    assert len({ds.SOPInstanceUID for ds in found}) == len(paths)
    assert {ds.StudyInstanceUID for ds in found} == {_drawn().study_instance_uid}
    assert {ds.FrameOfReferenceUID for ds in found} == {PHANTOM.frame_of_reference_uid}
    assert len({ds.SeriesInstanceUID for ds in found}) == 2
    assert all(ds.SOPInstanceUID == ds.file_meta.MediaStorageSOPInstanceUID for ds in found)


def _filled(ds, grid: Grid):
    """Rasterise the contours by the even-odd rule, apart from the code under test."""
    mask = np.zeros(grid.shape, dtype=bool)
    rows, columns = np.mgrid[: grid.shape[1], : grid.shape[2]]
    for contour in ds.ROIContourSequence[0].ContourSequence:
        points = np.asarray(contour.ContourData, dtype=float).reshape(-1, 3)
        indices = np.rint(2 * grid.to_indices(points)) / 2
        inside = np.zeros(grid.shape[1:], dtype=bool)
        for (_, r0, c0), (_, r1, c1) in zip(indices, np.roll(indices, -1, axis=0), strict=True):
            crosses = (rows >= min(r0, r1)) & (rows < max(r0, r1))
            inside ^= crosses & (columns < (c0 + c1) / 2)
        mask[round(indices[0, 0])] ^= inside
    return mask


@pytest.mark.parametrize("name", ["small", "feet-first", "oblique"])
def test_the_contour_encloses_exactly_the_region(tmp_path, name):
    grid = _drawn(name).ct.grid
    region = tumour_region(PHANTOM, grid)
    paths = write(_drawn(name), tmp_path, habit=Habit.GE, study=STUDY, include_contour=region)
    ds = pydicom.dcmread(paths[-1])

    assert ds.Modality == "RTSTRUCT"
    assert ds.StructureSetROISequence[0].ROIName == "GTV"
    assert ds.FrameOfReferenceUID == PHANTOM.frame_of_reference_uid
    assert np.array_equal(_filled(ds, grid), region.mask)


def test_contours_of_parts_and_holes_enclose_exactly_the_region(tmp_path):
    grid = _drawn().pet.grid
    mask = np.zeros(grid.shape, dtype=bool)
    mask[2, 2:9, 2:9] = True
    mask[2, 4:7, 4:7] = False  # a hole,
    mask[2, 5, 5] = True  # an island in it,
    mask[2, 9, 9] = True  # a part that touches at a corner,
    mask[3, 4, 4] = True  # and a single voxel
    region = Region(mask=mask, grid=grid)

    paths = write(_drawn(), tmp_path, habit=Habit.GE, study=STUDY, include_contour=region)

    assert np.array_equal(_filled(pydicom.dcmread(paths[-1]), grid), mask)


def test_a_contour_names_the_images_that_it_was_drawn_on(tmp_path):
    region = tumour_region(PHANTOM, _drawn().pet.grid)
    paths = write(_drawn(), tmp_path, habit=Habit.GE, study=STUDY, include_contour=region)
    images = {ds.SOPInstanceUID: ds for ds in _series(paths, "PT")}

    for contour in pydicom.dcmread(paths[-1]).ROIContourSequence[0].ContourSequence:
        (named,) = contour.ContourImageSequence
        image = images[named.ReferencedSOPInstanceUID]
        offset = np.subtract(contour.ContourData[:3], image.ImagePositionPatient)
        assert np.dot(offset, _normal(image)) == pytest.approx(0, abs=1e-6)


def test_a_contour_on_another_lattice_is_refused(tmp_path):
    elsewhere = replace(_drawn().pet.grid, origin=(0.0, 0.0, 0.0))
    region = tumour_region(PHANTOM, elsewhere)

    with pytest.raises(ValueError, match="drawn on the slices"):
        write(_drawn(), tmp_path, habit=Habit.GE, study=STUDY, include_contour=region)


def test_an_injection_before_midnight_keeps_its_date(tmp_path):
    after_midnight = replace(STUDY, started_at=datetime(2026, 1, 5, 0, 20, tzinfo=UTC))
    paths = write(_drawn(), tmp_path, habit=Habit.GE, study=after_midnight)
    ds = _series(paths, "PT")[0]
    (injection,) = ds.RadiopharmaceuticalInformationSequence

    assert injection.RadiopharmaceuticalStartDateTime == "20260104232000.000000"
    assert np.allclose(_suv(ds), _drawn().pet.voxels[0], atol=1e-3)


def test_a_study_without_beds_is_refused():
    with pytest.raises(ValueError, match="beds"):
        replace(STUDY, beds=0)


def test_without_a_weight_nothing_is_written(tmp_path):
    nobody = replace(_drawn(), patient=PatientFacts())

    with pytest.raises(ValueError, match="weight"):
        write(nobody, tmp_path, habit=Habit.SIEMENS, study=STUDY)
    assert not list(tmp_path.glob("*.dcm"))
