"""The main job against a real PACS: Orthanc routes, the node analyses, Orthanc holds results."""

import time
from collections import Counter
from contextlib import contextmanager
from datetime import UTC, datetime
from io import BytesIO

import pytest
from pydicom import dcmread

from inference.phantom import draw, random_phantom
from inference.scanner import SCANNERS
from node.bootstrap import running_node
from node.config import Peer, settings_from
from node.dicom import acquire
from node.net import scu
from tests import made_study
from tests.end_to_end import orthanc

PARAMETRIC_MAP = "1.2.840.10008.5.1.4.1.1.30"

pytestmark = [
    pytest.mark.associations,
    pytest.mark.slow,
    pytest.mark.skipif(orthanc.EXECUTABLE is None, reason="Orthanc is not installed"),
]


@contextmanager
def node_beside_orthanc(tmp_path, free_ports, **sections):
    node_port = free_ports()
    pacs = orthanc.Orthanc(
        tmp_path / "orthanc", http_port=free_ports(), dicom_port=free_ports(), node_port=node_port
    )
    peer = {"ae_title": "TESTPACS", "host": "127.0.0.1", "port": pacs.dicom_port}
    settings = settings_from(
        {
            "listener": {"port": node_port, "calling_ae_titles": ["TESTPACS"]},
            "store": {"root": str(tmp_path / "store"), "free_bytes_min": 0},
            "database": {"url": f"sqlite:///{tmp_path / 'node.sqlite3'}"},
            "assembly": {"sources": {"pacs": peer}},
            "destinations": {"pacs": peer},
            **sections,
        }
    )
    pacs.start()
    try:
        with running_node(settings):
            yield pacs
    finally:
        pacs.stop()


@pytest.fixture
def pacs_and_node(tmp_path, free_ports):
    with node_beside_orthanc(tmp_path, free_ports) as pacs:
        yield pacs


@pytest.fixture
def pacs_alone(tmp_path, free_ports):
    pacs = orthanc.Orthanc(
        tmp_path / "orthanc",
        http_port=free_ports(),
        dicom_port=free_ports(),
        node_port=free_ports(),
    )
    pacs.start()
    try:
        yield pacs
    finally:
        pacs.stop()


@pytest.fixture
def pacs_and_rejecting_node(tmp_path, free_ports):
    results = {"supersede": "reject", "hydratable": True, "rejection_title": "113001"}
    with node_beside_orthanc(tmp_path, free_ports, results=results) as pacs:
        yield pacs


def test_orthanc_routes_a_study_and_gets_report_segmentation_and_key_image(pacs_and_node, tmp_path):
    pacs = pacs_and_node
    phantom = random_phantom(5)
    petct = draw(phantom, SCANNERS["small"])
    files = acquire.write(
        petct,
        tmp_path / "study",
        habit=acquire.Habit.GE,
        study=acquire.Study.of_phantom(5, datetime(2026, 1, 2, 10, tzinfo=UTC)),
    )
    study = dcmread(files[0]).StudyInstanceUID

    for file in files:
        pacs.post("/instances", file.read_bytes())

    expected = {
        "CT": petct.ct.grid.shape[0],
        "PT": petct.pet.grid.shape[0],
        "SR": 1,
        "SEG": 1,
        "OT": 1,
    }
    assert _modalities(pacs, study, until=expected, within_s=90) == expected
    report = _only(pacs, study, "SR")
    assert report.ConceptNameCodeSequence[0].CodeValue == "126000"
    assert report.CompletionFlag == "COMPLETE"
    centre = phantom.tumour.centre_lps_mm
    assert str(report.StudyInstanceUID) == study
    assert report.PatientID == dcmread(files[0]).PatientID
    assert centre is not None

    evidence = {
        item.ReferencedSOPInstanceUID
        for series in report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
        if item.ReferencedSOPClassUID == PARAMETRIC_MAP
    }
    # Maps are sent last.
    assert _maps(pacs, study, until=len(evidence), within_s=30) == evidence

    # Nothing runs in a circle: a while later the same objects are there, and no others.
    time.sleep(4)
    assert _modalities(pacs, study, until=None, within_s=0) == expected


def test_late_images_make_a_new_version_and_the_old_one_is_rejected(
    pacs_and_rejecting_node, tmp_path
):
    pacs = pacs_and_rejecting_node
    petct = draw(random_phantom(5), SCANNERS["small"])
    files = acquire.write(
        petct,
        tmp_path / "study",
        habit=acquire.Habit.SIEMENS,
        study=acquire.Study.of_phantom(5, datetime(2026, 1, 2, 10, tzinfo=UTC)),
    )
    study = dcmread(files[0]).StudyInstanceUID
    late = [file for file in files if dcmread(file).ImagePositionPatient[2] > 100]
    assert 0 < len(late) < len(files) / 4
    images = Counter("CT" if dcmread(file).Modality == "CT" else "PT" for file in files)
    for file in set(files) - set(late):
        pacs.post("/instances", file.read_bytes())
    first = {"SR": 2, "SEG": 1, "OT": 1}
    early = images - Counter(str(dcmread(file).Modality) for file in late)
    assert _modalities(pacs, study, until=early | first, within_s=90) == early | first
    assert len(_maps(pacs, study, until=2, within_s=30)) == 2
    before = _results(pacs, study)

    for file in late:
        pacs.post("/instances", file.read_bytes())

    both = images | {"SR": 4, "SEG": 2, "OT": 2, "KO": 1}
    assert _modalities(pacs, study, until=both, within_s=90) == both
    rejection = _only(pacs, study, "KO")
    assert rejection.ConceptNameCodeSequence[0].CodeValue == "113001"
    (rejected,) = rejection.CurrentRequestedProcedureEvidenceSequence
    assert _cited(rejected) == set(before)
    named = [
        _cited(report.PredecessorDocumentsSequence[0])
        for uid, report in _results(pacs, study).items()
        if report.Modality == "SR" and uid not in before
    ]
    reports = {uid for uid, one in before.items() if one.Modality == "SR"}
    assert set.union(*named) == reports
    assert [len(uids) for uids in named] == [1, 1]


def test_orthanc_keeps_the_maps_of_where_the_networks_looked_as_they_are(pacs_alone, tmp_path):
    pacs = pacs_alone
    made = made_study.with_saliency(made_study.study(tmp_path / "study"))
    paths = []
    for number, one in enumerate(made_study.analyzed(made, key_image=False)):
        paths.append(tmp_path / f"{number}.dcm")
        paths[-1].write_bytes(one.part10)

    sent = scu.send(
        Peer(ae_title="TESTPACS", host="127.0.0.1", port=pacs.dicom_port),
        [scu.outgoing(path) for path in paths],
        calling_ae_title="PETCTNODE",
    )

    assert [one.status for one in sent] == [0] * 4
    kept = _results(pacs, made_study.STUDY_UID)
    ours = [dcmread(path) for path in paths]
    maps = [one for one in ours if one.SOPClassUID == PARAMETRIC_MAP]
    assert len(maps) == 2
    for one in maps:
        theirs = kept[one.SOPInstanceUID]
        assert theirs.FloatPixelData == one.FloatPixelData
        assert theirs.SharedFunctionalGroupsSequence == one.SharedFunctionalGroupsSequence
        assert theirs.PerFrameFunctionalGroupsSequence == one.PerFrameFunctionalGroupsSequence


def _results(pacs, study):
    """All reports, Segmentations, maps and key images that the PACS holds of the study, by UID."""
    found = {}
    for one in pacs.instances(study):
        if one["modality"] in {"SR", "SEG", "OT"}:
            dataset = dcmread(BytesIO(pacs.get_bytes(f"/instances/{one['id']}/file")))
            found[dataset.SOPInstanceUID] = dataset
    return found


def _cited(study):
    return {
        one.ReferencedSOPInstanceUID
        for series in study.ReferencedSeriesSequence
        for one in series.ReferencedSOPSequence
    }


def _modalities(pacs, study, *, until, within_s):
    """How many instances there are of each modality; maps, which the model decides, left out."""
    end = time.monotonic() + within_s
    while True:
        found = dict(Counter(m for m in map(_modality(pacs), pacs.instances(study)) if m))
        if found == until or time.monotonic() >= end:
            return found
        time.sleep(0.3)


def _maps(pacs, study, *, until, within_s):
    """Return the UIDs of the study's maps, once there are so many of them."""
    end = time.monotonic() + within_s
    while True:
        held = _results(pacs, study).items()
        found = {uid for uid, one in held if one.SOPClassUID == PARAMETRIC_MAP}
        if len(found) == until or time.monotonic() >= end:
            return found
        time.sleep(0.3)


def _modality(pacs):
    def modality(one):
        if one["modality"] != "OT":
            return one["modality"]
        sop_class = pacs.get_bytes(f"/instances/{one['id']}/metadata/SopClassUid").decode()
        return "" if sop_class == PARAMETRIC_MAP else "OT"

    return modality


def _only(pacs, study, modality):
    (one,) = [one for one in pacs.instances(study) if one["modality"] == modality]
    return dcmread(BytesIO(pacs.get_bytes(f"/instances/{one['id']}/file")))
