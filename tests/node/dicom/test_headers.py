"""identify() files an instance by its top, or says why it cannot."""

from contextlib import suppress
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.config import disable_value_validation

from node.dicom.headers import identify, identify_file, is_uid
from node.errors import NotUnderstood
from tests.node.dicom.minimal import change, pet_plane


def part10(**changes):
    ds = pet_plane()
    change(ds, changes)
    file = BytesIO()
    ds.save_as(file, enforce_file_format=True)
    return file.getvalue()


def test_an_instance_is_identified():
    found = identify(part10())

    assert found.sop_class_uid == "1.2.840.10008.5.1.4.1.1.128"
    assert found.sop_instance_uid == "1.2.3.2.1"
    assert found.study_instance_uid == "1.2.3.1"
    assert found.series_instance_uid == "1.2.3.2"
    assert found.modality == "PT"
    assert found.transfer_syntax_uid == "1.2.840.10008.1.2.1"


def test_an_absent_modality_is_an_empty_text():
    assert identify(part10(Modality=None)).modality == ""


@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"])
@pytest.mark.parametrize(
    "uid", ["", "../../etc/passwd", "1.2/3", "1..2", ".1.2", "1.2.", "1", "1.2.a", "1." + "2" * 63]
)
def test_what_is_no_uid_is_refused_by_name(keyword, uid):
    with disable_value_validation():
        sent = part10(**{keyword: uid})

    with pytest.raises(NotUnderstood, match=keyword):
        identify(sent)


def test_leading_zeros_in_a_component_are_tolerated():
    assert identify(part10(StudyInstanceUID="1.2.003.04")).study_instance_uid == "1.2.003.04"


def test_a_uid_of_64_characters_is_the_longest():
    assert is_uid("1." + "2" * 62)
    assert not is_uid("1." + "2" * 63)


def test_the_pixels_and_all_below_the_identifiers_are_never_read():
    whole = part10()
    cut = whole[: whole.index(b"1.2.3.9")]

    assert identify(cut) == identify(whole)


def test_without_preamble_the_data_set_is_read_by_what_it_looks_like():
    ds = pet_plane()
    del ds.file_meta
    file = BytesIO()
    ds.save_as(file, implicit_vr=True, little_endian=True)
    found = identify(file.getvalue())

    assert found.sop_instance_uid == "1.2.3.2.1"
    assert found.transfer_syntax_uid == "1.2.840.10008.1.2"


@pytest.mark.parametrize("junk", [b"", b"\0" * 200, b"hello, world" * 50, b"\0" * 128 + b"DICM"])
def test_what_is_not_dicom_is_refused(junk):
    with pytest.raises(NotUnderstood):
        identify(junk)


def test_a_file_that_cannot_be_opened_is_refused(tmp_path):
    with pytest.raises(NotUnderstood, match="cannot read"):
        identify_file(tmp_path / "absent.dcm")


@pytest.mark.filterwarnings("ignore:.*VR.*:UserWarning:pydicom")  # what pydicom says of damage
@given(st.data())
def test_damaged_bytes_are_identified_or_refused_and_nothing_else(data):
    damaged = bytearray(part10())
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(0, 600))] = data.draw(st.integers(0, 255))
    with suppress(NotUnderstood):
        assert is_uid(identify(bytes(damaged)).sop_instance_uid)
