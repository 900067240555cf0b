"""Receiving: DCMTK's storescu pushes the same study into each receiver in turn."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from inference.petct import PetCt
from tests.bench import peers, process, study
from tests.bench.measure import Measure, Plan, Sample, compare, interleave
from tests.bench.peers import Receiver, Starter

SECTION = "Receiving"
PUSH_S = 120
SETTLE_S = 0.1
"""What a receiver does after its last answer counts as its CPU time too."""


class Sender:
    """Pushes copies of the study, a new one each round, and counts what has been sent."""

    def __init__(
        self, petct: PetCt, folder: Path, *, slices: int, nodelay: bool, associations: int
    ) -> None:
        self._petct, self._folder, self._slices = petct, folder, slices
        self._environment = process.environment(nodelay=nodelay)
        self._associations = associations
        self._copies = ExitStack()
        self._parts: tuple[Path, ...] = ()
        self._number = 0
        self.sent = 0

    def renew(self) -> None:
        """Write a copy that no receiver has seen."""
        self._copies.close()
        # UIDs of their own for each way of sending, as the receivers keep what they have.
        number = self._number * 100 + self._associations
        self._parts = self._copies.enter_context(
            study.copy_in_parts(self._petct, self._folder, number, slices=self._slices)
        )
        self._number += 1
        self.sent += self._count()

    def close(self) -> None:
        """Remove the last copy."""
        self._copies.close()

    def push(self, receiver: Receiver) -> Sample:
        """Send the copy once: instances per second, and CPU of the receiver for each."""
        os.sync()  # else a receiver that syncs would write what another one left unwritten
        before = process.cpu_s(receiver.pid)
        started = time.perf_counter()
        with ExitStack() as stack:
            senders = [
                stack.enter_context(
                    subprocess.Popen(
                        ["storescu", "-q", "+sd", "127.0.0.1", str(receiver.port), *folders],
                        env=self._environment,
                    )
                )
                for folders in self._dealt()
            ]
            statuses = [_ended(sender) for sender in senders]
        seconds = time.perf_counter() - started
        if any(statuses):
            raise RuntimeError(f"storescu to {receiver.name} ended with {statuses}")
        time.sleep(SETTLE_S)
        count = self._count()
        spent = process.cpu_s(receiver.pid) - before
        return Sample(value=count / seconds, cpu_ms=spent * 1000 / count)

    def _dealt(self) -> list[list[str]]:
        folders = [str(part) for part in self._parts]
        return [folders[i :: self._associations] for i in range(self._associations)]

    def _count(self) -> int:
        return sum(1 for part in self._parts for _ in part.iterdir())


def measure(petct: PetCt, folder: Path, plan: Plan) -> tuple[list[Measure], list[str]]:
    """Measure 1 and 4 associations, with TCP_NODELAY on both sides and as DCMTK is by default."""
    starters, notes = peers.available()
    if shutil.which("storescu") is None:
        return [], ["Receiving was left out: storescu (DCMTK) is not installed."]
    measures = []
    for nodelay in (True, False):
        with _receivers(starters, folder, nodelay=nodelay) as receivers:
            sent = 0
            for associations in (1, 4):
                sender = Sender(
                    petct,
                    folder,
                    slices=plan.slices if nodelay else plan.stock_slices,
                    nodelay=nodelay,
                    associations=associations,
                )
                measures += _case(sender, receivers, plan, _name(associations, nodelay=nodelay))
                sent += sender.sent
            _assert_complete(receivers, sent)
    return measures, notes


def _case(sender: Sender, receivers: Sequence[Receiver], plan: Plan, case: str) -> list[Measure]:
    subjects = {one.name: lambda one=one: sender.push(one) for one in receivers}
    try:
        samples = interleave(subjects, plan, prepare=sender.renew)
    finally:
        sender.close()
    return compare(SECTION, case, "images/s", samples, more_is_better=True)


def _assert_complete(receivers: Sequence[Receiver], sent: int) -> None:
    """A rate counts only where everything has arrived."""
    for receiver in receivers:
        held = receiver.count()
        if held != sent:
            raise RuntimeError(f"{receiver.name} holds {held} of {sent} instances")


@contextmanager
def _receivers(
    starters: Mapping[str, Starter], folder: Path, *, nodelay: bool
) -> Iterator[tuple[Receiver, ...]]:
    with ExitStack() as stack:
        started = []
        for name, starter in starters.items():
            own = Path(stack.enter_context(TemporaryDirectory(dir=folder, prefix=f"{name}-")))
            started.append(stack.enter_context(starter(own, nodelay=nodelay)))
        yield tuple(started)


def _ended(sender: subprocess.Popen[bytes]) -> int:
    try:
        return sender.wait(timeout=PUSH_S)
    except subprocess.TimeoutExpired:
        sender.kill()
        raise


def _name(associations: int, *, nodelay: bool) -> str:
    how = "nodelay" if nodelay else "stock"
    return f"{how}, {associations} association{'s' if associations > 1 else ''}"
