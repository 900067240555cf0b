"""Jobs: analyses that are due, run or done, each by exactly one worker at a time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    and_,
    func,
    insert,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.exc import IntegrityError

from db import studies
from db.engine import insert_new
from db.instances import HERE, Instance, set_digest
from db.results import Result, owe
from db.studies import Reasons, Study, StudyState
from db.tables import instances, job_instances, jobs


class JobState(StrEnum):
    """Where a job stands; superseded: more images came before a worker took it."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"
    SUPERSEDED = "superseded"


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One analysis: of these instances (their digest) of this study with this bundle."""

    id: int
    study_instance_uid: str
    instance_set_digest: str
    bundle_digest: str
    state: JobState
    attempts: int
    worker: str | None
    lease_until: datetime | None
    due_at: datetime
    created_at: datetime
    finished_at: datetime | None
    why_ready: str
    """How completeness was established: PACS_COUNT, QUIET or GIVEN_UP."""
    warnings: Reasons
    """What assembly found to say about completeness; belongs into the report."""
    findings: Mapping[str, Any] | None
    reasons: Reasons
    error: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How a job ended: done, refused with reasons, or failed with an error."""

    state: JobState
    findings: Mapping[str, Any] | None = None
    reasons: Reasons = ()
    error: str | None = None
    results: Sequence[Result] = field(default=())
    destinations: Sequence[str] = field(default=())

    def __post_init__(self) -> None:
        if self.state not in STUDY_OUTCOMES:
            raise ValueError(f"a job does not end as {self.state}")


STUDY_OUTCOMES = {
    JobState.DONE: StudyState.ANALYZED,
    JobState.REFUSED: StudyState.REFUSED,
    JobState.FAILED: StudyState.FAILED,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Readiness:
    """Why a study is taken up now, and what has to be said about that."""

    why_ready: str
    warnings: Reasons = ()


def enqueue(
    connection: Connection,
    study: Study,
    chosen: Sequence[Instance],
    *,
    bundle_digest: str,
    readiness: Readiness,
    now: datetime,
) -> int | None:
    """Make the study's job for these instances and this bundle; None where there is one already.

    Jobs of the study that no worker has taken are superseded by the new one.
    """
    job_id: int | None = connection.execute(
        insert_new(connection, jobs)
        .values(
            study_instance_uid=study.study_instance_uid,
            instance_set_digest=set_digest(chosen),
            bundle_digest=bundle_digest,
            state=JobState.WAITING,
            attempts=0,
            due_at=now,
            created_at=now,
            why_ready=readiness.why_ready,
            warnings=list(readiness.warnings),
            reasons=[],
        )
        .returning(jobs.c.id)
    ).scalar_one_or_none()
    if job_id is None:
        return None
    connection.execute(
        update(jobs)
        .where(
            jobs.c.study_instance_uid == study.study_instance_uid,
            jobs.c.state == JobState.WAITING,
            jobs.c.id < job_id,
        )
        .values(state=JobState.SUPERSEDED, finished_at=now)
    )
    connection.execute(
        insert(job_instances),
        [{"job_id": job_id, "sop_instance_uid": one.sop_instance_uid} for one in chosen],
    )
    return job_id


def was_made(connection: Connection, study: Study, chosen: Sequence[Instance]) -> bool:
    """Whether the study had a job for exactly these instances, with whatever bundle."""
    found = connection.execute(
        select(jobs.c.id).where(
            jobs.c.study_instance_uid == study.study_instance_uid,
            jobs.c.instance_set_digest == set_digest(chosen),
        )
    )
    return found.first() is not None


def claim(connection: Connection, *, worker: str, now: datetime, lease: timedelta) -> Job | None:
    """Hand the oldest due job to ``worker`` until ``now + lease``, or None if none is due.

    A job whose lease ran out is due again. A study has at most one running job. One statement
    selects and marks the row, so two workers never hold the same job.
    """
    other = jobs.alias("other")
    runs_already = (
        select(other.c.id)
        .where(
            other.c.study_instance_uid == jobs.c.study_instance_uid,
            other.c.state == JobState.RUNNING,
            other.c.id != jobs.c.id,
        )
        .exists()
    )
    oldest = (
        select(jobs.c.id)
        .where(_due(now), ~runs_already)
        .order_by(jobs.c.due_at, jobs.c.id)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    take = (
        update(jobs)
        .where(jobs.c.id == oldest)
        .values(
            state=JobState.RUNNING,
            worker=worker,
            lease_until=now + lease,
            attempts=jobs.c.attempts + 1,
        )
        .returning(jobs)
    )
    try:
        with connection.begin_nested():
            row = connection.execute(take).mappings().one_or_none()
    except IntegrityError:
        # On PostgreSQL another worker took another job of the same study in this moment.
        return None
    return None if row is None else _job(row)


def renew(connection: Connection, job: Job, *, now: datetime, lease: timedelta) -> bool:
    """Keep the job for its worker until ``now + lease``; False if it is no longer theirs."""
    done = connection.execute(update(jobs).where(_held(job)).values(lease_until=now + lease))
    return done.rowcount == 1


def conclude(connection: Connection, job: Job, outcome: Outcome, *, now: datetime) -> bool:
    """End the job, register its results and owe them; False, and nothing done, if it is not theirs.

    A worker whose lease ran out while another took the job therefore leaves no second result. The
    study gets the outcome unless a later job of it is there.
    """
    return _end(connection, job, outcome, now=now)


def _end(
    connection: Connection,
    job: Job,
    outcome: Outcome,
    *,
    now: datetime,
    only_if: ColumnElement[bool] | None = None,
) -> bool:
    # Whoever queues another job of the study meanwhile is seen, or waits for us.
    studies.lock(connection, job.study_instance_uid)
    done = connection.execute(
        update(jobs)
        .where(_held(job), true() if only_if is None else only_if)
        .values(
            state=outcome.state,
            findings=outcome.findings,
            reasons=list(outcome.reasons),
            error=outcome.error,
            finished_at=now,
            lease_until=None,
        )
    )
    if done.rowcount != 1:
        return False
    owe(connection, outcome.results, outcome.destinations, now=now)
    if latest(connection, job.study_instance_uid) == job.id:
        studies.conclude(
            connection,
            job.study_instance_uid,
            state=STUDY_OUTCOMES[outcome.state],
            reasons=outcome.reasons,
        )
    return True


def postpone(connection: Connection, job: Job, *, due_at: datetime, error: str) -> bool:
    """Put the job back until ``due_at``: what stopped it may pass; False if it is not theirs."""
    done = connection.execute(
        update(jobs)
        .where(_held(job))
        .values(state=JobState.WAITING, due_at=due_at, error=error, worker=None, lease_until=None)
    )
    return done.rowcount == 1


def fail_abandoned(connection: Connection, *, now: datetime, attempts: int) -> list[Job]:
    """Fail the jobs whose worker vanished for the ``attempts``-th time; return them."""
    vanished = and_(jobs.c.state == JobState.RUNNING, jobs.c.lease_until < now)
    rows = connection.execute(select(jobs).where(vanished, jobs.c.attempts >= attempts))
    failed = Outcome(
        state=JobState.FAILED, error=f"no worker came back from it in {attempts} attempts"
    )
    found = [_job(row) for row in rows.mappings()]
    ended = [job for job in found if _end(connection, job, failed, now=now, only_if=vanished)]
    return [replace(job, state=failed.state, error=failed.error) for job in ended]


def take_back(
    connection: Connection,
    worker: str,
    *,
    reason: Mapping[str, str],
    attempts: int,
    due_at: datetime,
    now: datetime,
) -> Job | None:
    """Take its job from a worker that is known to be gone; None where it had none.

    The job is due again at ``due_at``, or fails with the reason if this was its last attempt.
    """
    row = (
        connection.execute(
            select(jobs).where(jobs.c.state == JobState.RUNNING, jobs.c.worker == worker)
        )
        .mappings()
        .one_or_none()
    )
    if row is None:
        return None
    job = _job(row)
    error = reason["meaning"]
    if job.attempts < attempts:
        return job if postpone(connection, job, due_at=due_at, error=error) else None
    failed = Outcome(state=JobState.FAILED, reasons=[reason], error=error)
    return job if conclude(connection, job, failed, now=now) else None


def retry(connection: Connection, study_instance_uid: str, *, now: datetime) -> Job | None:
    """Run the study's latest job again if it failed or was refused; None where there is none.

    There is none, either, where retention has taken images of it away.
    """
    studies.lock(connection, study_instance_uid)
    deleted = (
        select(job_instances.c.job_id)
        .join(instances, instances.c.sop_instance_uid == job_instances.c.sop_instance_uid)
        .where(job_instances.c.job_id == jobs.c.id, ~HERE)
        .exists()
    )
    row = (
        connection.execute(
            update(jobs)
            .where(
                jobs.c.id == latest(connection, study_instance_uid),
                jobs.c.state.in_((JobState.FAILED, JobState.REFUSED)),
                ~deleted,
            )
            .values(state=JobState.WAITING, attempts=0, due_at=now, finished_at=None, worker=None)
            .returning(jobs)
        )
        .mappings()
        .one_or_none()
    )
    if row is None:
        return None
    studies.conclude(connection, study_instance_uid, state=StudyState.QUEUED, reasons=())
    return _job(row)


def find(connection: Connection, job_id: int) -> Job:
    """Return the job, which is there."""
    return _job(connection.execute(select(jobs).where(jobs.c.id == job_id)).mappings().one())


def of_study(connection: Connection, study_instance_uid: str) -> list[Job]:
    """Return the jobs of the study, the first first."""
    rows = connection.execute(
        select(jobs).where(jobs.c.study_instance_uid == study_instance_uid).order_by(jobs.c.id)
    )
    return [_job(row) for row in rows.mappings()]


def predecessors(connection: Connection, job: Job) -> list[Job]:
    """Return the earlier jobs of the study that came to an outcome, the first first.

    A refusal is one, too: its report is as outdated as any. The version of a job's result is one
    more than their number.
    """
    rows = connection.execute(
        select(jobs)
        .where(
            jobs.c.study_instance_uid == job.study_instance_uid,
            jobs.c.state.in_((JobState.DONE, JobState.REFUSED)),
            jobs.c.id < job.id,
        )
        .order_by(jobs.c.id)
    )
    return [_job(row) for row in rows.mappings()]


def latest(connection: Connection, study_instance_uid: str) -> int | None:
    """Return the id of the study's latest job, or None where it has none."""
    latest_id: int | None = connection.execute(
        select(func.max(jobs.c.id)).where(jobs.c.study_instance_uid == study_instance_uid)
    ).scalar_one()
    return latest_id


def _due(now: datetime) -> ColumnElement[bool]:
    return or_(
        and_(jobs.c.state == JobState.WAITING, jobs.c.due_at <= now),
        and_(jobs.c.state == JobState.RUNNING, jobs.c.lease_until < now),
    )


def _held(job: Job) -> ColumnElement[bool]:
    # The attempt fences off a worker of the same name that came back after its lease ran out.
    return and_(
        jobs.c.id == job.id,
        jobs.c.state == JobState.RUNNING,
        jobs.c.worker == job.worker,
        jobs.c.attempts == job.attempts,
    )


def _job(row: RowMapping) -> Job:
    return Job(
        **{
            **row,
            "state": JobState(row["state"]),
            "warnings": tuple(row["warnings"]),
            "reasons": tuple(row["reasons"]),
        }
    )
