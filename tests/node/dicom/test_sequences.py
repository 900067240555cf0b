"""Sequences are encoded byte for byte as pydicom encodes them, or left to it."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.tag import Tag
from pydicom.valuerep import DT

from node.dicom.sequences import certain

TAG = 0x0040A730  # Content Sequence
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\\\x00"), max_size=9)
ASCII = st.text(st.characters(min_codepoint=65, max_codepoint=90), max_size=9)
DECIMAL = st.one_of(
    st.integers(-9999, 9999), st.floats(-999, 999, width=16), st.sampled_from(("1.50", "-2e3", ""))
)
VALUES = {
    "LO": TEXT,
    "SH": TEXT,
    "UT": TEXT,
    "UC": TEXT,
    "PN": ASCII,
    "CS": ASCII,
    "UI": st.sampled_from(("", "1.2", "1.2.3")),
    "DA": st.sampled_from(("", "20260102")),
    "DT": st.sampled_from(("20260102030405", DT(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)))),
    "DS": DECIMAL,
    "IS": st.integers(-9999, 9999),
    "US": st.integers(0, 65535),
    "UL": st.integers(0, 2**32 - 1),
    "SL": st.integers(-(2**31), 2**31 - 1),
    "SS": st.integers(-9, 9),
    "FL": st.floats(-9, 9, width=32),
    "FD": st.floats(-9, 9),
    "OB": st.binary(max_size=9),
    "AT": st.sampled_from((0x00080018, 0x0020000D)),
}


@st.composite
def items(draw, depth=2):
    """An item with elements of every kind under tags of a private block."""
    item = Dataset()
    for number in range(draw(st.integers(0, 6))):
        tag = 0x00110000 + 2 * number + 2
        if depth and draw(st.booleans()):
            item.add(DataElement(tag, "SQ", draw(st.lists(items(depth=depth - 1), max_size=3))))
            continue
        vr = draw(st.sampled_from(sorted(VALUES)))
        value = draw(VALUES[vr])
        if vr not in {"OB", "UT", "PN"} and draw(st.booleans()):
            value = [value, draw(VALUES[vr])]
        item.add(DataElement(tag, vr, value))
    return item


def holding(*its):
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.PatientName = "not a sequence"
    dataset.add(DataElement(TAG, "SQ", list(its)))
    return dataset


def by_pydicom(dataset):
    alone = Dataset()
    alone.add(dataset[TAG])
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_dataset(buffer, alone, "ISO_IR 192")
    return buffer.getvalue()


@settings(max_examples=200, deadline=None)
@given(st.lists(items(), max_size=4))
def test_whatever_an_item_holds_its_bytes_are_those_of_pydicom(its):
    dataset = holding(*its)

    assert certain(dataset) == {TAG: by_pydicom(dataset)}


def test_an_item_as_it_was_read_is_encoded_as_it_would_be_by_pydicom():
    item = Dataset()
    raw = RawDataElement(
        Tag("CodeMeaning"), "LO", 4, b"Lung", 0, is_implicit_VR=False, is_little_endian=True
    )
    item[raw.tag] = raw

    assert certain(holding(item)) == {TAG: by_pydicom(holding(item))}


def test_text_that_is_longer_than_its_length_can_tell_is_left_to_pydicom():
    """pydicom then writes UN, which has a length of four bytes (PS3.5 6.2.2)."""
    item = Dataset()
    item.add(DataElement(0x00110002, "LT", "x" * 70000))

    with pytest.warns(UserWarning, match="exceeds the size of 64 kByte"):
        expected = by_pydicom(holding(item))
    with pytest.warns(UserWarning, match="exceeds the size of 64 kByte"):
        assert certain(holding(item)) == {TAG: expected}


def _of_another_character_set(item):
    item.SpecificCharacterSet = "ISO_IR 100"


def _of_a_vr_that_its_surroundings_tell(item):
    item.add(DataElement("SmallestImagePixelValue", "US or SS", 5))


def _of_undefined_length(item):
    item.is_undefined_length_sequence_item = True


def _with_a_sequence_of_undefined_length(item):
    element = DataElement(0x00110002, "SQ", [])
    element.is_undefined_length = True
    item.add(element)


@pytest.mark.parametrize(
    "make",
    [
        _of_another_character_set,
        _of_a_vr_that_its_surroundings_tell,
        _of_undefined_length,
        _with_a_sequence_of_undefined_length,
    ],
)
def test_an_item_that_needs_more_than_itself_leaves_its_sequence_to_pydicom(make):
    item = Dataset()
    make(item)
    dataset = holding(item)
    dataset.add(DataElement(0x00081115, "SQ", [Dataset()]))

    assert set(certain(dataset)) == {0x00081115}
