"""A node whose workers share one process for their networks, over a real association."""

import os
import signal
import time
from datetime import UTC, datetime
from multiprocessing import active_children
from pathlib import Path

import pytest

from db import jobs, studies
from db.engine import connect, reading
from inference.phantom import draw, random_phantom
from inference.scanner import SCANNERS
from node.bootstrap import running_node
from node.config import Peer, settings_from
from node.dicom import acquire
from node.net import scu

pytestmark = [pytest.mark.associations, pytest.mark.slow]
PATIENCE_S = 120
LIBRARY = "openvino"
"""What runs networks here, and is loaded by nobody else."""


def test_studies_of_two_workers_go_through_the_networks_of_one_process(tmp_path, free_ports):
    """And when that process is killed, the next study waits for its successor."""
    node = Peer(ae_title="PETCTNODE", host="127.0.0.1", port=free_ports())
    settings = settings_from(
        {
            "listener": {"port": node.port},
            "store": {"root": str(tmp_path / "store"), "free_bytes_min": 0},
            "database": {"url": f"sqlite:///{tmp_path / 'node.sqlite3'}"},
            "assembly": {"quiet_s": 1, "association_quiet_s": 1},
            "model": {"engine": LIBRARY, "batch": 8},
            "workers": {"processes": 2},
        }
    )
    drawn = [send(node, seed, tmp_path / str(seed)) for seed in (11, 12)]
    with running_node(settings):
        for _, give in drawn:
            give()
        engine = connect(settings.database.url)
        first = [outcome(engine, uid) for uid, _ in drawn]
        holders = [pid for pid in children() if LIBRARY in maps(pid)]
        workers = [pid for pid in children() if pid not in holders]

        assert [len(holders), len(workers)] == [1, 2]
        for job in first:
            assert job.findings["engine"] == LIBRARY
            assert len(job.findings["predictions"]) == 2

        os.kill(holders[0], signal.SIGKILL)
        uid, give = send(node, 13, tmp_path / "13")
        give()
        after = outcome(engine, uid)
        assert len(after.findings["predictions"]) == 2
        assert after.attempts == 1
        engine.dispose()


def send(node, seed, folder):
    """Draw a study; return its UID and what sends it."""
    petct = draw(random_phantom(seed), SCANNERS["small"])
    about = acquire.Study.of_phantom(seed, datetime(2026, 1, 2, 10, tzinfo=UTC))
    files = acquire.write(petct, folder, habit=acquire.Habit.GE, study=about)

    def give():
        sent = scu.send(node, [scu.outgoing(file) for file in files], calling_ae_title="PACS")
        assert all(one.status == 0 for one in sent)

    return petct.study_instance_uid, give


def outcome(engine, uid):
    """Wait until the study is analysed; return its job."""
    end = time.monotonic() + PATIENCE_S
    while True:
        assert time.monotonic() < end, "the study came to no result in time"
        with reading(engine) as connection:
            found = studies.find(connection, uid)
            if found is not None and found.state == studies.StudyState.ANALYZED:
                return jobs.of_study(connection, uid)[-1]
        time.sleep(0.1)


def children():
    """The processes of the node's crews."""
    return [one.pid for one in active_children() if one.name.startswith("worker-")]


def maps(pid):
    return Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="replace")
