"""SIGKILLs of the node, at named steps and at random moments, while storescu pushes studies."""

import random
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event

from tests.bench.process import free_port
from tests.torture import births, pacs, rig
from tests.torture.claims import Claim, Trial
from tests.torture.rig import Node, Prepare
from tests.torture.sending import Sending
from tests.torture.steps import LISTENER, STEPS, WORKER, Step, install
from tests.torture.studies import Studies

AT_EACH_STEP = 20
RANDOM_WITHIN_S = 2.5
"""From the start of a process: it is not yet up at first, then it receives, analyses, delivers."""
PATIENCE_S = 30
"""How long the node may take to come to a step that it is to die at."""
DYING_S = 5
TRIES = 3


@dataclass(frozen=True, kw_only=True)
class Death:
    """One SIGKILL: at a step, or so long after the start; of one process or of the whole node."""

    step: Step | None
    after_s: float
    nth: int
    roles: tuple[str, ...]


def plan(count: int, chance: random.Random, *, is_whole: bool = False) -> list[Death]:
    """Draw ``count`` deaths: half at steps, each of them up to 20 times, the rest at any moment.

    ``is_whole``: always of the whole node.
    """
    at_each = min(AT_EACH_STEP, count // (2 * len(STEPS)))
    steps: list[Step | None] = [step for step in STEPS for _ in range(at_each)]
    if not steps:
        steps = [*chance.sample(STEPS, count // 2)]
    steps += [None] * (count - len(steps))
    deaths = [_drawn(step, chance, is_whole=is_whole) for step in steps]
    chance.shuffle(deaths)
    return deaths


def _drawn(step: Step | None, chance: random.Random, *, is_whole: bool) -> Death:
    both = (LISTENER, WORKER)
    parts = [] if is_whole else [(step.role,)] if step else [(LISTENER,), (WORKER,)]
    roles = chance.choice([both, *parts])
    return Death(
        step=step,
        after_s=chance.uniform(0, RANDOM_WITHIN_S),
        nth=chance.randint(1, step.calls if step else 1),
        roles=roles,
    )


@dataclass
class Killing:
    """Brings deaths to the node, and counts those that it died."""

    node: Node
    stop: Event
    at_steps: Counter[str] = field(default_factory=Counter)
    at_random: Counter[str] = field(default_factory=Counter)

    @property
    def count(self) -> int:
        """How often the node was killed."""
        return self.at_steps.total() + self.at_random.total()

    def run(self, deaths: Sequence[Death]) -> None:
        """Kill as often as there are deaths; a step not come to is tried again at the end."""
        waiting = list(deaths)
        tries = TRIES * len(waiting)
        while waiting and tries and not self.stop.is_set():
            tries -= 1
            death = waiting.pop(0)
            self.node.start()
            if not self.kill(death):
                waiting.append(death)
            self.node.look()

    def kill(self, death: Death) -> bool:
        """Bring one death; False where the node did not come to the step."""
        if death.step is None:
            time.sleep(death.after_s)
            self.node.look()
            self.at_random[" and ".join(death.roles)] += 1
            self.end(death.roles)
            return True
        self.node.arm.set(death.step, death.nth)
        died = self.node.await_death(death.step.role, PATIENCE_S)
        self.node.arm.clear()
        # Who came to the step at the last moment is still about to die.
        died = died or self.node.await_death(death.step.role, DYING_S)
        if died:
            self.at_steps[death.step.name] += 1
            self.end(death.roles)
        return died

    def end(self, roles: tuple[str, ...]) -> None:
        """End the processes of these roles, those that run."""
        self.node.kill(*roles)

    def claim(self, trial: str, count: int) -> Claim:
        """Say how often, where and whom; it has to be as often as was asked for."""
        least = min(self.at_steps[step.name] for step in STEPS)
        each = f", {least} or more at each of them" if least else ""
        roles = ", ".join(f"{name} {count}" for name, count in sorted(self.at_random.items()))
        found = (
            f"{self.count}: {self.at_steps.total()} at {len(self.at_steps)} steps{each}; "
            f"{self.at_random.total()} at random moments ({roles})"
        )
        claim = f"ends of processes, among them at {len(STEPS)} named steps"
        return Claim(trial=trial, claim=claim, found=found, holds=self.count >= count)


@contextmanager
def campaign(
    trial: Trial, *, prepare: Prepare = install, **sections: Mapping[str, object]
) -> Iterator[tuple[Node, Sending]]:
    """Have a node, its Orthanc, and senders that go on until they are told to finish."""
    port = free_port()
    with pacs.running(trial.folder / "orthanc", node_port=port) as archive:
        settings = rig.settings_for(
            trial.folder,
            port=port,
            assembly={"sources": {"pacs": archive.peer}},
            destinations={"pacs": archive.peer},
            delivery={"retry_first_s": 0.2, "retry_longest_s": 1},
            **sections,
        )
        node = Node(settings, trial.folder, prepare=prepare)
        sending = Sending(node, archive, Studies(trial.folder / "studies"))
        try:
            yield node, sending
        finally:
            sending.abandon()
            node.kill()


def run(trial: Trial) -> Iterator[Claim]:
    """Kill ``trial.count`` times, let the node come to rest, and compare."""
    name = f"{trial.count} SIGKILLs of the node while storescu pushes studies"
    with campaign(trial) as (node, sending):
        killing = Killing(node, trial.stop)
        killing.run(plan(trial.count, random.Random(trial.seed)))
        sending.come_to_rest()
        yield killing.claim(name, trial.count)
        yield from sending.claims(name)
        yield Claim.of(name, "answers to C-STORE but Success", list(sending.refused))
    yield from births.run(trial)
