"""A study whose every patient element is marked goes through a node that logs all it can."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from db import studies
from db.engine import connect, reading
from inference.phantom import draw, random_phantom
from inference.scanner import SCANNERS
from node.config import Listener as Policy
from node.config import Peer
from node.dicom import acquire
from node.errors import PeerUnavailable
from node.net import scu
from node.net.scp import Listener
from tests import confined
from tests.arriving import kept

pytestmark = [pytest.mark.associations, pytest.mark.slow]

MARKS = ("QQMARK", "Ångström", "馬鹿", "19430207", "太郎", "QQM")
CONTAINER_USER = 10001
EVENTS = (
    *("Application Start", "Application Stop", "Software Configuration", "Node Authentication"),
    *("DICOM Instances Transferred", "Begin Transferring DICOM Instances"),
    "DICOM Instances Accessed",
)
PATIENT = {
    "PatientName": "QQMARK^Ångström^QQMARKmiddle^Dr^=馬鹿^太郎",
    "PatientID": "QQMARK-4711",
    "IssuerOfPatientID": "QQMARKISSUER",
    "PatientBirthDate": "19430207",
    "PatientBirthName": "QQMARKBORN^Anna",
    "PatientMotherBirthName": "QQMARKMOTHER^Eva",
    "PatientAddress": "QQMARK street 7",
    "PatientTelephoneNumbers": "QQMARK-555",
    "OtherPatientNames": "QQMARK^OTHER",
    "PatientComments": "QQMARK comment of the patient",
    "EthnicGroup": "QQMARKGROUP",
    "Occupation": "QQMARKWORK",
    "AdditionalPatientHistory": "QQMARK history",
    "ImageComments": "QQMARK on the image",
    "AccessionNumber": "QQMARKACC",
    "StudyID": "QQMARKID",
    "StudyDescription": "QQMARK described",
    "SeriesDescription": "QQMARK series",
    "ProtocolName": "QQMARK protocol",
    "ReferringPhysicianName": "QQMARK^REFERRER",
    "PerformingPhysicianName": "QQMARK^PERFORMER",
    "OperatorsName": "QQMARK^OPERATOR",
    "InstitutionName": "QQMARK hospital",
    "InstitutionAddress": "QQMARK lane 1",
    "RequestedProcedureDescription": "QQMARK requested",
    "PatientInsurancePlanCodeSequence": None,
}


def marked(path, out, *, study, broken=False):
    """One image with its patient marked, in UTF-8; ``broken``: with values of no use, marked, too.

    A broken value takes the place of a good one of the same length in the bytes, since pydicom
    writes none.
    """
    dataset = dcmread(path)
    dataset.SpecificCharacterSet = "ISO_IR 192"
    for keyword, value in PATIENT.items():
        setattr(dataset, keyword, [coded()] if value is None else value)
    dataset.OtherPatientIDsSequence = [other()]
    dataset.RequestAttributesSequence = [other()]
    dataset.StudyInstanceUID = study
    if broken:
        dataset.PatientSize = "1.7654321"
        dataset.PatientAge = "077Y"
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    target = out / path.name
    dataset.save_as(target)
    if broken:
        content = target.read_bytes()
        assert b"1.7654321" in content
        target.write_bytes(content.replace(b"1.7654321", b"QQMARKSIZ").replace(b"077Y", b"QQMY"))
    return target


def coded():
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "QQMARK", "L", "QQMARK plan"
    return code


def other():
    item = Dataset()
    item.PatientID, item.IssuerOfPatientID = "QQMARK-0815", "QQMARKELSE"
    item.AccessionNumber, item.RequestedProcedureID = "QQMARKACC2", "QQMARKRP"
    return item


class Node:
    """`petct-node serve` at DEBUG, with everything that it says in one file.

    Where the machine lets us it runs with the rights of the container: all is read-only but its
    folder, and it is user 10001.
    """

    def __init__(self, folder, port, pacs_port):
        self.folder, self.port = folder, port
        self.log = folder / "log.txt"
        if os.geteuid() == 0:
            os.chown(folder, CONTAINER_USER, CONTAINER_USER)
        self._confined = confined.prefix(folder) if confined.works(folder) else []
        self.audit = folder / "audit.log"
        self.url = f"sqlite:///{folder / 'node.sqlite3'}"
        document = {
            "listener": {"port": port},
            "store": {"root": str(folder / "store"), "free_bytes_min": 0},
            "database": {"url": self.url},
            "assembly": {"quiet_s": 0.5, "association_quiet_s": 0.2, "counterpart_s": 2},
            "destinations": {"pacs": {"ae_title": "PACS", "host": "127.0.0.1", "port": pacs_port}},
            "delivery": {"retry_first_s": 1, "retry_longest_s": 1},
            "audit": {"file": str(self.audit)},
            "log_level": "DEBUG",
        }
        config = folder / "config.yaml"
        config.write_text(yaml.safe_dump(document))
        self._command = [sys.executable, "-m", "node", "--config", str(config)]

    def run(self, *command):
        with self.log.open("ab") as log:
            program, module, name, option, path = self._command
            return subprocess.Popen(
                [*self._confined, program, module, name, *command, option, path],
                stdout=log,
                stderr=log,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )

    @contextmanager
    def serving(self):
        process = self.run("serve")
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)

    def told(self):
        """All that an outsider can come to see, but the results."""
        return {
            "log": self.log.read_text(encoding="utf-8"),
            "audit": self.audit.read_text(encoding="ascii"),
            "names": " ".join(
                str(path.relative_to(self.folder)) for path in self.folder.rglob("*")
            ),
        }

    def states(self):
        engine = connect(self.url)
        with reading(engine) as connection:
            found = Counter(str(study.state) for study in studies.newest(connection, limit=10))
        engine.dispose()
        return found


def eventually(holds, within_s):
    until = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < until, "it did not come true in time"
        time.sleep(0.1)


def answers(peer):
    try:
        scu.echo(peer, calling_ae_title="PACS", timeout_s=2)
    except PeerUnavailable:
        return False
    return True


@pytest.fixture
def files(tmp_path):
    """A whole study, and some PET images of another that say things of no use."""
    drawn = acquire.write(
        draw(random_phantom(11), SCANNERS["small"]),
        tmp_path / "drawn",
        habit=acquire.Habit.SIEMENS,
        study=acquire.Study.of_phantom(11, datetime(2026, 1, 2, 10, tzinfo=UTC)),
    )
    for name in ("good", "bad", "node"):
        (tmp_path / name).mkdir()
    good = [marked(path, tmp_path / "good", study="2.25.111") for path in drawn]
    bad = [marked(path, tmp_path / "bad", study="2.25.222", broken=True) for path in drawn[-20:]]
    return good, bad


def test_nothing_of_the_patient_is_in_logs_audit_answers_or_names(files, tmp_path, free_ports):
    good, bad = files
    pacs = Policy(ae_title="PACS", port=free_ports())
    node = Node(tmp_path / "node", free_ports(), pacs.port)
    peer = Peer(ae_title="PETCTNODE", host="127.0.0.1", port=node.port)
    results = []
    with Listener(pacs, receive=kept(results), closed=lambda _: None), node.serving():
        eventually(lambda: answers(peer), 60)
        said = send(
            peer, [*good, *bad, as_conflict(good[0], tmp_path), as_garbage(good[1], tmp_path)]
        )
        eventually(lambda: node.states() == {"analyzed": 1, "refused": 1}, 120)
        eventually(lambda: len(results) >= 4, 60)
    node.run("explain", "2.25.111").wait(60)

    statuses = Counter(one.status for one in said)
    assert statuses == {0x0000: len(good) + len(bad), 0xC001: 1, 0xC000: 1}
    assert any(b"QQMARK" in result.part10 for result in results)  # there it belongs
    told = node.told() | {"answers": " ".join(one.comment for one in said)}
    found = {
        where: [line for line in text.splitlines() if any(mark in line for mark in MARKS)]
        for where, text in told.items()
    }
    assert found == {"log": [], "audit": [], "answers": [], "names": []}
    assert "refused an instance with status 0xC001" in told["log"]
    assert "DEBUG" in told["log"]
    assert "no rehearsal" not in told["log"]  # it needs no other folder, either
    assert {event for event in EVENTS if event not in told["audit"]} == set()
    assert "2.25.111" in told["audit"]


def test_no_library_keeps_anything_of_its_own_at_home(tmp_path):
    """OpenVINO would write an identifier of its user there, to count uses by."""
    subprocess.run(
        [sys.executable, "-c", "import node.bootstrap, inference.openvino_engine"],
        check=True,
        timeout=60,
        env={**os.environ, "HOME": str(tmp_path)},
    )

    assert list(tmp_path.iterdir()) == []


def test_who_is_confined_like_the_node_above_can_write_nowhere_else(tmp_path):
    """That the run above says something of the container rests on this."""
    folder = tmp_path / "node"
    folder.mkdir()
    if os.geteuid() == 0:
        os.chown(folder, CONTAINER_USER, CONTAINER_USER)
    if not confined.works(folder):
        pytest.skip("no right to make a mount namespace")
    elsewhere = [tmp_path / "x", "/tmp/x", "/var/tmp/x", "/root/x", f"{Path.cwd()}/x"]

    def can_touch(path):
        command = [*confined.prefix(folder), "touch", str(path)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    assert [path for path in elsewhere if can_touch(path)] == []
    assert can_touch(folder / "x")


def send(peer, paths):
    return scu.send(peer, [scu.outgoing(path) for path in paths], calling_ae_title="PACS")


def as_conflict(path, folder):
    """The same UID with other bytes."""
    dataset = dcmread(path)
    dataset.ImageComments = "QQMARK changed"
    dataset.save_as(folder / "conflict.dcm")
    return folder / "conflict.dcm"


def as_garbage(path, folder):
    """A file whose data set ends in the middle of the patient."""
    content = path.read_bytes()
    cut = content.index(b"QQMARK")
    (folder / "garbage.dcm").write_bytes(content[: cut + 12])
    return folder / "garbage.dcm"
