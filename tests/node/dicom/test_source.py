"""What is taken over from source images is Unicode and valid, or left out."""

import io

import pytest
from pydicom import dcmread
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset

from node.dicom import results, source
from tests import made_study


def header_of(folder, **elements: bytes):
    """Read a header that holds these bytes, as a scanner wrote them and pydicom would not."""
    elements = {
        "SOPClassUID": made_study.CT_CLASS.encode(),
        "SOPInstanceUID": b"2.25.7",
        "Modality": b"CT",
        "StudyInstanceUID": b"2.25.5",
        "SeriesInstanceUID": b"2.25.6",
        **elements,
    }
    stream = b""
    for keyword, value in sorted(elements.items(), key=lambda item: tag_for_keyword(item[0])):
        tag = tag_for_keyword(keyword)
        padded = value + b" " * (len(value) % 2)
        stream += (tag >> 16).to_bytes(2, "little") + (tag & 0xFFFF).to_bytes(2, "little")
        stream += dictionary_VR(tag).encode() + len(padded).to_bytes(2, "little") + padded
    path = folder / "header.dcm"
    path.write_bytes(stream)
    return source.read_header(path)


@pytest.mark.parametrize(
    ("charset", "name", "decoded"),
    [
        ("ISO_IR 100", "Müller^Jörg".encode("latin-1"), "Müller^Jörg"),
        ("ISO_IR 144", "Жданов".encode("iso8859_5"), "Жданов"),
        ("GB18030", "Wang^XiaoDong=王^小东".encode("gb18030"), "Wang^XiaoDong=王^小东"),
        (
            # PS3.5 H.3.1
            "\\ISO 2022 IR 87",
            b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
            "Yamada^Tarou=山田^太郎=やまだ^たろう",
        ),
        ("ISO_IR 192", "김^희중".encode(), "김^희중"),
    ],
)
def test_a_name_in_any_character_set_becomes_unicode(tmp_path, charset, name, decoded):
    header = header_of(tmp_path, SpecificCharacterSet=charset.encode(), PatientName=name)

    assert str(header.PatientName) == decoded


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PatientBirthDate", b"1960-01-01"),
        ("PatientBirthDate", b"19601301"),
        ("PatientSex", b"female"),
        ("StudyTime", b"2500"),
        ("PatientAge", b"66"),
        ("PatientWeight", b"seventy"),
        ("TimezoneOffsetFromUTC", b"CET"),
    ],
)
def test_a_value_that_breaks_its_vr_is_left_out(tmp_path, keyword, value):
    assert keyword not in header_of(tmp_path, **{keyword: value})


def test_text_that_is_too_long_is_cut_but_identifiers_are_not(tmp_path):
    """A Patient ID of 70 characters breaks VR LO, but cut to 64 it is another patient."""
    header = header_of(tmp_path, PatientID=b"1" * 70, StudyDescription=b"d" * 70)

    assert header.PatientID == "1" * 70
    assert header.StudyDescription == "d" * 64


def test_a_patient_id_that_breaks_its_vr_reaches_the_report_as_it_came(tmp_path):
    made = made_study.study(tmp_path)
    with source.tolerant():
        for path in made.choice.ct.paths[:1]:
            ds = dcmread(path)
            ds.PatientID = "1" * 70
            ds.save_as(path)

    (report,) = results.refused(
        made.choice.ct.paths[:1], [], equipment=made_study.EQUIPMENT, key="k", when=made_study.WHEN
    )

    with source.tolerant():
        assert dcmread(io.BytesIO(report.part10)).PatientID == "1" * 70


def test_what_one_header_lacks_another_of_the_same_patient_tells():
    ct, pet, stranger = Dataset(), Dataset(), Dataset()
    ct.PatientID = pet.PatientID = "P1"
    stranger.PatientID = "P2"
    pet.PatientWeight, stranger.StudyID = "70", "S9"

    merged = source.subject([ct, pet, stranger])

    assert merged.PatientWeight == 70
    assert merged.StudyID == ""
    assert "PatientWeight" not in ct


def test_a_patient_without_identity_has_a_deidentification_method():
    """Type 1C (PS3.3 C.7.1.1); the commonest error of published reports copies YES alone."""
    header = Dataset()
    header.PatientIdentityRemoved = "YES"

    assert source.subject([header]).DeidentificationMethod


def test_a_file_that_is_no_instance_gives_no_header(tmp_path):
    path = tmp_path / "letter.txt"
    path.write_text("Dear colleague")

    assert source.read_header(path) is None
    assert source.read_header(tmp_path / "absent") is None


@pytest.mark.parametrize(
    "absent", ["PatientBirthDate", "PatientSex", "StudyID", "AccessionNumber", "PatientName"]
)
def test_a_source_without_a_type_2_attribute_still_gets_a_report(tmp_path, absent):
    made = made_study.study(tmp_path, **{absent: None})

    objects = made_study.analyzed(made, key_image=False)

    for one in objects:
        assert dcmread(io.BytesIO(one.part10))[absent].is_empty
