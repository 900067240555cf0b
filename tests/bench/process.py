"""Starts receivers as processes, counts their CPU time, and ends what it started."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
STOP_S = 20


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


def environment(*, nodelay: bool) -> dict[str, str]:
    """Return our environment with DCMTK's switch against Nagle's algorithm set or absent."""
    known = {name: value for name, value in os.environ.items() if name != "TCP_NODELAY"}
    return {**known, "TCP_NODELAY": "1"} if nodelay else known


@contextmanager
def running(
    command: Sequence[str], log: Path, env: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process for the length of the block."""
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env=dict(env), cwd=ROOT)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def cpu_s(pid: int) -> float:
    """Return the CPU time of a process and of all that it started, the dead included.

    Of the living in nanoseconds, by their clocks (clock_getcpuclockid(3)); of the dead in ticks
    (proc(5)), which is all that the kernel keeps of them.
    """
    spent = 0.0
    for one in _family(pid):
        try:
            fields = (Path("/proc") / str(one) / "stat").read_text().rpartition(")")[2].split()
            spent += time.clock_gettime(_cpu_clock(one))
        except OSError:
            continue
        spent += sum(int(field) for field in fields[13:15]) / TICKS_PER_S
    return spent


def _cpu_clock(pid: int) -> int:
    """Return the clock of a process's CPU time, as glibc makes it of the process's number."""
    return ~pid << 3 | 2


def memory_mb(pid: int) -> float:
    """Return what a process and its descendants hold, shared pages shared out (proc(5), Pss)."""
    held_kb = 0
    for one in _family(pid):
        try:
            told = Path(f"/proc/{one}/smaps_rollup").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        held_kb += int(told.partition("Pss:")[2].split()[0])
    return held_kb / 1024


def _family(pid: int) -> list[int]:
    """Return the process and its living descendants."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            parents[int(entry.name)] = int(fields[1])
    return [one for one in parents if _descends(one, pid, parents)]


def _descends(pid: int, ancestor: int, parents: Mapping[int, int]) -> bool:
    while pid in parents:
        if pid == ancestor:
            return True
        pid = parents[pid]
    return False
