"""The worker processes of a node, watched: one that ends, hangs or grows too large is replaced."""

import ctypes
import logging
import multiprocessing
import multiprocessing.connection
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from multiprocessing.context import SpawnProcess
from multiprocessing.process import BaseProcess
from pathlib import Path
from signal import SIGKILL
from threading import Thread
from types import TracebackType
from typing import Self

from inference.findings import Reason
from node.backoff import Backoff

logger = logging.getLogger(__name__)

GRACE_S = 20
"""How long a worker may finish its study when the node stops."""
KILL_S = 10
"""How long a killed process may take to be gone; one that waits for a broken disk takes longer."""
LOOK_S = 0.25
"""How often who rests looks whether it is called, should no bell have rung."""
QUICK_DEATH_S = 60
"""Who ends sooner after it was started is replaced with a growing pause."""
PAUSES = Backoff(first=timedelta(seconds=1), longest=timedelta(seconds=60))


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What one study may cost; None: as much as it takes."""

    timeout_s: float | None = None
    memory_bytes_max: int | None = None


class Bell:
    """Wakes who waits in another process: a pipe, of which nobody has to read what is in it.

    A process that is killed leaves nothing locked, and a bell that nobody hears holds up nobody.
    """

    def __init__(self, context: multiprocessing.context.SpawnContext) -> None:
        self._heard, self._rope = context.Pipe(duplex=False)

    def ring(self) -> None:
        """Wake who waits now, or else who waits next."""
        os.set_blocking(self._rope.fileno(), False)  # a full pipe has been rung
        with suppress(BlockingIOError):
            os.write(self._rope.fileno(), b"\0")

    @staticmethod
    def wait(bells: Sequence["Bell"], at_most_s: float) -> None:
        """Wait until one of several rings; no longer than that."""
        for heard in multiprocessing.connection.wait([one._heard for one in bells], at_most_s):
            assert isinstance(heard, multiprocessing.connection.Connection)
            os.read(heard.fileno(), 1 << 16)


class Duty:
    """What a crew and one of its workers tell each other, in memory that both see.

    Plain values, without a lock: a worker may be killed at any moment, also while it holds one.
    Bells only spare who waits looking at them again and again.
    """

    def __init__(self, context: multiprocessing.context.SpawnContext, number: int) -> None:
        self.number = number  # of the place in the crew, which a successor takes over
        self._over = context.RawValue(ctypes.c_bool, False)  # noqa: FBT003  the initial value
        # CLOCK_MONOTONIC is one for all processes of a machine; no setting of clocks moves it.
        self._busy_since = context.RawValue(ctypes.c_double, time.monotonic())
        self._calls = context.RawValue(ctypes.c_ulong, 0)  # only the crew counts them up
        self._outcomes = context.RawValue(ctypes.c_ulong, 0)  # only the worker
        self._calls_seen = self._outcomes_seen = 0
        self._called, self.news = Bell(context), Bell(context)

    def begin(self) -> None:
        """Say that something begins that may take too long; a new worker has begun."""
        self._calls_seen = self._calls.value
        self._busy_since.value = time.monotonic()

    def end(self) -> None:
        """Say that there is nothing to do."""
        self._busy_since.value = 0.0

    def rest(self, at_most_s: float) -> None:
        """Wait until called since the last beginning, or told to finish; no longer than that."""
        end = time.monotonic() + at_most_s
        while time.monotonic() < end and not self.is_over():
            if self._calls.value != self._calls_seen:
                return
            Bell.wait([self._called], min(LOOK_S, max(end - time.monotonic(), 0.0)))

    def call(self) -> None:
        """Tell the worker that there is something to do."""
        self._calls.value += 1
        self._called.ring()

    def tell(self) -> None:
        """Say that something came to its outcome."""
        self._outcomes.value += 1
        self.news.ring()

    def has_news(self) -> bool:
        """Whether something came to its outcome since this was asked last."""
        before, self._outcomes_seen = self._outcomes_seen, self._outcomes.value
        return self._outcomes_seen != before

    def busy_s(self) -> float:
        """Return how long it has taken, or 0 where there is nothing to do."""
        since = self._busy_since.value
        return time.monotonic() - since if since else 0.0

    def finish(self) -> None:
        """Tell the worker to take up nothing more."""
        self._over.value = True
        self._called.ring()

    def is_over(self) -> bool:
        """Whether the worker takes up nothing more."""
        return bool(self._over.value)


Member = Callable[[str, Duty], None]
"""What a process does, under its name, until its duty is over; has to be picklable."""
Lost = Callable[[str, Reason], None]
"""Hears the name of a worker that is gone, and why; its study is not done."""


@dataclass(kw_only=True, slots=True)
class _Post:
    """One place in the crew: the process that fills it now, and how its predecessors fared."""

    number: int
    name: str = ""
    process: SpawnProcess | None = None
    duty: Duty | None = None
    started_at: float = 0.0
    quick_deaths: int = 0
    vacant_until: float = 0.0
    killed_for: Reason | None = field(default=None)


class Crew:
    """The worker processes of this node."""

    def __init__(self, size: int, member: Member, *, name: str, limits: Limits, lost: Lost) -> None:
        # Spawned, not forked: the listener's threads and the engines' do not survive a fork.
        self._context = multiprocessing.get_context("spawn")
        self._member = member
        self._name = name
        self._limits = limits
        self._lost = lost
        self._is_closed = False
        self._started = 0
        self._posts = [_Post(number=number) for number in range(size)]

    def __enter__(self) -> Self:
        for post in self._posts:
            self._fill(post)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._is_closed = True
        for duty in self._duties():
            duty.finish()
        end = time.monotonic() + GRACE_S
        for process in [post.process for post in self._posts if post.process is not None]:
            process.join(max(0.0, end - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()

    def call(self, jobs: int) -> None:
        """Tell the workers that there are so many new jobs, so that none rests on."""
        for duty in self._duties() if jobs else ():
            duty.call()

    def has_news(self) -> bool:
        """Whether a worker brought something to its outcome since this was asked last."""
        return sum(duty.has_news() for duty in self._duties()) > 0  # each has to be asked

    def await_news(self, at_most_s: float) -> None:
        """Wait until a worker may have news; no longer than that."""
        Bell.wait([duty.news for duty in self._duties()], at_most_s)

    def _duties(self) -> list[Duty]:
        return [post.duty for post in self._posts if post.duty is not None]

    def watch(self) -> None:
        """Kill the processes that exceed a limit, and start another in place of each that ended."""
        for post in self._posts:
            if self._is_closed:
                return
            if post.process is not None and post.process.is_alive():
                self._judge(post, post.process)
            if post.process is not None and not post.process.is_alive():
                self._bury(post, post.process)
            if post.process is None and time.monotonic() >= post.vacant_until:
                self._refill(post)

    def _judge(self, post: _Post, process: SpawnProcess) -> None:
        reason = self._excess(post, process)
        if reason is None:
            return
        post.killed_for = reason
        logger.error("worker %s is killed: %s", post.name, reason.meaning)
        process.kill()
        process.join(KILL_S)

    def _excess(self, post: _Post, process: SpawnProcess) -> Reason | None:
        timeout_s, memory = self._limits.timeout_s, self._limits.memory_bytes_max
        if timeout_s is not None and post.duty is not None and post.duty.busy_s() > timeout_s:
            return Reason(code="TIMEOUT", meaning=f"the analysis was stopped after {timeout_s:g} s")
        if memory is not None and _resident_bytes(process.pid) > memory:
            return Reason(
                code="OUT_OF_MEMORY",
                meaning=f"the analysis was stopped when it took {memory} bytes of memory",
            )
        return None

    def _bury(self, post: _Post, process: SpawnProcess) -> None:
        """Say what the process died of, if it did not end as agreed, and leave its post vacant."""
        process.join()
        status = process.exitcode
        now = time.monotonic()
        post.process = None
        if status == 0:
            post.quick_deaths = 0
            logger.info("worker %s has done its share; starting another", post.name)
            return
        quick = now - post.started_at < QUICK_DEATH_S
        post.quick_deaths = post.quick_deaths + 1 if quick else 0
        if post.quick_deaths > 1:
            pause = PAUSES.after(post.quick_deaths - 1)
            post.vacant_until = now + pause.total_seconds()
        reason = post.killed_for or _cause(status)
        logger.error("worker %s is gone: %s; starting another", post.name, reason.meaning)
        self._lost(post.name, reason)

    def _refill(self, post: _Post) -> None:
        """Start another; what the machine has none left of, it may have after a pause."""
        try:
            self._fill(post)
        except OSError as error:
            post.vacant_until = time.monotonic() + PAUSES.first.total_seconds()
            logger.error("worker %s cannot be started: %s", post.name, error.strerror)  # noqa: TRY400  the traceback says no more

    def _fill(self, post: _Post) -> None:
        self._started += 1
        post.name = f"{self._name}-{self._started}"
        post.duty = Duty(self._context, post.number)
        post.killed_for = None
        post.started_at = time.monotonic()
        process = self._context.Process(
            target=_attend,
            args=(self._member, post.name, post.duty),
            name=f"worker-{post.number}",
            daemon=True,
        )
        process.start()
        post.process = process


def _attend(member: Member, name: str, duty: Duty) -> None:
    """Be a worker, and end with the node that started it, whatever is under way.

    Nobody would see any more that it hangs, and its study is taken up again.
    """
    node = multiprocessing.parent_process()
    assert node is not None, "members run in processes of their own"
    Thread(target=_end_with, args=(node,), name="end-with-node", daemon=True).start()
    member(name, duty)


def _end_with(node: BaseProcess) -> None:
    node.join()
    os.kill(os.getpid(), SIGKILL)


def _cause(status: int | None) -> Reason:
    if status == -SIGKILL:
        meaning = "the worker was killed, as the system does when memory runs out"
        return Reason(code="WORKER_KILLED", meaning=meaning)
    return Reason(code="WORKER_ENDED", meaning=f"the worker ended with status {status}")


def _resident_bytes(pid: int | None) -> int:
    """Return how much memory a process holds, or 0 where it is gone."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
