"""The whole node over real associations: series by series, studies mixed, a PACS that is down."""

import threading
import time
from collections import Counter
from datetime import UTC, datetime

import pytest
from pydicom import dcmread

from db import jobs, studies
from db.engine import connect, reading
from inference.phantom import draw, random_phantom
from inference.scanner import SCANNERS
from node.bootstrap import running_node
from node.config import Listener as Policy
from node.config import Peer, settings_from
from node.dicom import acquire, headers
from node.net import scu
from node.net.scp import Listener

pytestmark = [
    pytest.mark.associations,
    pytest.mark.slow,
    # The PACS is down at first, and pynetdicom leaves refused sockets to the collector.
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]


class Pacs:
    """Collects what the node sends, by study and modality."""

    def __init__(self) -> None:
        self.got: dict[str, Counter[str]] = {}
        self._lock = threading.Lock()

    def receive(self, arrival) -> None:
        said = headers.identify(arrival.part10)
        with self._lock:
            self.got.setdefault(said.study_instance_uid, Counter())[said.modality] += 1


def _drawn(seed, habit, folder):
    """A study's CT and PT files, apart."""
    files = acquire.write(
        draw(random_phantom(seed), SCANNERS["small"]),
        folder,
        habit=habit,
        study=acquire.Study.of_phantom(seed, datetime(2026, 1, 2, 10, tzinfo=UTC)),
    )
    by_modality = {"CT": [], "PT": []}
    for file in files:
        by_modality[dcmread(file, stop_before_pixels=True).Modality].append(file)
    return by_modality


def _send(node, files):
    """One association, as a PACS that routes series by series opens it."""
    sent = scu.send(node, [scu.outgoing(file) for file in files], calling_ae_title="PACS")
    assert all(one.status == 0 for one in sent)


def test_two_mixed_studies_sent_series_by_series_reach_a_pacs_that_was_down(tmp_path, free_ports):
    first = _drawn(11, acquire.Habit.GE, tmp_path / "first")
    second = _drawn(12, acquire.Habit.PHILIPS, tmp_path / "second")
    node = Peer(ae_title="PETCTNODE", host="127.0.0.1", port=free_ports())
    pacs_port = free_ports()
    settings = settings_from(
        {
            "listener": {"port": node.port},
            "store": {"root": str(tmp_path / "store"), "free_bytes_min": 0},
            "database": {"url": f"sqlite:///{tmp_path / 'node.sqlite3'}"},
            "assembly": {"quiet_s": 2, "association_quiet_s": 1},
            "destinations": {"pacs": {"ae_title": "PACS", "host": "127.0.0.1", "port": pacs_port}},
            "delivery": {"retry_first_s": 1, "retry_longest_s": 1},
        }
    )
    pacs = Pacs()
    with running_node(settings):
        for files in (first["CT"], second["PT"], first["PT"], second["CT"]):
            _send(node, files)
        engine = connect(settings.database.url)
        _await(lambda: _states(engine) == ["analyzed", "analyzed"], within_s=90)
        assert pacs.got == {}

        with Listener(
            Policy(ae_title="PACS", port=pacs_port), receive=pacs.receive, closed=lambda _: None
        ):
            complete = Counter({"SR": 1, "SEG": 1, "OT": 3})  # a key image and two maps
            _await(lambda: list(pacs.got.values()) == [complete, complete], within_s=30)

    with reading(engine) as connection:
        per_study = [
            len(jobs.of_study(connection, study.study_instance_uid))
            for study in studies.newest(connection, limit=10)
        ]
    engine.dispose()
    assert per_study == [1, 1]


def _states(engine):
    with reading(engine) as connection:
        return [str(study.state) for study in studies.newest(connection, limit=10)]


def _await(condition, *, within_s):
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.1)
