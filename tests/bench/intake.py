"""Receiving: DCMTK's storescu pushes the same study into each receiver in turn."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from threading import Timer

from inference.petct import PetCt
from tests.bench import memory, peers, process, study
from tests.bench.measure import Measure, Plan, Sample, compare, interleave
from tests.bench.peers import Receiver, Starter

SECTION = "Receive"
PUSH_S = 120
SETTLE_S = 0.1
"""What a receiver does after its last answer counts as its CPU time too."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way of sending."""

    case: str
    nodelay: bool
    associations: int
    slices: int
    is_rate: bool = True
    """Else the whole time is told: it is that of opening an association and starting a sender."""


@dataclass(frozen=True, kw_only=True)
class Push:
    """What one push took."""

    images: int
    seconds: float
    cpu_s: float
    """The receiver's."""


class Sender:
    """Pushes copies of the study, a new one each round, and counts what has been sent."""

    def __init__(self, petct: PetCt, folder: Path, *, nodelay: bool) -> None:
        self._petct, self._folder = petct, folder
        self._environment = process.environment(nodelay=nodelay)
        self._parts: tuple[Path, ...] = ()
        self._numbers = count()
        self.sent = 0

    def renew(self, slices: int) -> None:
        """Write a copy that no receiver has seen; the last one stays."""
        self._parts = study.copy_in_parts(
            self._petct, self._folder, next(self._numbers), slices=slices
        )
        self.sent += self._images()

    def push(self, receiver: Receiver, associations: int) -> Push:
        """Send the copy once."""
        os.sync()  # else a receiver that syncs would write what another one left unwritten
        before = process.cpu_s(receiver.pid)
        started = time.perf_counter()
        statuses = self._send(receiver.port, associations)
        seconds = time.perf_counter() - started
        if any(statuses):
            raise RuntimeError(f"storescu to {receiver.name} ended with {statuses}")
        self._await_all(receiver)
        time.sleep(SETTLE_S)
        spent = process.cpu_s(receiver.pid) - before
        return Push(images=self._images(), seconds=seconds, cpu_s=spent)

    def _await_all(self, receiver: Receiver) -> None:
        """Wait until the receiver has registered everything: that is its work, too."""
        end = time.monotonic() + PUSH_S
        while receiver.count() < self.sent and time.monotonic() < end:
            time.sleep(SETTLE_S)

    def _send(self, port: int, associations: int) -> list[int]:
        """Run one sender for each association, and return how they ended."""
        folders = [str(part) for part in self._parts]
        command = ["storescu", "-q", "+sd", "127.0.0.1", str(port)]
        senders = [
            subprocess.Popen([*command, *folders[i::associations]], env=self._environment)
            for i in range(associations)
        ]
        # With a timeout, wait() looks now and then only, and a push would end up to 50 ms later.
        watch = Timer(PUSH_S, lambda: [sender.kill() for sender in senders])
        watch.start()
        try:
            return [sender.wait() for sender in senders]
        finally:
            watch.cancel()

    def _images(self) -> int:
        return sum(1 for part in self._parts for _ in part.iterdir())


def measure(petct: PetCt, folder: Path, plan: Plan) -> tuple[list[Measure], list[str]]:
    """Measure 1, 4 and 16 associations, with TCP_NODELAY on both sides and as DCMTK comes."""
    starters, notes = peers.available()
    if shutil.which("storescu") is None:
        return [], ["Receive was not measured: storescu (DCMTK) is not installed."]
    measures = []
    for ways in _ways(plan):
        nodelay = ways[0].nodelay
        folders = {name: study.room(folder, f"{name}-") for name in starters}
        sender = Sender(petct, folder, nodelay=nodelay)
        with (
            memory.of_a_server(folder),
            _receivers(starters, folders, nodelay=nodelay) as receivers,
        ):
            for way in ways:
                measures += _measured(way, sender, receivers, plan)
            held = {one.name: (Sample(value=process.memory_mb(one.pid)),) for one in receivers}
            case = f"memory after all with {'nodelay' if nodelay else 'stock senders'}"
            measures += compare(SECTION, case, "MB", held)
            _assert_complete(receivers, sender.sent)
    return measures, notes


def _ways(plan: Plan) -> tuple[tuple[Way, ...], ...]:
    """Return the ways with TCP_NODELAY, then the stock ones."""
    return (
        (
            Way(case="nodelay, 1 association", nodelay=True, associations=1, slices=plan.slices),
            Way(case="nodelay, 4 associations", nodelay=True, associations=4, slices=plan.slices),
            Way(case="nodelay, 16 associations", nodelay=True, associations=16, slices=plan.slices),
            Way(case="nodelay, 2 images", nodelay=True, associations=1, slices=1, is_rate=False),
        ),
        tuple(
            Way(case=case, nodelay=False, associations=associations, slices=plan.stock_slices)
            for case, associations in (("stock, 1 association", 1), ("stock, 4 associations", 4))
        ),
    )


def _measured(way: Way, sender: Sender, receivers: Sequence[Receiver], plan: Plan) -> list[Measure]:
    def sample(receiver: Receiver) -> Sample:
        push = sender.push(receiver, way.associations)
        value = push.images / push.seconds if way.is_rate else push.seconds * 1000
        return Sample(value=value, cpu_ms=push.cpu_s * 1000 / push.images)

    subjects = {one.name: lambda one=one: sample(one) for one in receivers}
    samples = interleave(subjects, plan, prepare=lambda: sender.renew(way.slices))
    unit = "images/s" if way.is_rate else "ms"
    return compare(SECTION, way.case, unit, samples, more_is_better=way.is_rate)


def _assert_complete(receivers: Sequence[Receiver], sent: int) -> None:
    """A rate counts only where everything has arrived."""
    for receiver in receivers:
        held = receiver.count()
        if held != sent:
            raise RuntimeError(f"{receiver.name} holds {held} of {sent} instances")


@contextmanager
def _receivers(
    starters: Mapping[str, Starter], folders: Mapping[str, Path], *, nodelay: bool
) -> Iterator[tuple[Receiver, ...]]:
    with ExitStack() as stack:
        yield tuple(
            stack.enter_context(starter(folders[name], nodelay=nodelay))
            for name, starter in starters.items()
        )
