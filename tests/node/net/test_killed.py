import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from db import instances
from db.engine import connect, reading
from db.migrate import upgrade
from node.config import Peer
from node.errors import PeerUnavailable
from node.net import scu
from node.store import Store

pytestmark = [
    pytest.mark.associations,
    # pynetdicom 3.0.4 leaves the socket of a refused connection to the garbage collector.
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]

ROOT = Path(__file__).parents[3]
NODE = """
import sys, time
from datetime import UTC, datetime
from pathlib import Path
from db.engine import connect
from node.config import Listener as Policy
from node.dicom.headers import identify
from node.intake import Intake
from node.journal import Journal
from node.net.scp import Listener
from node.store import Store

url, root, port, size = sys.argv[1:]
journals = Path(root, "journal")
journal = Journal(journals, int(size)) if int(size) else None
clock = lambda: datetime.now(UTC)
intake = Intake(connect(url), Store(Path(root), 0), identify, clock, journal=journal)
intake.recover(journals)
with Listener(Policy(port=int(port)), receive=intake.receive, closed=intake.closed):
    time.sleep(60)
"""


@pytest.fixture(params=[0, 16_000_000], ids=["no journal", "journal"])
def killable(tmp_path, free_port, request):
    """Starts a node in a process of its own and waits until it answers."""
    url, root = f"sqlite:///{tmp_path / 'node.sqlite3'}", tmp_path / "store"
    upgrade(url)
    peer = Peer(ae_title="PETCTNODE", host="127.0.0.1", port=free_port)
    started = []

    def start():
        command = [sys.executable, "-c", NODE, url, str(root), str(free_port), str(request.param)]
        started.append(subprocess.Popen(command, cwd=ROOT))
        deadline = time.monotonic() + 30
        while True:
            try:
                scu.echo(peer, calling_ae_title="PACS", timeout_s=5)
            except PeerUnavailable:
                assert time.monotonic() < deadline
                time.sleep(0.1)
            else:
                return started[-1], peer

    yield start, url, root
    for one in started:
        one.kill()
        one.wait()


def test_whatever_was_answered_with_success_survives_a_kill(killable, parcel, data_set):
    """SIGKILL in the midst of a study; all that was answered is there, and the rest can follow."""
    start, url, root = killable
    node, peer = start()
    objects = [parcel(data_set(f"1.{n}"), f"1.{n}") for n in range(400)]

    def kill_in_the_midst():
        deadline = time.monotonic() + 20
        while len(list(root.rglob("*.dcm"))) < 20 and time.monotonic() < deadline:
            time.sleep(0.01)
        node.kill()

    assassin = threading.Thread(target=kill_in_the_midst)
    assassin.start()
    answers = scu.send(peer, objects, calling_ae_title="PACS", timeout_s=5)
    assassin.join()

    safe = [one for one, answer in zip(objects, answers, strict=True) if answer.taken]
    assert 0 < len(safe) < len(objects)
    _, peer = start()
    engine, store = connect(url), Store(root, 0)
    for one in safe:
        with reading(engine) as connection:
            row = instances.find(connection, one.sop_instance_uid)
        assert store.read(row.path) == one.path.read_bytes()
    engine.dispose()

    again = scu.send(peer, objects[: len(safe) + 5], calling_ae_title="PACS", timeout_s=10)
    assert {answer.status for answer in again} == {0x0000}
