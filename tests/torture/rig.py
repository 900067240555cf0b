"""A node under test: listener and worker as processes of their own, started in an instant.

They are forked from a server that has imported everything. Each is what ``petct-node serve`` with
``workers.processes: 0`` and ``petct-node work`` are.
"""

import multiprocessing
import os
import signal
from collections.abc import Callable, Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from node import bootstrap
from node.config import Settings, settings_from
from tests.torture.sender import CALLING_AE_TITLE
from tests.torture.steps import LISTENER, WORKER, Arm, install

PRELOADED = ["tests.torture.rig", "inference.openvino_engine", "inference.onnx_engine"]
STOP_S = 30
ATTEMPTS = 10_000
"""A job whose worker is killed again and again must not count as one that kills workers."""
Prepare = Callable[[Arm], None]
"""What a process does to itself before it becomes the node; it can be pickled."""


class Node:
    """The processes of one node, its settings and its log."""

    def __init__(
        self, settings: Mapping[str, Any], folder: Path, *, prepare: Prepare = install
    ) -> None:
        self.document = settings
        self.settings: Settings = settings_from(settings)
        self.log = folder / "node.log"
        self.arm = Arm()
        self._prepare = prepare
        self.surprises: list[str] = []
        """How processes ended that nobody killed."""
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(PRELOADED)
        self._running: dict[str, BaseProcess] = {}

    def start(self, *roles: str) -> None:
        """Start what does not run, by default both roles."""
        for role in roles or (LISTENER, WORKER):
            if role not in self._running:
                process = self._context.Process(
                    target=_be,
                    args=(role, self.document, str(self.log), self.arm, self._prepare),
                    name=role,
                )
                process.start()
                self._running[role] = process

    def pid(self, role: str) -> int:
        """Return the process of a role that runs."""
        pid = self._running[role].pid
        assert pid is not None
        return pid

    def await_death(self, role: str, timeout_s: float) -> bool:
        """Wait until the process of the role has ended; False if it has not."""
        process = self._running[role]
        process.join(timeout_s)
        return self._bury(role) if process.exitcode is not None else False

    def kill(self, *roles: str, is_dark: bool = False) -> None:
        """End processes with SIGKILL, by default all that run, at the same moment.

        ``is_dark``: their disks went first, and whoever noticed has ended already.
        """
        victims = [role for role in roles or tuple(self._running) if role in self._running]
        for role in victims:
            self._running[role].kill()
        for role in victims:
            self._running[role].join()
            self._bury(role, expected=None if is_dark else -signal.SIGKILL)

    def look(self) -> None:
        """Note each process that has ended by itself."""
        for role in list(self._running):
            if self._running[role].exitcode is not None:
                self._bury(role)

    def stop(self) -> None:
        """End all that runs with SIGTERM, as an operator does."""
        for process in self._running.values():
            process.terminate()
        for role in list(self._running):
            self._running[role].join(STOP_S)
            if self._running[role].exitcode is None:
                self.surprises.append(f"{role} did not stop within {STOP_S} s")
                self.kill(role)
                continue
            self._bury(role, expected=0)

    def _bury(self, role: str, expected: int | None = -signal.SIGKILL) -> bool:
        status = self._running.pop(role).exitcode
        if expected is not None and status != expected:
            self.surprises.append(f"{role} ended with status {status}")
        return True


def settings_for(folder: Path, *, port: int, **sections: Any) -> dict[str, Any]:
    """Return the settings of a node that keeps all below ``folder``."""
    return {
        "listener": {"port": port, "calling_ae_titles": [CALLING_AE_TITLE]},
        "store": {"root": str(folder / "store"), "free_bytes_min": 0},
        "database": {"url": f"sqlite:///{folder / 'node.sqlite3'}"},
        "model": {"threads": 1},
        "workers": {"processes": 0, "lease_s": 2, "attempts": ATTEMPTS},
    } | sections


def _be(role: str, document: Mapping[str, Any], log: str, arm: Arm, prepare: Prepare) -> None:
    """Be a process of the node until a signal ends it."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    arm.role = role
    prepare(arm)
    settings = settings_from(document)
    raise SystemExit(bootstrap.serve(settings) if role == LISTENER else bootstrap.work(settings))
