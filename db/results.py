"""Result objects that we made: each lies in the store and is owed to every destination."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from db.engine import insert_new
from db.tables import deliveries, results


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """One result object in the store; ``path`` is relative to its root."""

    sop_instance_uid: str
    job_id: int
    kind: str
    sop_class_uid: str
    series_instance_uid: str
    study_instance_uid: str
    transfer_syntax_uid: str
    path: str
    digest: str
    size: int | None = None
    pledged_at: datetime | None = None
    """When a peer was last told that we keep it."""
    deleting_at: datetime | None = None
    """Since when retention is about to take the file away."""
    deleted_at: datetime | None = None
    """When the file was taken away."""


def owe(
    connection: Connection, made: Sequence[Result], destinations: Sequence[str], *, now: datetime
) -> None:
    """Register result objects and owe each to every destination; those known stay as they are."""
    for result in made:
        connection.execute(insert_new(connection, results).values(**asdict(result)))
        for destination in destinations:
            connection.execute(
                insert_new(connection, deliveries).values(
                    sop_instance_uid=result.sop_instance_uid,
                    destination=destination,
                    state="owed",
                    attempts=0,
                    due_at=now,
                )
            )


def find(connection: Connection, sop_instance_uid: str) -> Result | None:
    """Return the result object, or None where no job that ended made it."""
    row = (
        connection.execute(select(results).where(results.c.sop_instance_uid == sop_instance_uid))
        .mappings()
        .one_or_none()
    )
    return None if row is None else Result(**row)


def of_job(connection: Connection, job_id: int) -> list[Result]:
    """Return the result objects of the job, in the order of their UIDs."""
    rows = connection.execute(
        select(results).where(results.c.job_id == job_id).order_by(results.c.sop_instance_uid)
    )
    return [Result(**row) for row in rows.mappings()]
