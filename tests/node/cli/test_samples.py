"""The samples in the documentation are what the command makes, and hold no person."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.uid import JPEGLSLossless

from node.cli import main

ROOT = Path(__file__).resolve().parents[3]
COMMITTED = ROOT / "docs" / "samples"
KINDS = {
    "1.2.840.10008.5.1.4.1.1.88.34",  # Comprehensive 3D SR
    "1.2.840.10008.5.1.4.1.1.66.4",  # Segmentation
    "1.2.840.10008.5.1.4.1.1.7",  # Secondary Capture
    "1.2.840.10008.5.1.4.1.1.88.59",  # Key Object Selection
    "1.2.840.10008.5.1.4.1.1.30",  # Parametric Map
}

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("samples")]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("samples")
    arguments = ["--out", str(folder / "out"), "--images", str(folder / "images")]
    assert main(["samples", *arguments]) == 0
    return folder


def uids(folder):
    """Of every file: SOP instance, class, series, study, and the tracking UIDs it holds."""
    found = {}
    for path in folder.rglob("*.dcm"):
        ds = dcmread(path)
        tracking = [e.value for e in ds.iterall() if e.keyword == "TrackingUID"]
        identity = (ds.SOPInstanceUID, ds.SOPClassUID, ds.SeriesInstanceUID, ds.StudyInstanceUID)
        found[str(path.relative_to(folder))] = (*identity, *tracking)
    return found


def test_the_command_makes_what_is_here(made):
    """Should it differ: petct-node samples --out docs/samples."""
    assert uids(made / "out") == uids(COMMITTED)


def test_every_kind_of_object_is_among_them():
    assert {identity[1] for identity in uids(COMMITTED).values()} >= KINDS


def test_the_table_names_every_object_with_its_uid():
    text = (COMMITTED / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \[([^\]]+)\]\([^)]+\) \|.*\| (2\.25\.\d+) \|$", text, re.MULTILINE)

    assert dict(rows) == {name: identity[0] for name, identity in uids(COMMITTED).items()}


def test_they_are_small_and_of_phantoms():
    files = [path for path in COMMITTED.rglob("*") if path.is_file()]

    assert sum(path.stat().st_size for path in files) < 3_000_000
    assert {dcmread(p).PatientID.split("-")[0] for p in COMMITTED.rglob("*.dcm")} == {"PHANTOM"}


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("positive", "ANALYZED"),
        ("several", "ANALYZED"),
        ("negative", "373572006"),  # Clinical finding absent
        ("refused", "NOT_ANALYZABLE"),
        ("superseded", "ANALYZED"),
    ],
)
def test_each_report_says_what_its_study_came_to(name, code):
    report = dcmread(COMMITTED / name / "sr.dcm")

    assert code in {element.value for element in report.iterall() if element.keyword == "CodeValue"}


def test_the_later_version_names_the_earlier_report_and_rejects_all_its_objects():
    known = uids(COMMITTED)
    report = dcmread(COMMITTED / "superseded" / "sr.dcm")
    rejection = dcmread(COMMITTED / "superseded" / "rejection.dcm")
    (study,) = report.PredecessorDocumentsSequence
    earlier = {
        one.ReferencedSOPInstanceUID
        for series in study.ReferencedSeriesSequence
        for one in series.ReferencedSOPSequence
    }
    rejected = {
        one.ReferencedSOPInstanceUID
        for item in rejection.ContentSequence
        for one in item.get("ReferencedSOPSequence", [])
    }

    assert known["positive/sr.dcm"][0] in earlier
    assert rejected >= {known[f"positive/{file}.dcm"][0] for file in ("sr", "seg", "key-image")}


def test_the_images_that_they_refer_to_are_written_where_asked(made):
    report = dcmread(made / "out" / "positive" / "sr.dcm")
    cited = {
        one.ReferencedSOPInstanceUID
        for study in report.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for one in series.ReferencedSOPSequence
        if one.ReferencedSOPClassUID.name.endswith("Image Storage")
    }
    images = (made / "images" / "positive").glob("*.dcm")

    assert cited == {dcmread(path, stop_before_pixels=True).SOPInstanceUID for path in images}


def test_a_large_object_is_compressed_without_loss(made):
    """The picture beside it was made of the same object."""
    folder = made / "out" / "positive"
    compressed = dcmread(folder / "key-image.dcm")

    assert compressed.file_meta.TransferSyntaxUID == JPEGLSLossless
    assert np.array_equal(compressed.pixel_array, np.asarray(Image.open(folder / "key-image.png")))
