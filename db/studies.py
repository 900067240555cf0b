"""Studies: one row for each, with where it stands and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import (
    Connection,
    Dialect,
    Executable,
    RowMapping,
    bindparam,
    case,
    func,
    literal_column,
    null,
    select,
    update,
)

from db.engine import insert_into
from db.instances import HERE
from db.prepared import Prepared, Transaction
from db.tables import associations, instances, studies

Reasons = Sequence[Mapping[str, str]]
"""Each holds ``code`` and ``meaning``; nothing of the patient."""


class StudyState(StrEnum):
    """Where a study stands; the last four are outcomes."""

    RECEIVING = "receiving"
    QUEUED = "queued"
    ANALYZED = "analyzed"
    REFUSED = "refused"
    FAILED = "failed"
    IGNORED = "ignored"


@dataclass(frozen=True, kw_only=True, slots=True)
class Study:
    """What is known of a study; images came since the last decision while ``unsettled``."""

    study_instance_uid: str
    state: StudyState
    reasons: Reasons
    revision: int
    settled_revision: int
    first_at: datetime
    last_at: datetime
    deleted_at: datetime | None = None
    """When retention took its images away; None again when one of them came again."""

    @property
    def unsettled(self) -> bool:
        """Whether instances came that assembly has not decided on."""
        return self.revision > self.settled_revision


@dataclass(frozen=True, kw_only=True, slots=True)
class SeriesHere:
    """How many instances of one series are here."""

    series_instance_uid: str
    modality: str
    count: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Sender:
    """An association that brought instances of a study."""

    association: str
    calling_ae_title: str
    last_at: datetime
    released_at: datetime | None


def _touch(dialect: Dialect) -> Executable:
    of = studies.c
    at = bindparam("at", type_=of.last_at.type)
    count = bindparam("count", type_=of.revision.type)
    return (
        insert_into(dialect, studies)
        .values(
            study_instance_uid=bindparam("study", type_=of.study_instance_uid.type),
            state=literal_column(f"'{StudyState.RECEIVING}'"),
            reasons=literal_column("'[]'"),
            revision=count,
            settled_revision=literal_column("0"),
            first_at=at,
            last_at=at,
        )
        .on_conflict_do_update(
            index_elements=[of.study_instance_uid],
            set_={
                "revision": of.revision + count,
                "last_at": at,
                "deleted_at": null(),
                "state": case(
                    (of.state == StudyState.IGNORED, StudyState.RECEIVING), else_=of.state
                ),
            },
        )
    )


_TOUCH = Prepared(_touch)


def touch(
    connection: Transaction, study_instance_uid: str, *, now: datetime, count: int = 1
) -> None:
    """Note that so many new instances of the study came."""
    _TOUCH.run(connection, {"study": study_instance_uid, "at": now, "count": count})


def lock(connection: Connection, study_instance_uid: str) -> None:
    """Hold the study until the transaction ends: who decides on it takes turns.

    On SQLite a transaction that writes is alone anyway.
    """
    connection.execute(
        select(studies.c.study_instance_uid)
        .where(studies.c.study_instance_uid == study_instance_uid)
        .with_for_update()
    )


def unsettled(connection: Connection) -> list[Study]:
    """Return the studies that got instances since assembly last decided, the oldest first."""
    rows = connection.execute(
        select(studies)
        .where(studies.c.revision > studies.c.settled_revision)
        .order_by(studies.c.first_at, studies.c.study_instance_uid)
    )
    return [_study(row) for row in rows.mappings()]


def find(connection: Connection, study_instance_uid: str) -> Study | None:
    """Return the study, or None where no instance of it ever came."""
    row = (
        connection.execute(
            select(studies).where(studies.c.study_instance_uid == study_instance_uid)
        )
        .mappings()
        .one_or_none()
    )
    return None if row is None else _study(row)


def newest(connection: Connection, *, limit: int) -> list[Study]:
    """Return the studies that got an instance last, the newest first."""
    rows = connection.execute(select(studies).order_by(studies.c.last_at.desc()).limit(limit))
    return [_study(row) for row in rows.mappings()]


def settle(
    connection: Connection, study: Study, *, state: StudyState, reasons: Reasons = ()
) -> bool:
    """Decide on the study as it was read; False, and nothing done, if instances came since."""
    done = connection.execute(
        update(studies)
        .where(
            studies.c.study_instance_uid == study.study_instance_uid,
            studies.c.revision == study.revision,
        )
        .values(settled_revision=study.revision, state=state, reasons=list(reasons))
    )
    return done.rowcount == 1


def explain(connection: Connection, study_instance_uid: str, reasons: Reasons) -> None:
    """Say why the study waits, without changing where it stands."""
    connection.execute(
        update(studies)
        .where(studies.c.study_instance_uid == study_instance_uid)
        .values(reasons=list(reasons))
    )


def conclude(
    connection: Connection, study_instance_uid: str, *, state: StudyState, reasons: Reasons
) -> None:
    """Give the study the outcome of its latest job."""
    connection.execute(
        update(studies)
        .where(studies.c.study_instance_uid == study_instance_uid)
        .values(state=state, reasons=list(reasons))
    )


def series_here(connection: Connection, study_instance_uid: str) -> list[SeriesHere]:
    """Return the series of the study with how many of their instances are here, not deleted."""
    rows = connection.execute(
        select(
            instances.c.series_instance_uid,
            instances.c.modality,
            func.count().label("count"),
        )
        .where(instances.c.study_instance_uid == study_instance_uid, HERE)
        .group_by(instances.c.series_instance_uid, instances.c.modality)
        .order_by(instances.c.series_instance_uid)
    )
    return [SeriesHere(**row) for row in rows.mappings()]


def senders(connection: Connection, study_instance_uid: str) -> list[Sender]:
    """Return the associations that brought instances of the study."""
    brought = (
        select(instances.c.association)
        .where(instances.c.study_instance_uid == study_instance_uid)
        .distinct()
    )
    rows = connection.execute(
        select(
            associations.c.association,
            associations.c.calling_ae_title,
            associations.c.last_at,
            associations.c.released_at,
        )
        .where(associations.c.association.in_(brought))
        .order_by(associations.c.opened_at)
    )
    return [Sender(**row) for row in rows.mappings()]


def _study(row: RowMapping) -> Study:
    return Study(**{**row, "state": StudyState(row["state"]), "reasons": tuple(row["reasons"])})
