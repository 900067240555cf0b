"""Nodes killed while they start for the first time, and what is left of a node that is killed."""

import os
import random
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.bench import process
from tests.torture import rig, served
from tests.torture.claims import Claim, Trial
from tests.torture.rig import Node
from tests.torture.steps import LISTENER

ONE_IN = 50
"""So many kills of the running node stand beside one of these."""
WITHIN_S = 1.0
UP_WITHIN_S = 60
GONE_WITHIN_S = 60
"""Beginning to run costs a process seconds of CPU before it can notice anything."""


def run(trial: Trial) -> Iterator[Claim]:
    """Kill first starts, then whole installations with their workers."""
    yield _first_starts(trial, max(3, trial.count // ONE_IN))
    yield _orphans(trial, max(1, trial.count // (10 * ONE_IN)))


def _first_starts(trial: Trial, count: int) -> Claim:
    """Kill a node that makes its database for the first time, then start it again."""
    chance = random.Random(trial.seed)
    faults = []
    for number in range(count):
        folder = trial.folder / f"first-{number}"
        folder.mkdir()
        port = process.free_port()
        node = Node(rig.settings_for(folder, port=port), folder)
        node.start(LISTENER)
        time.sleep(chance.uniform(0, WITHIN_S))
        node.kill()
        node.start(LISTENER)
        if not served.comes_up(port, within_s=UP_WITHIN_S):
            faults.append(f"start {number} did not come up")
        node.look()
        node.stop()
        faults += node.surprises
    name = f"{count} nodes killed at their first start, and started again"
    return Claim.of(name, "nodes that do not come up", faults, among=count)


def _orphans(trial: Trial, count: int) -> Claim:
    """Kill ``petct-node serve``: its worker processes end by themselves."""
    faults = []
    for number in range(count):
        folder = trial.folder / f"serve-{number}"
        folder.mkdir()
        settings = _with_workers(rig.settings_for(folder, port=process.free_port()))
        with served.listener(settings, folder) as pid:
            workers = _await_children(pid)
            os.kill(pid, signal.SIGKILL)
            faults += [str(one) for one in _still_there(workers)]
        if not workers:
            faults.append("no worker was started")
    name = f"petct-node serve with two workers killed, {count} times"
    return Claim.of(name, f"workers that outlive it by {GONE_WITHIN_S} s", faults, among=2 * count)


def _with_workers(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {**settings, "workers": {**settings["workers"], "processes": 2}}


def _await_children(pid: int) -> list[int]:
    end = time.monotonic() + UP_WITHIN_S
    children: list[int] = []
    # Two workers, and the tracker of their semaphores.
    while len(children) < 3 and time.monotonic() < end:
        time.sleep(0.1)
        told = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8")
        children = [int(one) for one in told.split()]
    return children


def _still_there(pids: list[int]) -> list[int]:
    end = time.monotonic() + GONE_WITHIN_S
    left = pids
    while left and time.monotonic() < end:
        time.sleep(0.1)
        left = [pid for pid in left if Path(f"/proc/{pid}/cmdline").is_file() and _runs(pid)]
    return left


def _runs(pid: int) -> bool:
    """Whether the process is more than an entry that nobody has waited for."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
