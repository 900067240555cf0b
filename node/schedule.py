"""How often each use case runs: APScheduler is the clock, the jobs are rows in the database."""

import time
from collections.abc import Callable, Mapping

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

INTERVAL_S = 0.25
"""A result never waits longer than this for each of assembly, worker and delivery."""


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
