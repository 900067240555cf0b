"""The whole node on PostgreSQL, a worker of which is killed in the middle of its study."""

import multiprocessing
import time
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from db import jobs, studies
from db.engine import connect, reading
from db.jobs import JobState
from inference.phantom import draw, random_phantom
from inference.scanner import SCANNERS
from node import worker
from node.bootstrap import running_node
from node.config import Listener as Policy
from node.config import Peer, settings_from
from node.dicom import acquire, headers
from node.net import scu
from node.net.scp import Listener

pytestmark = [pytest.mark.associations, pytest.mark.slow]


def test_a_study_survives_its_worker_and_reaches_the_pacs(
    postgresql, tmp_path, free_ports, monkeypatch
):
    monkeypatch.setattr(worker, "RETRY_DELAY", timedelta(0))
    files = acquire.write(
        draw(random_phantom(21), SCANNERS["small"]),
        tmp_path / "study",
        habit=acquire.Habit.SIEMENS,
        study=acquire.Study.of_phantom(21, datetime(2026, 1, 2, 10, tzinfo=UTC)),
    )
    node = Peer(ae_title="PETCTNODE", host="127.0.0.1", port=free_ports())
    pacs = Policy(ae_title="PACS", port=free_ports())
    settings = settings_from(
        {
            "listener": {"port": node.port},
            "store": {"root": str(tmp_path / "store"), "free_bytes_min": 0, "bytes_max": 10**9},
            "database": {"url": postgresql.empty()},
            "assembly": {"quiet_s": 1, "association_quiet_s": 1},
            "destinations": {"pacs": {"ae_title": "PACS", "host": "127.0.0.1", "port": pacs.port}},
            "retention": {"instances_days": 0, "interval_s": 1},
            "workers": {"lease_s": 600},
        }
    )
    got = Counter()

    def receive(arrival):
        got[headers.identify(arrival.part10).modality] += 1

    with Listener(pacs, receive=receive, closed=lambda _: None), running_node(settings):
        engine = connect(settings.database.url)
        sent = scu.send(node, [scu.outgoing(file) for file in files], calling_ae_title="PACS")
        assert {one.status for one in sent} == {0}

        _await(lambda: _job(engine, JobState.RUNNING))
        for process in multiprocessing.active_children():
            process.kill()
        _await(lambda: _job(engine, JobState.DONE), within_s=120)
        _await(lambda: got["SR"] == got["SEG"] == 1)
        _await(lambda: not list((tmp_path / "store" / "instances").rglob("*.dcm")))

    with reading(engine) as connection:
        (study,) = studies.newest(connection, limit=9)
        (job,) = jobs.of_study(connection, study.study_instance_uid)
    engine.dispose()
    assert (study.state, job.attempts) == ("analyzed", 2)
    assert study.deleted_at is not None


def _job(engine, state):
    with reading(engine) as connection:
        return [
            job
            for study in studies.newest(connection, limit=9)
            for job in jobs.of_study(connection, study.study_instance_uid)
            if job.state is state
        ]


def _await(condition, *, within_s=60):
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.05)
