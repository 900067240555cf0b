"""A series read in place holds the numbers that pydicom's own pixels give, bit for bit."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from inference.resample import block_means
from inference.thorax import coarse_factors
from node.dicom import elements, rescale
from node.dicom.file_header import FileHeader
from node.dicom.native import NativePixels, ends_of
from node.dicom.series import choose
from node.dicom.stack import read_stack
from node.errors import UnusableStudy
from tests.node.dicom.minimal import ct_plane, pet_plane, save, series


def native(path) -> NativePixels | None:
    known = elements.find(path)
    return None if known is None else NativePixels.of(path, FileHeader(elements=known, memo={}))


def without_headers(image_series):
    """The same series, so that pydicom reads every file."""
    planes = tuple(replace(plane, header=None) for plane in image_series.planes)
    return replace(image_series, planes=planes)


def chosen(folder, cts, pets=None):
    return choose(save(folder, [*cts, *(pets or series(pet_plane, "1.2.3.2"))]))


def assert_same_stack(image_series):
    ours, theirs = read_stack(image_series), read_stack(without_headers(image_series))

    assert all(plane.header is not None for plane in image_series.planes)
    assert ours.voxels.tobytes() == theirs.voxels.tobytes()
    assert (ours.low, ours.high, ours.lossy) == (theirs.low, theirs.high, theirs.lossy)
    assert ours.grid == theirs.grid
    assert ours.dataset == theirs.dataset


@given(
    bits=st.integers(1, 16),
    sign=st.sampled_from([0, 1]),
    syntax=st.sampled_from([ExplicitVRLittleEndian, ImplicitVRLittleEndian]),
    seed=st.integers(0, 2**32 - 1),
    clean=st.booleans(),
)
@settings(max_examples=60)
def test_stored_values_are_pydicoms_whatever_stands_in_the_unused_bits(
    tmp_path_factory, bits, sign, syntax, seed, clean
):
    words = np.random.default_rng(seed).integers(0, 1 << (bits if clean else 16), (8, 8))
    dataset = ct_plane()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelRepresentation, dataset.BitsStored, dataset.HighBit = sign, bits, bits - 1
    dataset.PixelData = words.astype("<u2").tobytes()
    path = tmp_path_factory.getbasetemp() / "words.dcm"
    dataset.save_as(path, enforce_file_format=True)
    pixels = native(path)
    room = pixels.form.room(1)
    assert pixels.read(room[0])
    ends = pixels.form.ends(room)
    theirs = dcmread(path).pixel_array

    assert room.dtype == theirs.dtype
    assert room[0].tolist() == theirs.tolist()
    assert ends.tolist() == [[theirs.min(), theirs.max()]]


LEFT_TO_PYDICOM = {
    "compressed": lambda ds: ds.compress(RLELossless, generate_instance_uid=False),
    "one byte for each pixel": lambda ds: ds.__setattr__("BitsAllocated", 8),
    "colours": lambda ds: ds.__setattr__("SamplesPerPixel", 3),
    "a palette": lambda ds: ds.__setattr__("PhotometricInterpretation", "PALETTE COLOR"),
    "several frames": lambda ds: ds.__setattr__("NumberOfFrames", 2),
    "no number of bits": lambda ds: ds.__delattr__("BitsStored"),
    "no sign": lambda ds: ds.__delattr__("PixelRepresentation"),
    "no rows": lambda ds: ds.__setattr__("Rows", 0),
    "too few bytes": lambda ds: ds.__setattr__("Columns", 9),
    "too many bytes": lambda ds: ds.__setattr__("Columns", 7),
    "something behind them": lambda ds: ds.add_new(0xFFFCFFFC, "OB", b"\0\0"),
    "no pixels": lambda ds: ds.__delattr__("PixelData"),
}


@pytest.mark.parametrize("name", LEFT_TO_PYDICOM)
def test_not_read_in_place(tmp_path, name):
    dataset = ct_plane()
    LEFT_TO_PYDICOM[name](dataset)
    path = tmp_path / "odd.dcm"
    dataset.save_as(path, enforce_file_format=True)

    assert native(path) is None


def test_a_ct_with_padding_is_the_same_either_way(tmp_path):
    """Padding from -2000 to -1990, in a plane that has none as well, is air."""
    cts = series(ct_plane, "1.2.3.3", RescaleSlope=2, RescaleIntercept=-100)
    for index, dataset in enumerate(cts):
        words = np.arange(-32, 32, dtype=np.int16).reshape(8, 8) * 20
        words[0, :4] = [-2000, -1995, -1990, -1989] if index else 0
        dataset.PixelData = words.tobytes()
        dataset.add_new("PixelPaddingValue", "SS", -2000)
        dataset.add_new("PixelPaddingRangeLimit", "SS", -1990)
    choice = chosen(tmp_path, cts)

    assert_same_stack(choice.ct)
    assert read_stack(choice.ct).voxels[1, 0, :4].tolist() == [-1024, -1024, -1024, -1024]
    assert read_stack(choice.ct).low == 2 * -1989 - 100


def test_a_pet_with_a_slope_for_each_plane_is_the_same_either_way(tmp_path):
    pets = series(pet_plane, "1.2.3.2")
    for index, dataset in enumerate(pets):
        dataset.RescaleSlope = f"{0.1 + index / 3:.9f}"
        dataset.add_new(0x70530010, "LO", "Philips PET Private Group")
        dataset.add_new(0x70531000, "DS", "0.25")
    choice = chosen(tmp_path, series(ct_plane, "1.2.3.3"), pets)

    assert_same_stack(choice.pet)


@pytest.mark.parametrize("undefined", [False, True])
def test_planes_that_are_read_at_once_each_have_their_own_rule(tmp_path, undefined):
    """Slope, intercept, padding and a stray bit in some planes of twelve."""
    pets = series(pet_plane, "1.2.3.2", planes=12)
    for index, dataset in enumerate(pets):
        dataset.BitsStored, dataset.HighBit = 12, 11
        words = np.arange(64, dtype=np.int16).reshape(8, 8) + index
        if index == 3:
            words[0, 0] |= 1 << 14
        dataset.PixelData = words.tobytes()
        dataset.RescaleSlope = ("0.5", "1", "2.25")[index % 3]
        dataset.RescaleIntercept = "-7" if index == 5 else "0"
        if index in (4, 8):
            dataset.add_new("PixelPaddingValue", "SS", 10)
        dataset["RadiopharmaceuticalInformationSequence"].is_undefined_length = undefined
    choice = chosen(tmp_path, series(ct_plane, "1.2.3.3", planes=12), pets)
    stack = read_stack(choice.pet)

    assert_same_stack(choice.pet)
    assert stack.voxels[3, 0, 1] == (1 + 3) * 0.5
    assert stack.voxels[4, 0].tolist() == [4, 5, 6, 7, 8, 9, 0, 11]
    assert stack.voxels[5, 0, :3].tolist() == [5 * 2.25 - 7, 6 * 2.25 - 7, 7 * 2.25 - 7]


@pytest.mark.parametrize(("gone", "unscaled"), [(1, 3), (3, 1)])
def test_of_planes_that_are_read_at_once_the_first_is_what_is_refused(tmp_path, gone, unscaled):
    cts = series(ct_plane, "1.2.3.3")
    cts[unscaled].RescaleSlope = 0
    choice = chosen(tmp_path, cts)
    choice.ct.planes[gone].path.unlink()

    with pytest.raises(UnusableStudy) as refusal:
        read_stack(choice.ct)

    assert refusal.value.reason.code == ("PIXELS_BAD" if gone < unscaled else "CT_NOT_HU")


def test_a_series_that_is_compressed_in_part_is_read_in_the_order_of_its_planes(tmp_path):
    cts = series(ct_plane, "1.2.3.3")
    for dataset in cts[1:4:2]:
        dataset.compress(RLELossless, generate_instance_uid=False)
    choice = chosen(tmp_path, cts)

    assert read_stack(choice.ct).voxels[:, 0, 0].tolist() == [0, 1, 2, 3, 4]
    assert_same_stack(choice.ct)


@pytest.mark.parametrize("first", [True, False])
def test_what_comes_first_is_what_is_refused(tmp_path, first):
    """Plane 1 cannot be decoded and plane 3 has no slope, or the other way round."""
    cts = series(ct_plane, "1.2.3.3")
    unscaled, cut = (3, 1) if first else (1, 3)
    del cts[unscaled].RescaleSlope
    cts[cut].PixelData = cts[cut].PixelData[:-2]
    choice = chosen(tmp_path, cts)

    with pytest.raises(UnusableStudy) as refusal:
        read_stack(choice.ct)

    assert refusal.value.reason.code == ("PIXELS_BAD" if first else "CT_NOT_HU")


def test_a_file_that_was_written_again_is_read_again(tmp_path):
    """What was told of the old file, its slope and where its pixels lie, is not used."""
    choice = chosen(tmp_path, series(ct_plane, "1.2.3.3"))
    path = choice.ct.planes[2].path
    dataset = dcmread(path)
    dataset.RescaleSlope, dataset.ImageComments = 100, "longer than before"
    dataset.save_as(path.with_suffix(".new"))
    path.with_suffix(".new").replace(path)

    assert read_stack(choice.ct).voxels[:, 0, 0].tolist() == [0, 1, 200, 3, 4]


def test_a_file_that_is_gone_is_refused(tmp_path):
    choice = chosen(tmp_path, series(ct_plane, "1.2.3.3"))
    choice.ct.planes[2].path.unlink()

    with pytest.raises(UnusableStudy) as refusal:
        read_stack(choice.ct)

    assert refusal.value.reason.code == "PIXELS_BAD"


def test_planes_that_differ_are_refused_before_their_pixels_are_read(tmp_path):
    choice = chosen(tmp_path, series(ct_plane, "1.2.3.3"))
    odd = ct_plane(9)
    odd.Rows, odd.PixelData = 4, odd.PixelData[:64]
    path = tmp_path / "odd.dcm"
    odd.save_as(path, enforce_file_format=True)
    header = FileHeader(elements=elements.find(path), memo={})
    planes = (*choice.ct.planes[:4], replace(choice.ct.planes[4], path=path, header=header))

    with pytest.raises(UnusableStudy) as refusal:
        read_stack(replace(choice.ct, planes=planes))

    assert refusal.value.reason.code == "SLICES_DIFFER"


def test_more_planes_than_are_read_at_once_are_all_in_their_places(tmp_path):
    """Of 0.3 MB, 40 planes; the 18th has changed since, which pydicom reads alone."""
    cts = series(ct_plane, "1.2.3.3", planes=40)
    for index, dataset in enumerate(cts):
        dataset.Rows = dataset.Columns = 384
        dataset.PixelData = np.full((384, 384), index, np.int16).tobytes()
    choice = chosen(tmp_path, cts)
    changed = dcmread(choice.ct.planes[17].path)
    changed.PixelData = np.full((384, 384), 1000, np.int16).tobytes()
    changed.save_as(choice.ct.planes[17].path)

    voxels = read_stack(choice.ct).voxels

    assert voxels.min(axis=(1, 2)).tolist() == [*range(17), 1000, *range(18, 40)]
    assert voxels.max(axis=(1, 2)).tolist() == [*range(17), 1000, *range(18, 40)]


def test_a_plane_that_has_lost_its_place_since_it_was_chosen_is_refused(tmp_path):
    """Else the planes that are left would make a lattice that their voxels do not fit."""
    choice = chosen(tmp_path, series(ct_plane, "1.2.3.3"))
    changed = dcmread(choice.ct.planes[-1].path)
    del changed.ImagePositionPatient
    changed.save_as(choice.ct.planes[-1].path)

    with pytest.raises(UnusableStudy) as refusal:
        read_stack(choice.ct)

    assert refusal.value.reason.code == "GEOMETRY_ABSENT"


@given(
    slope=st.floats(1e-6, 1e4),
    intercept=st.floats(-1e5, 1e5),
    padding=st.none() | st.tuples(st.integers(-99, 99), st.integers(-99, 99)).map(sorted),
    kind=st.sampled_from([np.int8, np.uint8, np.int16, np.uint16, np.int32, np.float32]),
    least=st.sampled_from([-1024.0, -np.inf]),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_range_that_is_told_is_that_of_the_values(slope, intercept, padding, kind, least, seed):
    """Written out: product and sum in float32, padding replaced, then what is below raised."""
    assume(slope > 0)
    drawn = np.random.default_rng(seed).integers(0, 120, (5, 7))
    stored = (drawn - (60 if np.dtype(kind).kind != "u" else 0)).astype(kind)
    rule = rescale.Rule(
        slope=slope, intercept=intercept, padding=padding, stands_for=7.0, least=least
    )
    out = np.empty(stored.shape, np.float32)
    planes = stored[None]
    ends = rescale.apply([rule], planes, ends_of(planes), out=out[None])

    expected = (stored * np.float32(slope)).astype(np.float32) + np.float32(intercept)
    if padding is not None:
        expected[(stored >= padding[0]) & (stored <= padding[1])] = 7.0
    assert ends == (expected.min(), expected.max())
    assert out.tolist() == np.maximum(expected, np.float32(least)).tolist()


@given(
    intercepts=st.integers(-70000, 70000) | st.sampled_from([-1024.0, 0.0, 0.5]),
    padding=st.none() | st.tuples(st.integers(-2000, 70000), st.integers(-2000, 70000)).map(sorted),
    kind=st.sampled_from(["<i2", "<u2"]),
    width=st.sampled_from([10, 4096, 2**16]),
    least=st.sampled_from([-1024.0, -np.inf]),
    seed=st.integers(0, 2**32 - 1),
)
def test_whole_numbers_are_rescaled_in_place_to_what_they_are_as_floats(
    intercepts, padding, kind, width, least, seed
):
    rng = np.random.default_rng(seed)
    info = np.iinfo(kind)
    low = int(rng.integers(info.min, info.max + 2 - width)) if width < 2**16 else info.min
    stored = rng.integers(low, low + width, (3, 4, 5)).astype(kind)
    rule = rescale.Rule(
        slope=1.0, intercept=float(intercepts), padding=padding, stands_for=-1024.0, least=least
    )
    ends, out, before = ends_of(stored), np.empty(stored.shape, np.float32), stored.copy()
    expected_ends = rescale.apply([rule] * 3, before, ends, out=out)

    found = rescale.as_whole([rule] * 3, stored, ends)

    if found is None:
        assert stored.tolist() == before.tolist()
        assert intercepts == 0.5 or is_beyond_16_bits(ends, intercepts)
    else:
        whole, *its_ends = found
        assert whole.tolist() == out.tolist()
        assert tuple(its_ends) == expected_ends


def is_beyond_16_bits(ends, intercept):
    """Whether a value is, before padding and air are replaced, or the intercept itself."""
    values = (int(ends.min()) + intercept, int(ends.max()) + intercept, intercept)
    return min(values) < -(2**15) or max(values) >= 2**15


def test_planes_of_different_rules_are_no_whole_numbers_together():
    rule = rescale.Rule(slope=1.0, intercept=-1024.0, padding=None, stands_for=0.0, least=-1024.0)
    stored = np.arange(8, dtype="<i2").reshape(2, 2, 2)

    for other in (replace(rule, slope=2.0), replace(rule, intercept=-1000.0)):
        assert rescale.as_whole([rule, other], stored, ends_of(stored)) is None
    assert rescale.as_whole([rule, rule], stored, ends_of(stored)) is not None


def fine(folder, **attributes):
    """A CT of 8 x 8 voxels of 1 mm, 1 mm apart, in blocks of 4 mm; its PET lies where it does."""
    cts = series(ct_plane, "1.2.3.3", PixelSpacing=[1.0, 1.0], **attributes)
    pets = series(pet_plane, "1.2.3.2", PixelSpacing=[1.0, 1.0])
    for planes in (cts, pets):
        for index, dataset in enumerate(planes):
            dataset.ImagePositionPatient = [0, 0, index]
    for index, dataset in enumerate(cts):
        dataset.PixelData = (np.arange(64, dtype=np.int16) * 7 + index).tobytes()
    return chosen(folder, cts, pets).ct


def test_blocks_averaged_while_planes_are_read_are_those_of_the_volume(tmp_path):
    stack = read_stack(fine(tmp_path), averaged=True)

    assert stack.means.of is stack.voxels
    assert stack.means.factors[1:] == (4, 4)
    assert stack.means.factors == coarse_factors(stack.grid.shape, stack.grid.spacing)
    expected = block_means(stack.voxels, stack.means.factors)
    assert stack.means.means.tobytes() == expected.tobytes()


@pytest.mark.parametrize("attributes", [{"RescaleSlope": 0.5}, {"RescaleIntercept": 0.5}])
def test_blocks_of_broken_numbers_are_not_averaged_on_the_way(tmp_path, attributes):
    assert read_stack(fine(tmp_path, **attributes), averaged=True).means is None


def test_blocks_that_pydicom_reads_are_not_averaged_on_the_way(tmp_path):
    series_of_ct = without_headers(fine(tmp_path))

    assert read_stack(series_of_ct, averaged=True).means is None
