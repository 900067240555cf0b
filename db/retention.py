"""What may be deleted: studies that are decided on, and owe nothing to anybody.

A deletion is marked in one transaction, done on disk and noted in another. What was marked when the
node was killed is found again by its mark. The rows of instances and results stay: they say what
was here, so that what comes again is known.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import (
    ColumnElement,
    Connection,
    ScalarSelect,
    Select,
    Table,
    and_,
    delete,
    exists,
    func,
    or_,
    select,
    update,
)

from db import studies as study_rows
from db.instances import HERE
from db.jobs import JobState
from db.studies import StudyState
from db.tables import deliveries, instances, jobs, quarantine, results, studies

OUTCOMES = (StudyState.ANALYZED, StudyState.REFUSED, StudyState.FAILED, StudyState.IGNORED)
BATCH = 500
"""How many parameters one statement takes; the databases allow some 32,000."""
RESULT_HERE = and_(results.c.deleting_at.is_(None), results.c.deleted_at.is_(None))


class Kind(StrEnum):
    """What is deleted."""

    INSTANCES = "instances"
    RESULTS = "results"
    QUARANTINE = "quarantine"


TABLES = {Kind.INSTANCES: instances, Kind.RESULTS: results, Kind.QUARANTINE: quarantine}


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """Files of one study that could go; ``since`` nothing has happened to it."""

    study_instance_uid: str
    state: StudyState | None
    """None of what lies in quarantine: it may be of no study at all."""
    kind: Kind
    count: int
    size: int
    since: datetime
    pledged_at: datetime | None = None
    """When a peer was last told that we keep an instance of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Marked:
    """A file that is about to be deleted; ``key`` is that of its row."""

    kind: Kind
    key: str | int
    study_instance_uid: str
    path: str


def idle(connection: Connection, kind: Kind, *, study: str | None = None) -> list[Candidate]:
    """Return the studies of which instances, or results, could go; the longest idle first.

    A study is idle when it came to an outcome, no job of it waits or runs, no instance of it is
    undecided, and every result of it, refusals and earlier versions included, was owed to somebody
    and is known to be kept there. A result that nobody was owed is the only one of its kind.
    """
    is_meant = _is_idle() if study is None else and_(_is_idle(), _is(studies, study))
    held = (_instances_here() if kind is Kind.INSTANCES else _results_here()).subquery()
    rows = connection.execute(
        select(
            studies.c.study_instance_uid,
            studies.c.state,
            studies.c.last_at,
            held.c.files,
            held.c.size,
            held.c.pledged_at,
            _last_end().label("finished_at"),
            _last_delivery().label("delivered_at"),
        )
        .join(held, held.c.study_instance_uid == studies.c.study_instance_uid)
        .where(is_meant)
    )
    found = [
        Candidate(
            study_instance_uid=row.study_instance_uid,
            state=StudyState(row.state),
            kind=kind,
            count=row.files,
            size=int(row.size),
            since=max(filter(None, (row.last_at, row.finished_at, row.delivered_at))),
            pledged_at=row.pledged_at,
        )
        for row in rows
    ]
    return sorted(found, key=lambda one: (one.since, one.study_instance_uid))


def aside(connection: Connection, *, before: datetime) -> list[Candidate]:
    """Return what was put into quarantine before, by study."""
    rows = connection.execute(
        select(
            quarantine.c.study_instance_uid,
            func.count().label("files"),
            func.coalesce(func.sum(quarantine.c.size), 0).label("size"),
            func.max(quarantine.c.received_at).label("since"),
        )
        .where(quarantine.c.received_at < before, quarantine.c.deleting_at.is_(None))
        .group_by(quarantine.c.study_instance_uid)
        .order_by(quarantine.c.study_instance_uid)
    )
    return [
        Candidate(
            study_instance_uid=row.study_instance_uid,
            state=None,
            kind=Kind.QUARANTINE,
            count=row.files,
            size=int(row.size),
            since=row.since,
        )
        for row in rows
    ]


def mark(connection: Connection, candidate: Candidate, *, now: datetime) -> bool:
    """Mark the files of the candidate for deletion; False, and nothing done, if it changed since.

    From here on they count as deleted, whenever they go.
    """
    uid, kind = candidate.study_instance_uid, candidate.kind
    if kind is Kind.QUARANTINE:
        meant = and_(_is(quarantine, uid), quarantine.c.received_at <= candidate.since)
        connection.execute(update(quarantine).where(meant).values(deleting_at=now))
        return True
    study_rows.lock(connection, uid)
    if candidate not in idle(connection, kind, study=uid):
        return False
    if kind is Kind.RESULTS:
        meant = and_(_is(results, uid), RESULT_HERE)
        connection.execute(update(results).where(meant).values(deleting_at=now))
    else:
        meant = and_(_is(instances, uid), HERE)
        connection.execute(update(instances).where(meant).values(deleting_at=now))
        connection.execute(update(studies).where(_is(studies, uid)).values(deleted_at=now))
    return True


def pledge(
    connection: Connection, sop_instance_uids: Collection[str], *, now: datetime
) -> set[str]:
    """Note that a peer is promised that we keep these; return those that are here to be kept."""
    kept: set[str] = set()
    ordered = sorted(sop_instance_uids)
    for start in range(0, len(ordered), BATCH):
        chunk = ordered[start : start + BATCH]
        for table, here in ((instances, HERE), (results, RESULT_HERE)):
            rows = connection.execute(
                update(table)
                .where(table.c.sop_instance_uid.in_(chunk), here)
                .values(pledged_at=now)
                .returning(table.c.sop_instance_uid)
            )
            kept.update(rows.scalars())
    return kept


def marked(connection: Connection, *, limit: int) -> list[Marked]:
    """Return files that are about to be deleted; nobody else touches their rows until the commit.

    Whoever brings one of them again either comes first, and it is none of these any more, or waits.
    """
    found: list[Marked] = []
    for kind, table in TABLES.items():
        key = next(iter(table.primary_key))
        rows = connection.execute(
            select(key.label("key"), table.c.study_instance_uid, table.c.path)
            .where(table.c.deleting_at.is_not(None))
            .order_by(key)
            .limit(limit - len(found))
            .with_for_update(skip_locked=True)
        )
        found += [Marked(kind=kind, **row) for row in rows.mappings()]
    return found


def finish(connection: Connection, gone: Sequence[Marked], *, now: datetime) -> None:
    """Note that the files are gone."""
    for kind, table in TABLES.items():
        keys = [one.key for one in gone if one.kind is kind]
        meant = next(iter(table.primary_key)).in_(keys)
        if kind is Kind.QUARANTINE:
            connection.execute(delete(table).where(meant))
        else:
            connection.execute(update(table).where(meant).values(deleting_at=None, deleted_at=now))


def stored_bytes(connection: Connection) -> int:
    """Return how many bytes the store holds: of instances, results and quarantine."""
    sizes = [
        select(func.coalesce(func.sum(instances.c.size), 0)).where(
            instances.c.deleted_at.is_(None)
        ),
        select(func.coalesce(func.sum(results.c.size), 0)).where(results.c.deleted_at.is_(None)),
        select(func.coalesce(func.sum(quarantine.c.size), 0)),
    ]
    return sum(int(connection.execute(size).scalar_one()) for size in sizes)


def _is(table: Table, study: str) -> ColumnElement[bool]:
    return table.c.study_instance_uid == study


def _is_idle() -> ColumnElement[bool]:
    of_study = results.c.study_instance_uid == studies.c.study_instance_uid
    open_job = exists().where(
        jobs.c.study_instance_uid == studies.c.study_instance_uid,
        jobs.c.state.in_((JobState.WAITING, JobState.RUNNING)),
    )
    owed = exists().where(deliveries.c.sop_instance_uid == results.c.sop_instance_uid)
    undelivered = exists().where(of_study, or_(~owed, owed.where(deliveries.c.evidence.is_(None))))
    return and_(
        studies.c.state.in_(OUTCOMES),
        studies.c.revision == studies.c.settled_revision,
        or_(studies.c.state != StudyState.ANALYZED, exists().where(of_study)),
        ~open_job,
        ~undelivered,
    )


def _instances_here() -> Select[tuple[str, int, int, datetime | None]]:
    return (
        select(
            instances.c.study_instance_uid,
            func.count().label("files"),
            func.sum(instances.c.size).label("size"),
            func.max(instances.c.pledged_at).label("pledged_at"),
        )
        .where(HERE)
        .group_by(instances.c.study_instance_uid)
    )


def _results_here() -> Select[tuple[str, int, int, datetime | None]]:
    return (
        select(
            results.c.study_instance_uid,
            func.count().label("files"),
            func.coalesce(func.sum(results.c.size), 0).label("size"),
            func.max(results.c.pledged_at).label("pledged_at"),
        )
        .where(RESULT_HERE)
        .group_by(results.c.study_instance_uid)
    )


def _last_end() -> ScalarSelect[datetime | None]:
    return (
        select(func.max(jobs.c.finished_at))
        .where(jobs.c.study_instance_uid == studies.c.study_instance_uid)
        .scalar_subquery()
    )


def _last_delivery() -> ScalarSelect[datetime | None]:
    return (
        select(func.max(func.coalesce(deliveries.c.committed_at, deliveries.c.sent_at)))
        .join(results, results.c.sop_instance_uid == deliveries.c.sop_instance_uid)
        .where(results.c.study_instance_uid == studies.c.study_instance_uid)
        .scalar_subquery()
    )
