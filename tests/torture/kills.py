"""SIGKILLs of the node, at named steps and at random moments, while storescu pushes studies."""

import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

from tests.bench.process import free_port
from tests.torture import pacs, rig, sender
from tests.torture.claims import Claim, Trial
from tests.torture.pacs import Pacs
from tests.torture.rig import Node
from tests.torture.steps import LISTENER, STEPS, WORKER, Step
from tests.torture.studies import Studies, Study
from tests.torture.verdict import Holding

AT_EACH_STEP = 20
RANDOM_WITHIN_S = 2.5
"""From the start of a process: it is not yet up at first, then it receives, analyses, delivers."""
PATIENCE_S = 30
"""How long the node may take to come to a step that it is to die at."""
SENDERS = 2
BACKLOG = 4
END_S = 180
RESEND_S = 0.05


@dataclass(frozen=True, kw_only=True)
class Death:
    """One SIGKILL: at a step, or so long after the start; of one process or of the whole node."""

    step: Step | None
    after_s: float
    nth: int
    roles: tuple[str, ...]


def plan(count: int, chance: random.Random) -> list[Death]:
    """Draw ``count`` deaths: each step up to 20 times, at most half of all, then random moments."""
    at_each = min(AT_EACH_STEP, count // (2 * len(STEPS)))
    steps = [step for step in STEPS for _ in range(at_each)]
    deaths = [_at(step, chance) for step in steps]
    deaths += [_at(None, chance) for _ in range(count - len(steps))]
    chance.shuffle(deaths)
    return deaths


def _at(step: Step | None, chance: random.Random) -> Death:
    both = (LISTENER, WORKER)
    roles = chance.choice([both, (step.role,)] if step else [both, (LISTENER,), (WORKER,)])
    return Death(
        step=step,
        after_s=chance.uniform(0, RANDOM_WITHIN_S),
        nth=chance.randint(1, step.calls if step else 1),
        roles=roles,
    )


class Sending:
    """Senders that push one study after another, each again and again until all is acknowledged."""

    def __init__(self, node: Node, archive: Pacs, studies: Studies) -> None:
        self._node, self._archive, self._studies = node, archive, studies
        self._enough = Event()
        self.begun: list[Study] = []
        self.acknowledged: dict[str, Path] = {}
        self.refused: Counter[str] = Counter()
        self.failures: list[BaseException] = []
        self._threads = [Thread(target=self._run, name=f"sender-{n}") for n in range(SENDERS)]
        for thread in self._threads:
            thread.start()

    def finish(self) -> None:
        """Bring what is begun to its end and begin nothing more."""
        self._enough.set()
        for thread in self._threads:
            thread.join()
        if self.failures:
            raise self.failures[0]

    def _run(self) -> None:
        try:
            while not self._enough.is_set():
                if len(self.begun) - Holding(self._node.settings).outcomes() < BACKLOG:
                    self._send(self._studies.another())
                else:
                    time.sleep(0.1)
        except BaseException as error:  # noqa: BLE001  it is raised again where the thread is joined
            self.failures.append(error)

    def _send(self, study: Study) -> None:
        self._archive.hold(study)
        self.begun.append(study)
        uids = {path: uid for uid, path in study.files.items()}
        missing = list(uids)
        while missing:
            pushed = sender.push(missing, self._node.settings.listener.port)
            self.acknowledged |= {uids[path]: path for path in pushed.acknowledged}
            self.refused.update(pushed.other_answers)
            taken = {*pushed.acknowledged}
            missing = [path for path in missing if path not in taken]
            if missing:
                time.sleep(RESEND_S)


@dataclass
class Killing:
    """Brings the deaths to the node, and counts those that it died."""

    node: Node
    chance: random.Random
    stop: Event
    at_steps: Counter[str] = field(default_factory=Counter)
    at_random: Counter[str] = field(default_factory=Counter)

    @property
    def count(self) -> int:
        return self.at_steps.total() + self.at_random.total()

    def run(self, deaths: Sequence[Death]) -> None:
        """Kill as often as there are deaths; a step not come to is tried again at the end."""
        waiting = list(deaths)
        tries = 2 * len(waiting)
        while waiting and tries and not self.stop.is_set():
            tries -= 1
            death = waiting.pop(0)
            self.node.start()
            if not self._kill(death):
                waiting.append(death)
            self.node.look()

    def _kill(self, death: Death) -> bool:
        if death.step is None:
            time.sleep(death.after_s)
            self.node.kill(*death.roles)
            self.at_random[" and ".join(death.roles)] += 1
            return True
        self.node.arm.set(death.step, death.nth)
        died = self.node.await_death(death.step.role, PATIENCE_S)
        self.node.arm.clear()
        if died:
            self.at_steps[death.step.name] += 1
        self.node.kill(*death.roles)
        return died


def run(trial: Trial) -> Iterator[Claim]:
    """Kill ``trial.count`` times, let the node come to rest, and compare."""
    chance = random.Random(trial.seed)
    with pacs.running(trial.folder / "orthanc") as archive:
        settings = rig.settings_for(
            trial.folder,
            port=free_port(),
            assembly={"sources": {"pacs": archive.peer}},
            destinations={"pacs": archive.peer},
            delivery={"retry_first_s": 0.2, "retry_longest_s": 1},
        )
        node = Node(settings, trial.folder)
        sending = Sending(node, archive, Studies(trial.folder / "studies"))
        killing = Killing(node, chance, trial.stop)
        try:
            killing.run(plan(trial.count, chance))
        finally:
            node.start()
            sending.finish()
        _await_rest(node, sending)
        node.stop()
        yield from _claims(trial, killing, sending, archive)


def _await_rest(node: Node, sending: Sending) -> None:
    """Wait until every study has its outcome and nothing is owed; the claims say if it is not."""
    holding = Holding(node.settings)
    end = time.monotonic() + END_S
    while time.monotonic() < end and not holding.is_at_rest(len(sending.begun)):
        time.sleep(0.3)


def _claims(trial: Trial, killing: Killing, sending: Sending, archive: Pacs) -> Iterator[Claim]:
    holding = Holding(killing.node.settings)
    uids = [study.study_instance_uid for study in sending.begun]
    images = sum(len(study.files) for study in sending.begun)
    steps = killing.at_steps
    at_least = min((steps[step.name] for step in STEPS), default=0)
    held = archive.results()
    of = f"{killing.count} SIGKILLs"
    yield Claim(
        trial=f"{trial.count} SIGKILLs of the node while storescu pushes {len(uids)} studies",
        claim=f"it is killed at {len(STEPS)} named steps and at random moments",
        found=f"{killing.count}: {steps.total()} at steps, each at least {at_least}; "
        f"{killing.at_random.total()} at random ({_told(killing.at_random)})",
        holds=killing.count >= trial.count,
    )
    yield Claim.of(
        of,
        "acknowledged instances missing or different",
        holding.lost(sending.acknowledged),
        among=images,
    )
    yield Claim.of(
        of, "files without a row, rows without their file, quarantined bytes", holding.astray()
    )
    yield Claim.of(
        of, "studies without exactly one outcome", holding.undecided(uids), among=len(uids)
    )
    yield Claim.of(
        of,
        "results missing, doubled, different or unknown in Orthanc",
        holding.misdelivered(uids, held),
        among=sum(map(len, held.values())),
    )
    yield Claim.of(
        of,
        "faults of the database: integrity, foreign keys, jobs left over",
        holding.inconsistencies(),
    )
    yield Claim.of(
        of,
        "ends and starts that nobody asked for; answers but Success",
        [*killing.node.surprises, *sending.refused],
    )


def _told(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
