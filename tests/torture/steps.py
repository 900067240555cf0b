"""The named steps of the node's work, and how a process ends itself at one of them.

Only a process of the torture installs these; the node knows nothing of them.
"""

import os
import signal
from collections.abc import Callable
from ctypes import c_int
from dataclasses import dataclass
from functools import wraps
from importlib import import_module
from multiprocessing.sharedctypes import RawArray
from threading import Lock
from typing import Any, Literal

LISTENER, WORKER = "listener", "worker"
REHEARSAL = "node.rehearsal:rehearse"
Moment = Literal["before", "after"]


@dataclass(frozen=True, kw_only=True)
class Step:
    """A place in the node: a callable, and whether the process ends before it or after it."""

    name: str
    role: str
    target: str
    """``module:attribute`` or ``module:Class.attribute``."""
    moment: Moment
    calls: int = 1
    """The process ends at one of so many calls, drawn by chance."""
    has_answer: bool = False
    """Whether only calls count that answer with something, as a claim that yields a job does."""


STEPS = (
    Step(
        name="receive",
        role=LISTENER,
        target="node.intake:Intake.receive_together",
        moment="before",
        calls=60,
    ),
    Step(
        name="journal: written, not synced",
        role=LISTENER,
        target="node.journal:os.fdatasync",
        moment="before",
        calls=60,
    ),
    Step(
        name="journal: safe, not answered",
        role=LISTENER,
        target="node.backlog:Backlog.write_together",
        moment="after",
        calls=60,
    ),
    Step(
        name="file: not read back",
        role=LISTENER,
        target="node.journal:Journal.read",
        moment="before",
        calls=4,
    ),
    Step(
        name="register: written, not synced",
        role=LISTENER,
        target="node.store:os.fsync",
        moment="before",
        calls=120,
    ),
    Step(
        name="register: bytes synced, no name",
        role=LISTENER,
        target="node.store:os.link",
        moment="before",
        calls=60,
    ),
    Step(
        name="register: name given, folder not synced",
        role=LISTENER,
        target="node.store:os.link",
        moment="after",
        calls=60,
    ),
    Step(
        name="register: file safe, no row",
        role=LISTENER,
        target="node.store:Store.settle",
        moment="after",
        calls=4,
    ),
    Step(
        name="register: row written, not committed",
        role=LISTENER,
        target="node.intake:instances.register",
        moment="after",
        calls=60,
    ),
    Step(
        name="register: row committed, journal not released",
        role=LISTENER,
        target="node.journal:Journal.release",
        moment="before",
        calls=60,
    ),
    Step(
        name="receive: association ends",
        role=LISTENER,
        target="node.intake:Intake.closed",
        moment="before",
    ),
    Step(
        name="assemble: not committed",
        role=LISTENER,
        target="node.assembly:jobs.enqueue",
        moment="after",
        has_answer=True,
    ),
    Step(
        name="assemble: committed",
        role=LISTENER,
        target="node.assembly:Assembler.assemble",
        moment="after",
        has_answer=True,
    ),
    Step(
        name="claim: not committed",
        role=WORKER,
        target="node.worker:jobs.claim",
        moment="after",
        has_answer=True,
    ),
    Step(
        name="claim: committed", role=WORKER, target="node.worker:instances.of_job", moment="before"
    ),
    Step(name="read", role=WORKER, target="node.analysis:volumes.load", moment="after"),
    Step(name="infer", role=WORKER, target="node.analysis:analyze", moment="after"),
    Step(
        name="write: before an object",
        role=WORKER,
        target="node.store:Store.put_result",
        moment="before",
        calls=3,
    ),
    Step(
        name="write: an object has no name",
        role=WORKER,
        target="pathlib:Path.replace",
        moment="before",
        calls=3,
    ),
    Step(
        name="write: objects safe, outcome not committed",
        role=WORKER,
        target="node.worker:jobs.conclude",
        moment="after",
    ),
    Step(
        name="write: outcome committed",
        role=WORKER,
        target="node.worker:Worker.work",
        moment="after",
        has_answer=True,
    ),
    Step(name="deliver: before", role=LISTENER, target="node.exchange:send", moment="before"),
    Step(
        name="deliver: taken, not noted",
        role=LISTENER,
        target="node.exchange:send",
        moment="after",
    ),
    Step(
        name="deliver: noted, not committed",
        role=LISTENER,
        target="node.delivery:deliveries.sent",
        moment="after",
        calls=3,
    ),
    Step(
        name="commit: request stored, not made",
        role=LISTENER,
        target="node.commitment:commitments.store",
        moment="after",
    ),
    Step(
        name="commit: request made, not noted",
        role=LISTENER,
        target="node.commitment:commitments.asked",
        moment="before",
    ),
    Step(
        name="commit: report heard, not committed",
        role=LISTENER,
        target="node.commitment:deliveries.settle",
        moment="after",
        calls=3,
    ),
    Step(
        name="commit: noted, not answered",
        role=LISTENER,
        target="node.commitment:Confirmation.heard",
        moment="after",
    ),
)


class Arm:
    """Shared with the processes: which step ends them, and at which of its calls.

    Without a lock: a process that is killed would keep it for ever.
    """

    def __init__(self) -> None:
        self._cells = RawArray(c_int, [-1, 0])
        self.role: str | None = None
        """Whose process this is: another one may call the same function, and is not to end."""

    def set(self, step: Step, nth: int) -> None:
        """From now on, the process ends that comes to ``step`` for the ``nth`` time."""
        self._cells[1] = nth
        self._cells[0] = STEPS.index(step)

    def clear(self) -> None:
        """From now on no process ends by itself."""
        self._cells[0] = -1

    def strike(self, step: Step) -> bool:
        """Count a call of ``step``; say whether it is the one."""
        if self._cells[0] != STEPS.index(step) or self.role not in {None, step.role}:
            return False
        self._cells[1] -= 1
        return self._cells[1] <= 0


def die() -> None:
    """End this process as SIGKILL does."""
    os.kill(os.getpid(), signal.SIGKILL)


def install(arm: Arm, *, end: Callable[[], None] = die) -> None:
    """Put a check at every step of this process, which calls ``end`` where it is struck.

    Nothing is rehearsed: a rehearsal would be struck at the steps of the studies that were sent.
    """
    setattr(*_at(REHEARSAL), _nothing_rehearsed)
    lock = Lock()

    def struck(step: Step) -> None:
        with lock:
            if arm.strike(step):
                end()

    for step in STEPS:
        owner, name = place(step)
        setattr(owner, name, _fatal(getattr(owner, name), step, struck))


def _nothing_rehearsed(*_: object, **__: object) -> bool:
    return True


def place(step: Step) -> tuple[Any, str]:
    """Return the object that holds the callable of ``step``, and its name there."""
    return _at(step.target)


def _at(target: str) -> tuple[Any, str]:
    module, _, path = target.partition(":")
    *owners, name = path.split(".")
    owner = import_module(module)
    for one in owners:
        owner = getattr(owner, one)
    return owner, name


def _fatal(
    called: Callable[..., Any], step: Step, struck: Callable[[Step], None]
) -> Callable[..., Any]:
    @wraps(called)
    def before(*args: Any, **kwargs: Any) -> Any:
        struck(step)
        return called(*args, **kwargs)

    @wraps(called)
    def after(*args: Any, **kwargs: Any) -> Any:
        answer = called(*args, **kwargs)
        if answer or not step.has_answer:
            struck(step)
        return answer

    return before if step.moment == "before" else after
