"""Attempts at jobs: when each began and ended, and what its time was spent on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, delete, exists, insert, select, update

from db.jobs import Job
from db.tables import attempts, deliveries, jobs, results

Stages = Sequence[Mapping[str, Any]]
"""Each holds ``name``, ``start_s`` (since the attempt began), ``seconds`` and ``broken``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One attempt at a job; ``ended_at`` is None while it runs, or where its worker vanished."""

    job_id: int
    attempt: int
    began_at: datetime
    ended_at: datetime | None = None
    stages: Stages = ()


def begin(connection: Connection, job: Job, *, now: datetime) -> None:
    """Note that a worker begins with the job; an operator's retry counts attempts from one again.

    What an earlier attempt of the same number left is replaced.
    """
    same = and_(attempts.c.job_id == job.id, attempts.c.attempt == job.attempts)
    connection.execute(delete(attempts).where(same))
    connection.execute(
        insert(attempts).values(job_id=job.id, attempt=job.attempts, began_at=now, stages=None)
    )


def end(connection: Connection, job: Job, stages: Stages, *, now: datetime) -> None:
    """Note that the attempt is over, and what its time was spent on."""
    connection.execute(
        update(attempts)
        .where(attempts.c.job_id == job.id, attempts.c.attempt == job.attempts)
        .values(ended_at=now, stages=[dict(stage) for stage in stages])
    )


def of_job(connection: Connection, job_id: int) -> list[Attempt]:
    """Return the attempts at the job, the first first."""
    kept = [column for column in attempts.c if column is not attempts.c.traced_at]
    rows = connection.execute(
        select(*kept).where(attempts.c.job_id == job_id).order_by(attempts.c.attempt)
    )
    return [Attempt(**{**row, "stages": tuple(row["stages"] or ())}) for row in rows.mappings()]


def take_untraced(
    connection: Connection, *, now: datetime, finished_before: datetime, begun_after: datetime
) -> int | None:
    """Return the id of a job whose trace is due, marked as exported; None where none is due.

    It is due when the job has ended and each of its results is delivered, or when it ended before
    ``finished_before``; what was begun before ``begun_after`` is left. One statement selects and
    marks, so that no two nodes export it.
    """
    unsettled = exists().where(
        results.c.job_id == jobs.c.id,
        deliveries.c.sop_instance_uid == results.c.sop_instance_uid,
        deliveries.c.evidence.is_(None),
    )
    due = (
        select(attempts.c.job_id, attempts.c.attempt)
        .join(jobs, and_(jobs.c.id == attempts.c.job_id, jobs.c.attempts == attempts.c.attempt))
        .where(
            attempts.c.began_at > begun_after,
            attempts.c.traced_at.is_(None),
            jobs.c.finished_at.is_not(None),
            (jobs.c.finished_at < finished_before) | ~unsettled,
        )
        .order_by(jobs.c.finished_at, jobs.c.id)
        .limit(1)
        .with_for_update(skip_locked=True, of=attempts)
        .cte("due")
    )
    job_id: int | None = connection.execute(
        update(attempts)
        .where(attempts.c.job_id == due.c.job_id, attempts.c.attempt == due.c.attempt)
        .values(traced_at=now)
        .returning(attempts.c.job_id)
    ).scalar_one_or_none()
    return job_id


def put_back(connection: Connection, job_id: int) -> None:
    """Have the trace of the job exported again, as nobody took it."""
    connection.execute(update(attempts).where(attempts.c.job_id == job_id).values(traced_at=None))
