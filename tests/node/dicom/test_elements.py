"""What is told of a file without a data set is what pydicom tells, or nothing at all."""

import random
import struct
import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from node.dicom import elements
from node.dicom.attributes import UNREADABLE, items, numbers, texts, value
from node.dicom.file_header import FileHeader, only
from tests.node.dicom.minimal import ct_plane, pet_plane

SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)


def written(dataset: Dataset, syntax=ExplicitVRLittleEndian, *, undefined: bool = False) -> bytes:
    dataset.file_meta.TransferSyntaxUID = syntax
    for element in dataset:
        if element.VR == "SQ":
            element.is_undefined_length = undefined
            for item in element.value:
                item.is_undefined_length_sequence_item = undefined
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def filed(folder: Path, content: bytes) -> Path:
    path = folder / "file.dcm"
    path.write_bytes(content)
    return path


def found(folder: Path, content: bytes) -> elements.Elements | None:
    return elements.find(filed(folder, content))


def header_of(path: Path, memo=None) -> FileHeader:
    known = elements.find(path)
    assert known is not None
    return FileHeader(elements=known, memo={} if memo is None else memo)


def assert_told_alike(path: Path, told: elements.Elements, *, private: bool = True) -> None:
    """Every element up to the pixels, by its bytes and by its value."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = dcmread(path, stop_before_pixels=True, force=True)
        assert list(told.layout.by_tag) == sorted(map(int, theirs.keys()))
        ours = FileHeader(elements=told, memo={})
        for tag in told.layout.by_tag:
            keyword = keyword_for_tag(tag)
            if keyword:
                assert texts(ours, keyword) == texts(theirs, keyword), keyword
                assert numbers(ours, keyword) == numbers(theirs, keyword), keyword
                assert shown(value(ours, keyword)) == shown(value(theirs, keyword)), keyword
                assert len(items(ours, keyword)) == len(items(theirs, keyword)), keyword
        if private:
            assert shown(ours.data_set()) == shown(theirs)


def shown(told: object) -> str:
    """All of a value with all that it holds, or why it cannot be shown."""
    try:
        lines = str(told).splitlines()
    except (NotImplementedError, *UNREADABLE) as error:  # what pydicom raises of odd real files
        return f"{type(error).__name__} {error}"
    return "\n".join(line for line in lines if not line.startswith(("Dataset.", "(0002,", "-----")))


def test_pydicom_tells_the_same_of_every_real_file(test_data):
    """Of most of them we are sure; those we are not sure of are left to it."""
    files = [path for path in sorted(test_data.rglob("*")) if path.is_file()]
    sure, met = 0, elements.Layouts()
    for path in files:
        told = elements.find(path, met)
        if told is not None:
            assert_told_alike(path, told, private=sure % 5 == 0)
            sure += 1

    assert sure > 400


@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("syntax", SYNTAXES, ids=["explicit", "implicit"])
def test_a_plane_is_told_in_either_syntax_and_either_kind_of_sequence(tmp_path, syntax, undefined):
    path = filed(tmp_path, written(pet_plane(3), syntax, undefined=undefined))
    told = elements.find(path)

    assert_told_alike(path, told)
    start, end = told.layout.pixels
    assert path.read_bytes()[start:end] == np.full((8, 8), 3, np.int16).tobytes()


VALUES = {
    "PatientID": st.text(st.characters(codec="utf-8", exclude_characters="\\\0"), max_size=40),
    "ImageType": st.lists(st.sampled_from(["ORIGINAL", "PRIMARY", " AXIAL", ""]), max_size=4),
    "PatientWeight": st.floats(-1e4, 1e4, allow_nan=False).map(lambda x: f"{x:.6g}"),
    "ImagePositionPatient": st.lists(
        st.sampled_from(["1", "-2.5", " 3e2", "+.5", "-0", "1E-3 ", "x", "", "1e400"]), max_size=4
    ).map("\\".join),
    "InstanceNumber": st.sampled_from(["1", "007", " 12 ", "-3", "+4", "1.0", "9" * 12, ""]),
    "AcquisitionTime": st.sampled_from(["101500", "101500.25", "10:15:00", "", " 10"]),
    "FrameOfReferenceUID": st.sampled_from(["1.2.3", "1.2.3.4", "1..2", "", "not a uid"]),
    "PixelPaddingValue": st.integers(0, 2**15 - 1),
}


@given(
    told=st.fixed_dictionaries({}, optional=VALUES),
    character_set=st.sampled_from([None, "ISO_IR 100", "ISO_IR 192"]),
    syntax=st.sampled_from(SYNTAXES),
    undefined=st.booleans(),
)
@settings(max_examples=150)
def test_any_value_is_told_as_pydicom_tells_it(
    tmp_path_factory, told, character_set, syntax, undefined
):
    dataset = pet_plane()
    if character_set is not None:
        dataset.SpecificCharacterSet = character_set
    if "PatientID" in told:
        encoding = {"ISO_IR 100": "latin-1", "ISO_IR 192": "utf-8"}.get(character_set, "ascii")
        told["PatientID"] = told["PatientID"].encode(encoding, "replace").decode(encoding)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for keyword, its in told.items():
            dataset.add_new(keyword, raw_vr(keyword), its)
        content = written(dataset, syntax, undefined=undefined)
        if syntax == ExplicitVRLittleEndian:
            for keyword in told:
                content = content.replace(head(keyword, raw_vr(keyword)), head(keyword))
        path = filed(tmp_path_factory.getbasetemp(), content)
        known = elements.find(path)

        assert known is not None
        assert_told_alike(path, known)


def head(keyword: str, vr: str | None = None) -> bytes:
    """The first bytes of an element in explicit VR."""
    tag = tag_for_keyword(keyword)
    own = "SS" if keyword == "PixelPaddingValue" else dictionary_VR(tag)
    return struct.pack("<HH", tag >> 16, tag & 0xFFFF) + (vr or own).encode()


def raw_vr(keyword: str) -> str:
    """A VR that lets any text through for those whose own would be refused when written."""
    return {"PixelPaddingValue": "US", "PatientID": "LO", "ImageType": "CS"}.get(keyword, "LO")


@given(seed=st.integers(0, 2**32 - 1), syntax=st.sampled_from(SYNTAXES), undefined=st.booleans())
@settings(max_examples=150)
def test_what_is_told_of_damaged_bytes_is_what_pydicom_tells(
    tmp_path_factory, seed, syntax, undefined
):
    chance = random.Random(seed)
    content = bytearray(written(pet_plane(), syntax, undefined=undefined))
    for _ in range(chance.randint(1, 4)):
        content[chance.randrange(132, len(content) - 128)] = chance.choice((0, 1, 65, 255))
    if chance.random() < 0.3:
        del content[chance.randrange(140, len(content)) :]
    path = filed(tmp_path_factory.getbasetemp(), bytes(content))
    told = elements.find(path)

    if told is not None:
        assert_told_alike(path, told)


LAID_OUT = {
    "as it was": lambda content: content,
    "with other values": lambda content: content.replace(b"1.2.3.2", b"1.2.3.9"),
    "in another transfer syntax of explicit VR": lambda content: content.replace(
        b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0"
    ),
    "in one that nobody knows": lambda content: content.replace(
        b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.9.9\0"
    ),
    "with another Value Representation": lambda content: content.replace(
        b"\x10\x00\x30\x10DS", b"\x10\x00\x30\x10IS"
    ),
    "with another tag": lambda content: content.replace(
        b"\x10\x00\x30\x10DS", b"\x10\x00\x20\x10DS"
    ),
    "with a longer value": lambda content: content.replace(
        b"\x10\x00\x30\x10DS\x04\x0070.0", b"\x10\x00\x30\x10DS\x06\x0070.125"
    ),
    "without pixels": lambda content: content[: content.index(b"\xe0\x7f\x10\x00")],
    "cut short within the header": lambda content: content[:600],
    "cut short within the pixels": lambda content: content[:-50],
    "with something behind it": lambda content: content + b"more",
    "without preamble": lambda content: content[132:],
}


@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("name", LAID_OUT)
def test_of_a_file_like_one_before_the_same_is_told_as_of_the_file_alone(tmp_path, name, undefined):
    met = elements.Layouts()
    before = written(pet_plane(), undefined=undefined)
    elements.find(filed(tmp_path, before), met)
    after = LAID_OUT[name](before)
    path = filed(tmp_path, after)

    assert (after == before) is (name == "as it was")
    assert parts(elements.find(path, met)) == parts(elements.find(path))


@given(seed=st.integers(0, 2**32 - 1), syntax=st.sampled_from(SYNTAXES), undefined=st.booleans())
@settings(max_examples=150)
def test_damage_is_seen_in_a_file_like_one_before(tmp_path_factory, seed, syntax, undefined):
    folder, chance, met = tmp_path_factory.getbasetemp(), random.Random(seed), elements.Layouts()
    content = bytearray(written(pet_plane(), syntax, undefined=undefined))
    elements.find(filed(folder, bytes(content)), met)
    end = content.index(b"\xe0\x7f\x10\x00") + 12
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(128, end)
        content[at] = chance.choice((0, 1, 65, 83, 255, content[at] ^ 1))
    path = filed(folder, bytes(content))

    assert parts(elements.find(path, met)) == parts(elements.find(path))


@pytest.mark.parametrize("undefined", [False, True])
def test_files_of_one_layout_are_walked_through_once(tmp_path, undefined):
    met = elements.Layouts()
    first = elements.find(filed(tmp_path, written(pet_plane(1), undefined=undefined)), met)
    second = elements.find(filed(tmp_path, written(pet_plane(2), undefined=undefined)), met)

    assert second.layout is first.layout
    assert second.data != first.data


def parts(told: elements.Elements | None) -> tuple[object, ...] | None:
    if told is None:
        return None
    place = (told.layout.start, told.layout.pixels, told.stamp, told.data)
    return (
        told.layout.transfer_syntax_uid,
        told.layout.implicit,
        *place,
        dict(told.layout.by_tag),
        [*told.layout.by_tag],
    )


def big_endian() -> bytes:
    dataset = ct_plane()
    del dataset.PixelData
    return written(dataset, ExplicitVRBigEndian)


def out_of_order() -> bytes:
    content = written(ct_plane())
    study = content.index(b"\x20\x00\x0d\x00UI")
    series = content.index(b"\x20\x00\x0e\x00UI")
    after = content.index(b"\x20\x00\x32\x00DS")
    return content[:study] + content[series:after] + content[study:series] + content[after:]


def twice() -> bytes:
    content = written(ct_plane())
    modality = content.index(b"\x08\x00\x60\x00CS")
    return content[:modality] + content[modality : modality + 10] + content[modality:]


def with_element(encoded: bytes) -> bytes:
    content = written(ct_plane())
    at = content.index(b"\x20\x00\x0d\x00UI")
    return content[:at] + encoded + content[at:]


UNSURE = {
    "no preamble": lambda: written(ct_plane())[132:],
    "no file": lambda: b"",
    "text": lambda: b"not DICOM at all" * 20,
    "deflated": lambda: written(ct_plane(), DeflatedExplicitVRLittleEndian),
    "big endian": big_endian,
    "an unknown transfer syntax": lambda: written(ct_plane()).replace(
        b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.9.9.9\0"
    ),
    "an unknown VR": lambda: written(ct_plane()).replace(
        b"\x08\x00\x60\x00CS", b"\x08\x00\x60\x00cs"
    ),
    "elements out of order": out_of_order,
    "an element twice": twice,
    "the end within a value": lambda: written(ct_plane())[:400],
    "a UN of undefined length": lambda: with_element(b"\x09\x00\x01\x10UN\0\0\xff\xff\xff\xff"),
    "a stray item": lambda: with_element(b"\xfe\xff\x00\xe0\0\0\0\0"),
}


@pytest.mark.parametrize("name", UNSURE)
def test_nothing_is_told_of(tmp_path, name):
    assert found(tmp_path, UNSURE[name]()) is None


def test_a_file_that_cannot_be_read_is_not_told_of(tmp_path):
    assert elements.find(tmp_path / "absent") is None
    assert elements.find(tmp_path) is None


def test_a_header_of_some_hundred_kilobytes_is_read_and_one_of_megabytes_is_left(tmp_path):
    for size, sure in ((10_000, True), (500_000, True), (2_000_000, False)):
        dataset = ct_plane()
        dataset.add_new(0x00091010, "OB", bytes(size))
        path = filed(tmp_path, written(dataset))
        told = elements.find(path)

        assert (told is not None) is sure
        if told is not None:
            assert_told_alike(path, told)


def test_a_value_is_decoded_once_for_all_files_that_hold_its_bytes(tmp_path):
    memo = {}
    first = header_of(filed(tmp_path, written(pet_plane(0))), memo)
    second = header_of(filed(tmp_path, written(pet_plane(1))), memo)
    sequence = "RadiopharmaceuticalInformationSequence"

    assert first.get(sequence) is second.get(sequence)
    assert first.get("ImagePositionPatient") != second.get("ImagePositionPatient")


def test_the_same_bytes_in_another_character_set_are_another_text(tmp_path):
    """0xE4 0xF6 is two letters in Latin 1, and two others in Cyrillic."""
    memo = {}
    told = []
    for character_set in ("ISO_IR 100", "ISO_IR 144"):
        dataset = ct_plane()
        dataset.SpecificCharacterSet = character_set
        dataset.add_new("PatientID", "OB", b"\xe4\xf6")
        content = written(dataset).replace(
            b"\x10\x00\x20\x00OB\0\0" + struct.pack("<L", 2), b"\x10\x00\x20\x00LO\x02\x00"
        )
        told.append(texts(header_of(filed(tmp_path, content), memo), "PatientID"))

    assert told == [("\u00e4\u00f6",), ("\u0444\u0456",)]


def test_the_same_bytes_with_another_sign_are_another_number(tmp_path):
    """Pixel Padding Value is US or SS, in implicit VR by Pixel Representation."""
    memo = {}
    told = []
    for sign in (0, 1):
        dataset = ct_plane()
        dataset.PixelRepresentation = sign
        dataset.add_new("PixelPaddingValue", "US", 63536)
        path = filed(tmp_path, written(dataset, ImplicitVRLittleEndian))
        told.append(numbers(header_of(path, memo), "PixelPaddingValue"))

    assert told == [(63536,), (-2000,)]


def test_a_header_may_tell_some_attributes_only(tmp_path):
    path = filed(tmp_path, written(ct_plane()))
    known = elements.find(path)
    header = FileHeader(elements=known, tags=only(["Modality"]), memo={})

    assert texts(header, "Modality") == ("CT",)
    assert texts(header, "SOPClassUID") == ()
    assert texts(header.full, "SOPClassUID") == ("1.2.840.10008.5.1.4.1.1.2",)
    assert header.full.get("NoKeywordOfTheStandard") is None


def test_encapsulated_pixels_have_no_place(tmp_path):
    dataset = ct_plane()
    dataset.compress(RLELossless, generate_instance_uid=False)
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    told = found(tmp_path, buffer.getvalue())

    assert told is not None
    assert told.layout.pixels is None
    assert_told_alike(tmp_path / "file.dcm", told)
