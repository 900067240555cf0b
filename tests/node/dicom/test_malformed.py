"""Odd and malformed files are taken or refused, and never break anything."""

from pathlib import Path

import pytest

from node.dicom.headers import identify
from node.dicom.series import choose, studies
from node.errors import NotUnderstood, UnusableStudy

REFUSED = {
    "DICOMDIR",
    "DICOMDIR-bigEnd",
    "DICOMDIR-empty.dcm",
    "DICOMDIR-implicit",
    "DICOMDIR-nooffset",
    "DICOMDIR-nopatient",
    "DICOMDIR-reordered",
    "LICENCE.txt",
    "UN_sequence.dcm",
    "empty_charset_LEI.dcm",
    "meta_missing_tsyntax.dcm",
    "nested_priv_SQ.dcm",
    "no_meta.dcm",
    "no_meta_group_length.dcm",
    "priv_SQ.dcm",
    "zipMR.gz",
}
TRANSFER_SYNTAXES = {
    "ExplVR_BigEnd.dcm": "1.2.840.10008.1.2.2",
    "ExplVR_BigEndNoMeta.dcm": "1.2.840.10008.1.2.2",
    "ExplVR_LitEndNoMeta.dcm": "1.2.840.10008.1.2.1",
    "image_dfl.dcm": "1.2.840.10008.1.2.1.99",
    "J2K_pixelrep_mismatch.dcm": "1.2.840.10008.1.2.4.90",
    "rtplan_truncated.dcm": "1.2.840.10008.1.2",
    "rtstruct.dcm": "1.2.840.10008.1.2",
}


@pytest.fixture
def odd(test_data) -> Path:
    return test_data / "pydicom-odd-and-malformed"


def test_exactly_those_without_the_four_uids_are_refused(odd):
    refused = set()
    for path in odd.iterdir():
        try:
            identify(path.read_bytes())
        except NotUnderstood:
            refused.add(path.name)

    assert refused == REFUSED


@pytest.mark.parametrize(("name", "transfer_syntax_uid"), TRANSFER_SYNTAXES.items())
def test_odd_encodings_are_told(odd, name, transfer_syntax_uid):
    assert identify((odd / name).read_bytes()).transfer_syntax_uid == transfer_syntax_uid


def test_every_prefix_of_a_file_is_identified_or_refused(odd):
    whole = (odd / "MR_truncated.dcm").read_bytes()
    outcomes = set()
    for length in range(0, 1200, 7):
        try:
            outcomes.add(identify(whole[:length]).sop_instance_uid)
        except NotUnderstood:
            outcomes.add(None)

    assert outcomes == {None, identify(whole).sop_instance_uid}


def test_a_folder_of_them_yields_studies_and_each_study_a_coded_reason(odd):
    found = studies(sorted(odd.iterdir()))

    assert sum(map(len, found.values())) == len(list(odd.iterdir())) - len(REFUSED)
    for paths in found.values():
        with pytest.raises(UnusableStudy) as refusal:
            choose(paths)
        assert refusal.value.reason.code == "PET_MISSING"


def test_every_set_of_real_data_is_chosen_or_refused_with_a_code(test_data):
    codes = {}
    for uid, paths in studies([p for p in test_data.rglob("*") if p.is_file()]).items():
        try:
            codes[uid] = choose(paths).pet.modality
        except UnusableStudy as refusal:
            codes[uid] = refusal.reason.code

    assert sorted(set(codes.values())) == ["PET_DYNAMIC", "PET_MISSING", "PT", "TRACER_NOT_FDG"]
    assert list(codes.values()).count("PT") == 3
