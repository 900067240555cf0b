"""Pixels of every transfer syntax come out the same."""

import numpy as np
import pytest
from pydicom import dcmread

from node.dicom.series import choose
from node.dicom.volumes import load
from node.errors import UnusableStudy
from tests.node.dicom.minimal import FRAME, ct_plane, pet_plane, save, series

LOSSLESS = ["J2KR", "JLSL", "JPLL", "RLE"]


def loaded(choice):
    return load(choice, contour_names=(), contour_codes=())


def with_ct(tmp_path, path, planes=2):
    """Put one CT file at several heights beside a PET, as a study, its pixels untouched."""
    datasets = []
    for index in range(planes):
        ds = dcmread(path)
        ds.StudyInstanceUID, ds.SeriesInstanceUID = "1.2.3.1", "1.2.3.3"
        ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
        ds.SOPInstanceUID = f"1.2.3.3.{index + 1}"
        ds.FrameOfReferenceUID = FRAME
        ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        ds.ImagePositionPatient = [-250.0, -250.0, 4.0 * index]
        ds.PixelSpacing = [1.0, 1.0]
        datasets.append(ds)
    return [*save(tmp_path, datasets), *save(tmp_path, series(pet_plane, "1.2.3.2", planes))]


@pytest.mark.parametrize("pair", ["CT1", "CT2"])
def test_all_lossless_syntaxes_give_the_same_numbers(test_data, tmp_path, pair):
    arrays = {}
    for name in LOSSLESS:
        folder = tmp_path / name
        folder.mkdir()
        path = test_data / "wg04-compression" / name / f"{pair}_{name}"
        arrays[name] = loaded(choose(with_ct(folder, path))).ct.voxels

    assert arrays["RLE"].shape == (2, 512, 512)
    assert np.ptp(arrays["RLE"]) > 1000
    for name in LOSSLESS:
        assert np.array_equal(arrays[name], arrays["RLE"]), name


@pytest.mark.parametrize(("name", "bound"), [("J2KI", 30), ("JLSN", 10)])
def test_lossy_syntaxes_are_read_and_come_near(test_data, tmp_path, name, bound):
    both = []
    for syntax in ("RLE", name):
        folder = tmp_path / syntax
        folder.mkdir()
        path = test_data / "wg04-compression" / syntax / f"CT1_{syntax}"
        both.append(loaded(choose(with_ct(folder, path))).ct.voxels)

    assert 0 < np.abs(both[0] - both[1]).mean() < bound


def test_a_real_jpeg_2000_series_of_a_pet_ct_is_read(test_data, tmp_path):
    """Its UIDs were removed; the planes are real. Air lies near -1000 HU, tissue near 50."""
    paths = sorted((test_data / "totalsegmentator-mct-ct20").glob("CT.*"))
    datasets = []
    for index, path in enumerate(paths):
        ds = dcmread(path)
        ds.StudyInstanceUID, ds.SeriesInstanceUID = "1.2.3.1", "1.2.3.3"
        ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", f"1.2.3.3.{index + 1}"
        datasets.append(ds)
    low = min(float(ds.ImagePositionPatient[2]) for ds in datasets)
    left, back = datasets[0].ImagePositionPatient[:2]
    pets = series(pet_plane, "1.2.3.2", 10, FrameOfReferenceUID=datasets[0].FrameOfReferenceUID)
    for index, ds in enumerate(pets):
        ds.ImagePositionPatient = [float(left) + 200, float(back) + 200, low + 4 * index]
    ct = loaded(choose([*save(tmp_path, datasets), *save(tmp_path, pets)])).ct

    assert ct.grid.shape == (20, 512, 512)
    assert ct.voxels.min() == -1024
    assert np.median(ct.voxels[ct.voxels > -500]) == pytest.approx(50, abs=100)


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.2"])
def test_implicit_and_big_endian_give_the_same_numbers(tmp_path, syntax):
    plain, other = tmp_path / "plain", tmp_path / "other"
    plain.mkdir()
    other.mkdir()
    first = loaded(
        choose(save(plain, [*series(pet_plane, "1.2.3.2"), *series(ct_plane, "1.2.3.3")]))
    )
    datasets = [*series(pet_plane, "1.2.3.2"), *series(ct_plane, "1.2.3.3")]
    for ds in datasets:
        ds.file_meta.TransferSyntaxUID = syntax
        if syntax.endswith(".2.2"):
            ds.PixelData = np.frombuffer(ds.PixelData, np.int16).byteswap().tobytes()
    second = loaded(choose(save(other, datasets)))

    assert np.array_equal(first.pet.voxels, second.pet.voxels)
    assert np.array_equal(first.ct.voxels, second.ct.voxels)


def test_truncated_pixels_are_refused(tmp_path):
    paths = save(tmp_path, [*series(pet_plane, "1.2.3.2"), *series(ct_plane, "1.2.3.3")])
    choice = choose(paths)
    paths[1].write_bytes(paths[1].read_bytes()[:-20])

    with pytest.raises(UnusableStudy, match="PIXELS_BAD"):
        loaded(choice)


def test_a_file_that_went_away_is_refused(tmp_path):
    paths = save(tmp_path, [*series(pet_plane, "1.2.3.2"), *series(ct_plane, "1.2.3.3")])
    choice = choose(paths)
    paths[1].unlink()

    with pytest.raises(UnusableStudy, match="PIXELS_BAD"):
        loaded(choice)
