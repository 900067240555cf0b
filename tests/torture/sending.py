"""Studies that senders push into a node, whatever becomes of it, until all is acknowledged."""

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread

from tests.torture import sender
from tests.torture.claims import Claim
from tests.torture.pacs import Pacs
from tests.torture.rig import Node
from tests.torture.studies import Studies, Study
from tests.torture.verdict import Holding

SENDERS = 2
BACKLOG = 4
"""So many studies may be under way at once; senders wait for the node before they begin more."""
END_S = 180
RESEND_S = 0.05
LOOK_S = 0.3


class Sending:
    """Senders that push one study after another, each again and again until all is acknowledged."""

    def __init__(self, node: Node, archive: Pacs, studies: Studies) -> None:
        self._node, self._archive, self._studies = node, archive, studies
        self._enough, self._hopeless = Event(), Event()
        self.begun: list[Study] = []
        self.acknowledged: dict[str, Path] = {}
        self.refused: Counter[str] = Counter()
        self._failures: list[BaseException] = []
        self._threads = [Thread(target=self._run, name=f"sender-{n}") for n in range(SENDERS)]
        for thread in self._threads:
            thread.start()

    def come_to_rest(self) -> None:
        """Let the node have what is begun and do what it owes, then stop it.

        What is not done in time the claims will say.
        """
        self._node.start()
        self._enough.set()
        end = time.monotonic() + END_S
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        self.abandon()
        holding = Holding(self._node.settings)
        while time.monotonic() < end and not holding.is_at_rest(len(self.begun)):
            time.sleep(LOOK_S)
        self._node.look()
        self._node.stop()
        if self._failures:
            raise self._failures[0]

    def abandon(self) -> None:
        """Send nothing more."""
        self._enough.set()
        self._hopeless.set()
        for thread in self._threads:
            thread.join()

    def claims(self, trial: str) -> Iterator[Claim]:
        """Compare what the node, standing still, and the PACS hold with what was promised."""
        holding = Holding(self._node.settings)
        uids = [study.study_instance_uid for study in self.begun]
        held = self._archive.results()
        objects = sum(map(len, held.values()))
        yield Claim.of(
            trial,
            "acknowledged instances missing or different",
            holding.lost(self.acknowledged),
            among=len(self.acknowledged),
        )
        yield Claim.of(
            trial,
            "files without a row, rows without their file, quarantined bytes",
            holding.astray(),
        )
        yield Claim.of(
            trial,
            "studies without exactly one outcome",
            holding.undecided(uids),
            among=len(uids),
        )
        yield Claim.of(
            trial,
            "results missing, doubled, different or unknown in Orthanc",
            holding.misdelivered(uids, held),
            among=objects,
        )
        yield Claim.of(
            trial,
            "faults of the database: integrity, foreign keys, jobs left over",
            holding.inconsistencies(),
        )
        yield Claim.of(trial, "ends of a process that nobody asked for", self._node.surprises)

    def _run(self) -> None:
        try:
            while not self._enough.is_set():
                if len(self.begun) - Holding(self._node.settings).outcomes() < BACKLOG:
                    self._send(self._studies.another())
                else:
                    time.sleep(LOOK_S)
        except BaseException as error:  # noqa: BLE001  it is raised again where the threads are joined
            self._failures.append(error)

    def _send(self, study: Study) -> None:
        self._archive.hold(study)
        self.begun.append(study)
        uids = {path: uid for uid, path in study.files.items()}
        missing = list(uids)
        while missing and not self._hopeless.is_set():
            pushed = sender.push(missing, self._node.settings.listener.port)
            self.acknowledged |= {uids[path]: path for path in pushed.acknowledged}
            self.refused.update(pushed.other_answers)
            taken = {*pushed.acknowledged}
            missing = [path for path in missing if path not in taken]
            if missing:
                time.sleep(RESEND_S)
