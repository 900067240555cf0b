"""Storage commitment against a real PACS, both ways; no study is analysed for it."""

import json
import time
from contextlib import contextmanager
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
STUDY = "2.25.100"
WITHIN_S = 60

pytestmark = [
    pytest.mark.associations,
    pytest.mark.slow,
    pytest.mark.skipif(orthanc.EXECUTABLE is None, reason="Orthanc is not installed"),
]


@pytest.fixture
def world(tmp_path, free_ports):
    """A PACS and a node whose destination it is; the node listens, and nobody analyses."""

    @contextmanager
    def run(commitment, **delivery):
        node_port = free_ports()
        pacs = orthanc.Orthanc(
            tmp_path / "orthanc",
            http_port=free_ports(),
            dicom_port=free_ports(),
            node_port=node_port,
        )
        peer = {"ae_title": "TESTPACS", "host": "127.0.0.1", "port": pacs.dicom_port}
        settings = settings_from(
            {
                "listener": {"port": node_port, "calling_ae_titles": ["TESTPACS"]},
                "store": {"root": str(tmp_path / "store"), "free_bytes_min": 0},
                "database": {"url": f"sqlite:///{tmp_path / 'node.sqlite3'}"},
                "workers": {"processes": 0},
                "destinations": {"pacs": {**peer, "commitment": commitment}},
                "delivery": {"retry_first_s": 0.5, **delivery},
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

    return run


class World:
    """What the tests do and see."""

    def __init__(self, pacs, engine, store):
        self.pacs, self.engine, self._store = pacs, engine, store

    def send(self, *uids):
        """Have the PACS send CT images to the node."""
        sent = []
        for uid in uids:
            answer = self.pacs.post("/instances", image(uid))
            sent.append(answer["ID"])
        order = {"Resources": sent, "Synchronous": True}
        self.pacs.post("/modalities/node/store", json.dumps(order).encode())

    def owe(self, *uids, sent_and_lost=False):
        """Owe results of a study that came; those lost were sent, and the PACS has them not."""
        with writing(self.engine) as connection:
            job_id = jobs.enqueue(
                connection,
                studies.find(connection, STUDY),
                instances.to_analyze(connection, STUDY),
                bundle_digest="sha256:b",
                readiness=Readiness(why_ready="QUIET"),
                now=now(),
            )
            job = jobs.claim(connection, worker="w", now=now(), lease=timedelta(minutes=1))
            outcome = Outcome(
                state=JobState.DONE,
                results=[self._kept(uid, job_id) for uid in uids],
                destinations=["pacs"],
            )
            assert jobs.conclude(connection, job, outcome, now=now())
            if sent_and_lost:
                lease = Lease(node="n", now=now(), until=now())
                taken = deliveries.claim(
                    connection, "pacs", DeliveryState.OWED, lease=lease, limit=9
                )
                assert all(deliveries.sent(connection, one, now=now()) for one in taken)

    def _kept(self, uid, job_id):
        kind = {"sop_class_uid": SR, "sop_instance_uid": uid, "transfer_syntax_uid": EXPLICIT}
        of = {"series_instance_uid": f"{STUDY}.8", "study_instance_uid": STUDY}
        content = part10(data_set(uid, SR, "SR", f"{STUDY}.8"), **kind)
        stored = self._store.put_result(
            ResultObject(kind=ResultKind.REPORT, part10=content, **kind, **of)
        )
        return Result(
            job_id=job_id, kind="SR", path=stored.path, sha256=stored.sha256, **kind, **of
        )

    def deliveries(self):
        with reading(self.engine) as connection:
            return deliveries.of_study(connection, STUDY)

    def until(self, condition):
        end = time.monotonic() + WITHIN_S
        while not condition():
            assert time.monotonic() < end, "it did not come true in time"
            time.sleep(0.1)


def data_set(uid, kind, modality, series):
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = kind, uid
    dataset.Modality = modality
    dataset.PatientID = "PHANTOM"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = STUDY, series
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_dataset(buffer, dataset)
    return buffer.getvalue()


def image(uid):
    kind = {"sop_class_uid": CT, "sop_instance_uid": uid, "transfer_syntax_uid": EXPLICIT}
    return part10(data_set(uid, CT, "CT", f"{STUDY}.1"), **kind)


def test_results_are_delivered_when_orthanc_commits_to_them(world):
    with world("required") as here:
        here.send("2.25.1")
        here.owe("2.25.2", "2.25.3")

        here.until(lambda: all(one.delivered for one in here.deliveries()))

        assert {(one.state, one.evidence) for one in here.deliveries()} == {
            ("committed", "commitment")
        }
        modalities = sorted(one["modality"] for one in here.pacs.instances(STUDY))
        assert modalities == ["CT", "SR", "SR"]
        with reading(here.engine) as connection:
            assert commitments.unanswered(connection) == []


def test_orthanc_is_asked_by_c_find_where_that_is_to_decide(world):
    with world("find") as here:
        here.send("2.25.1")
        here.owe("2.25.2", "2.25.3")

        here.until(lambda: all(one.delivered for one in here.deliveries()))

        assert {(one.state, one.evidence) for one in here.deliveries()} == {("committed", "find")}


def test_orthanc_asks_us_to_commit_and_hears_what_is_safe_and_what_is_not(world):
    with world("none") as here:
        here.send("2.25.1", "2.25.2")
        asked = {"DicomInstances": [[CT, "2.25.1"], [CT, "2.25.2"], [CT, "2.25.9"], [SR, "2.25.1"]]}

        answer = here.pacs.post("/modalities/node/storage-commitment", json.dumps(asked).encode())
        here.until(lambda: here.pacs.get(answer["Path"])["Status"] != "Pending")

        told = here.pacs.get(answer["Path"])
        assert told["Status"] == "Failure"
        committed = [(one["SOPClassUID"], one["SOPInstanceUID"]) for one in told["Success"]]
        assert committed == [(CT, "2.25.1"), (CT, "2.25.2")]
        failed = {
            (one["SOPClassUID"], one["SOPInstanceUID"]): one["FailureReason"]
            for one in told["Failures"]
        }
        assert failed == {(CT, "2.25.9"): 0x0112, (SR, "2.25.1"): 0x0119}
        here.until(lambda: state_of_pledge(here) is PledgeState.REPORTED)


def state_of_pledge(here):
    with reading(here.engine) as connection:
        (pledge,) = of_peer(connection, "TESTPACS")
        return pledge.state


def test_what_orthanc_lost_is_sent_again_until_it_commits(world):
    with world("required") as here:
        here.send("2.25.1")
        here.owe("2.25.2", sent_and_lost=True)

        here.until(lambda: here.deliveries()[0].delivered)

        (delivery,) = here.deliveries()
        assert (delivery.evidence, delivery.rejections, delivery.attempts) == ("commitment", 1, 2)
        modalities = sorted(one["modality"] for one in here.pacs.instances(STUDY))
        assert modalities == ["CT", "SR"]
