"""How often each use case runs: APScheduler is the clock, the jobs are rows in the database."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

INTERVAL_S = 0.25
"""A result never waits longer than this for each of assembly, worker and delivery."""
HEED_S = 0.01
"""How often news are asked for: of processes, which tell them in shared memory."""


def start(tasks: Mapping[str, Callable[[], object]]) -> BackgroundScheduler:
    """Run each task every quarter of a second, never twice at once, until ``shutdown()``.

    A task that raises is logged by APScheduler and runs again at the next tick.
    """
    scheduler = BackgroundScheduler(
        timezone="UTC",
        executors={"default": ThreadPoolExecutor(max(4, len(tasks)))},
        job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
    )
    for name, task in tasks.items():
        scheduler.add_job(task, IntervalTrigger(seconds=INTERVAL_S), id=name, name=name)
    scheduler.start()
    return scheduler


@contextmanager
def heeding(
    has_news: Callable[[], bool],
    scheduler: BackgroundScheduler,
    name: str,
    wait: Callable[[float], object] | None = None,
) -> Iterator[None]:
    """Run a task as soon as there is news, besides its interval, while the block lasts.

    ``wait`` comes back when there may be news, or after so many seconds. Without it news are asked
    for every ``HEED_S``. Where the task runs already, its next run comes by its interval.
    """
    over = threading.Event()

    def heed() -> None:
        while not over.wait(HEED_S if wait is None else 0):
            if wait is not None:
                wait(INTERVAL_S)
            if has_news():
                scheduler.modify_job(name, next_run_time=datetime.now(UTC))

    thread = threading.Thread(target=heed, name=f"heed-{name}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def every(
    seconds: float, task: Callable[[], object], *, clock: Callable[[], float] = time.monotonic
) -> Callable[[], None]:
    """Make a task that does something at its first call, and then once in so many seconds."""
    due_at = clock()

    def run() -> None:
        nonlocal due_at
        if clock() >= due_at:
            due_at = clock() + seconds
            task()

    return run
