"""Storage commitment against a real PACS, both ways; no study is analysed for it."""

import json
import socket
import time
from datetime import timedelta

import pytest
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from db import commitments, deliveries, instances, jobs, studies
from db.deliveries import DeliveryState, Lease
from db.engine import connect, reading, writing
from db.jobs import JobState, Outcome, Readiness
from db.pledges import PledgeState, of_peer
from db.results import Result
from node.bootstrap import now, running_node
from node.config import settings_from
from node.instance import ResultKind, ResultObject
from node.net.part10 import part10
from node.store import Store
from tests.end_to_end import orthanc

CT = "1.2.840.10008.5.1.4.1.1.2"
SR = "1.2.840.10008.5.1.4.1.1.88.34"
EXPLICIT = "1.2.840.10008.1.2.1"
WITHIN_S = 60

pytestmark = [
    pytest.mark.associations,
    pytest.mark.slow,
    pytest.mark.skipif(orthanc.EXECUTABLE is None, reason="Orthanc is not installed"),
]


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A PACS and a node; nobody analyses. The PACS is a destination twice: asked in two ways."""
    folder = tmp_path_factory.mktemp("commitment")
    node_port = free_port()
    pacs = orthanc.Orthanc(
        folder / "orthanc", http_port=free_port(), dicom_port=free_port(), node_port=node_port
    )
    peer = {"ae_title": "TESTPACS", "host": "127.0.0.1", "port": pacs.dicom_port}
    settings = settings_from(
        {
            "listener": {"port": node_port, "calling_ae_titles": ["TESTPACS"]},
            "store": {"root": str(folder / "store"), "free_bytes_min": 0},
            "database": {"url": f"sqlite:///{folder / 'node.sqlite3'}"},
            "workers": {"processes": 0},
            "destinations": {
                "commits": {**peer, "commitment": "required"},
                "finds": {**peer, "commitment": "find"},
            },
            "delivery": {"retry_first_s": 0.5},
        }
    )
    pacs.start()
    try:
        with running_node(settings):
            engine = connect(settings.database.url)
            yield World(pacs, engine, Store(settings.store.root, free_bytes_min=0))
            engine.dispose()
    finally:
        pacs.stop()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class World:
    """What the tests do and see."""

    def __init__(self, pacs, engine, store):
        self.pacs, self.engine, self._store = pacs, engine, store

    def send(self, study, *uids):
        """Have the PACS send CT images to the node."""
        sent = [self.pacs.post("/instances", image(study, uid))["ID"] for uid in uids]
        order = {"Resources": sent, "Synchronous": True}
        self.pacs.post("/modalities/node/store", json.dumps(order).encode())
        self.until(lambda: all(map(self._is_registered, uids)))

    def _is_registered(self, uid):
        """What was answered for may wait for its row for a moment."""
        with reading(self.engine) as connection:
            return instances.find(connection, uid) is not None

    def owe(self, study, *uids, destination, sent_and_lost=False):
        """Owe results of a study that came; those lost were sent, and the PACS has them not."""
        with writing(self.engine) as connection:
            job_id = jobs.enqueue(
                connection,
                studies.find(connection, study),
                instances.to_analyze(connection, study),
                bundle_digest="sha256:b",
                readiness=Readiness(why_ready="QUIET"),
                now=now(),
            )
            job = jobs.claim(connection, worker="w", now=now(), lease=timedelta(minutes=1))
            outcome = Outcome(
                state=JobState.DONE,
                results=[self._kept(study, uid, job_id) for uid in uids],
                destinations=[destination],
            )
            assert jobs.conclude(connection, job, outcome, now=now())
            if sent_and_lost:
                lease = Lease(node="n", now=now(), until=now())
                taken = deliveries.claim(
                    connection, destination, DeliveryState.OWED, lease=lease, limit=9
                )
                assert all(deliveries.sent(connection, one, now=now()) for one in taken)

    def _kept(self, study, uid, job_id):
        kind = {"sop_class_uid": SR, "sop_instance_uid": uid, "transfer_syntax_uid": EXPLICIT}
        of = {"series_instance_uid": f"{study}.8", "study_instance_uid": study}
        content = part10(data_set(study, uid, SR, "SR"), **kind)
        stored = self._store.put_result(
            ResultObject(kind=ResultKind.REPORT, part10=content, **kind, **of)
        )
        return Result(
            job_id=job_id, kind="SR", path=stored.path, digest=stored.digest, **kind, **of
        )

    def deliveries(self, study):
        with reading(self.engine) as connection:
            return deliveries.of_study(connection, study)

    def until_delivered(self, study):
        self.until(lambda: all(one.delivered for one in self.deliveries(study)))
        return self.deliveries(study)

    def until(self, condition):
        end = time.monotonic() + WITHIN_S
        while not condition():
            assert time.monotonic() < end, "it did not come true in time"
            time.sleep(0.1)


def data_set(study, uid, kind, modality):
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = kind, uid
    dataset.Modality = modality
    dataset.PatientID = "PHANTOM"
    dataset.StudyInstanceUID = study
    dataset.SeriesInstanceUID = f"{study}.{1 if modality == 'CT' else 8}"
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_dataset(buffer, dataset)
    return buffer.getvalue()


def image(study, uid):
    kind = {"sop_class_uid": CT, "sop_instance_uid": uid, "transfer_syntax_uid": EXPLICIT}
    return part10(data_set(study, uid, CT, "CT"), **kind)


def modalities(here, study):
    return sorted(one["modality"] for one in here.pacs.instances(study))


def test_results_are_delivered_when_orthanc_commits_to_them(here):
    here.send("2.25.10", "2.25.11")
    here.owe("2.25.10", "2.25.12", "2.25.13", destination="commits")

    over = here.until_delivered("2.25.10")

    assert {(one.state, one.evidence) for one in over} == {("committed", "commitment")}
    assert modalities(here, "2.25.10") == ["CT", "SR", "SR"]
    with reading(here.engine) as connection:
        assert commitments.unanswered(connection) == []


def test_orthanc_is_asked_by_c_find_where_that_is_to_decide(here):
    here.send("2.25.20", "2.25.21")
    here.owe("2.25.20", "2.25.22", "2.25.23", destination="finds")

    over = here.until_delivered("2.25.20")

    assert {(one.state, one.evidence) for one in over} == {("committed", "find")}


def test_what_orthanc_lost_is_sent_again_until_it_commits(here):
    here.send("2.25.30", "2.25.31")
    here.owe("2.25.30", "2.25.32", destination="commits", sent_and_lost=True)

    (delivery,) = here.until_delivered("2.25.30")

    assert (delivery.evidence, delivery.rejections, delivery.attempts) == ("commitment", 1, 2)
    assert modalities(here, "2.25.30") == ["CT", "SR"]


def test_orthanc_asks_us_to_commit_and_hears_what_is_safe_and_what_is_not(here):
    here.send("2.25.40", "2.25.41", "2.25.42")
    named = [[CT, "2.25.41"], [CT, "2.25.42"], [CT, "2.25.49"], [SR, "2.25.41"]]
    asked = json.dumps({"DicomInstances": named}).encode()

    answer = here.pacs.post("/modalities/node/storage-commitment", asked)
    here.until(lambda: here.pacs.get(answer["Path"])["Status"] != "Pending")

    told = here.pacs.get(answer["Path"])
    assert told["Status"] == "Failure"
    committed = [[one["SOPClassUID"], one["SOPInstanceUID"]] for one in told["Success"]]
    assert committed == named[:2]
    failed = {
        (one["SOPClassUID"], one["SOPInstanceUID"]): one["FailureReason"]
        for one in told["Failures"]
    }
    assert failed == {(CT, "2.25.49"): 0x0112, (SR, "2.25.41"): 0x0119}
    here.until(lambda: state_of_pledge(here) is PledgeState.REPORTED)


def state_of_pledge(here):
    with reading(here.engine) as connection:
        (pledge,) = of_peer(connection, "TESTPACS")
        return pledge.state
