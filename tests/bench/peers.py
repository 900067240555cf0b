"""The receivers that are compared: our node, Debian's Orthanc, DCMTK's storescp."""

import json
import shutil
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from tests.bench import process
from tests.bench.measure import OURS

START_S = 60
ORTHANC = "Orthanc"
STORESCP = "storescp"
ROWS_FIRST = f"{OURS}, rows first"


@dataclass(frozen=True, kw_only=True)
class Receiver:
    """A running receiver on loopback."""

    name: str
    pid: int
    port: int
    count: Callable[[], int]
    """How many instances it says it holds."""


class Starter(Protocol):
    """Starts one receiver for the length of a block."""

    def __call__(self, folder: Path, *, nodelay: bool) -> AbstractContextManager[Receiver]: ...


def orthanc_executable() -> str | None:
    """Return where Debian puts Orthanc, which ordinary users do not have on their path."""
    return shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")


@contextmanager
def node(folder: Path, *, nodelay: bool, journal: bool = True) -> Iterator[Receiver]:
    """Run our listener, intake, store and SQLite.

    Success after bytes and registration are synced in the journal; without it, after file, folder
    and row are.
    """
    port = process.free_port()
    command = [sys.executable, "-m", "tests.bench.receiver", str(port), str(folder)]
    command += [] if journal else ["--no-journal"]

    def count() -> int:
        with closing(sqlite3.connect(folder / "node.sqlite3")) as database:
            return int(database.execute("SELECT count(*) FROM instances").fetchone()[0])

    name = OURS if journal else ROWS_FIRST
    with _started(name, command, folder, port, nodelay=nodelay, count=count) as receiver:
        yield receiver


@contextmanager
def orthanc(folder: Path, *, nodelay: bool, http_port: int | None = None) -> Iterator[Receiver]:
    """Run Orthanc as it is by default: no plug-ins, each file written with fdatasync."""
    port, http_port = process.free_port(), http_port or process.free_port()
    config = folder / "orthanc.json"
    settings = {
        "StorageDirectory": str(folder / "db"),
        "IndexDirectory": str(folder / "db"),
        "DicomPort": port,
        "HttpPort": http_port,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomAlwaysAllowFind": True,
    }
    config.write_text(json.dumps(settings), encoding="utf-8")

    def count() -> int:
        url = f"http://127.0.0.1:{http_port}/statistics"
        with urllib.request.urlopen(url, timeout=30) as answer:
            return int(json.load(answer)["CountInstances"])

    command = [str(orthanc_executable()), str(config)]
    with _started(ORTHANC, command, folder, port, nodelay=nodelay, count=count) as receiver:
        yield receiver


@contextmanager
def storescp(folder: Path, *, nodelay: bool) -> Iterator[Receiver]:
    """Run storescp at its fastest: one process an association, the bytes as they come, no sync."""
    port = process.free_port()
    taken = folder / "taken"
    taken.mkdir()
    options = ["--fork", "--bit-preserving", "--max-pdu", "131072", "--output-directory"]
    command = ["storescp", *options, str(taken), str(port)]

    def count() -> int:
        return sum(1 for _ in taken.iterdir())

    with _started(STORESCP, command, folder, port, nodelay=nodelay, count=count) as receiver:
        yield receiver


def available() -> tuple[dict[str, Starter], list[str]]:
    """Return what can be started here, and a sentence for each receiver that cannot."""
    starters: dict[str, Starter] = {OURS: node, ROWS_FIRST: partial(node, journal=False)}
    absent = []
    for name, executable, starter in (
        (ORTHANC, orthanc_executable(), orthanc),
        (STORESCP, shutil.which("storescp"), storescp),
    ):
        if executable is None:
            absent.append(f"{name} is not installed.")
        else:
            starters[name] = starter
    return starters, absent


@contextmanager
def _started(
    name: str,
    command: list[str],
    folder: Path,
    port: int,
    *,
    nodelay: bool,
    count: Callable[[], int],
) -> Iterator[Receiver]:
    log = folder / "log"
    with process.running(command, log, process.environment(nodelay=nodelay)) as started:
        end = time.monotonic() + START_S
        while time.monotonic() < end and started.poll() is None:
            if _answers(port):
                yield Receiver(name=name, pid=started.pid, port=port, count=count)
                return
            time.sleep(0.2)
        told = log.read_text(encoding="utf-8", errors="replace")[-1000:]
        raise RuntimeError(f"{name} did not start: {told}")


def _answers(port: int) -> bool:
    echo = ["echoscu", "-q", "-to", "5", "127.0.0.1", str(port)]
    return subprocess.run(echo, timeout=30, check=False, stderr=subprocess.DEVNULL).returncode == 0
