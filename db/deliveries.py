"""Deliveries: which result object is owed to which destination, and what became of it.

``committed`` is where storage commitment ends once it is asked for; until then ``sent`` is final.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, RowMapping, func, select, update

from db.tables import deliveries, results


class DeliveryState(StrEnum):
    """Where a delivery stands."""

    OWED = "owed"
    SENT = "sent"
    COMMITTED = "committed"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """One result object on its way to one destination; ``path`` is relative to the store."""

    id: int
    destination: str
    state: DeliveryState
    attempts: int
    due_at: datetime
    last_error: str | None
    sent_at: datetime | None
    sop_instance_uid: str
    sop_class_uid: str
    study_instance_uid: str
    transfer_syntax_uid: str
    path: str


SELECTED = select(
    deliveries,
    results.c.sop_class_uid,
    results.c.study_instance_uid,
    results.c.transfer_syntax_uid,
    results.c.path,
).join(results, results.c.sop_instance_uid == deliveries.c.sop_instance_uid)


def due_destinations(connection: Connection, *, now: datetime) -> list[str]:
    """Return the destinations that something is owed to by now."""
    rows = connection.execute(
        select(deliveries.c.destination)
        .where(deliveries.c.state == DeliveryState.OWED, deliveries.c.due_at <= now)
        .distinct()
        .order_by(deliveries.c.destination)
    )
    return [str(row.destination) for row in rows]


def due(connection: Connection, destination: str, *, now: datetime, limit: int) -> list[Delivery]:
    """Return what is owed to the destination by now, the longest owed first."""
    rows = connection.execute(
        SELECTED.where(
            deliveries.c.state == DeliveryState.OWED,
            deliveries.c.destination == destination,
            deliveries.c.due_at <= now,
        )
        .order_by(deliveries.c.due_at, deliveries.c.id)
        .limit(limit)
    )
    return [_delivery(row) for row in rows.mappings()]


def sent(
    connection: Connection, delivery_id: int, *, now: datetime, warning: str | None = None
) -> None:
    """Note that the destination took the object; ``warning`` is what it found to say about it."""
    connection.execute(
        update(deliveries)
        .where(deliveries.c.id == delivery_id)
        .values(
            state=DeliveryState.SENT,
            attempts=deliveries.c.attempts + 1,
            sent_at=now,
            last_error=warning,
        )
    )


def postpone(connection: Connection, delivery_id: int, *, due_at: datetime, error: str) -> None:
    """Note that the destination did not take the object, and try again at ``due_at``."""
    connection.execute(
        update(deliveries)
        .where(deliveries.c.id == delivery_id, deliveries.c.state == DeliveryState.OWED)
        .values(attempts=deliveries.c.attempts + 1, due_at=due_at, last_error=error)
    )


def of_study(connection: Connection, study_instance_uid: str) -> list[Delivery]:
    """Return every delivery of the study, in the order in which they were owed."""
    rows = connection.execute(
        SELECTED.where(results.c.study_instance_uid == study_instance_uid).order_by(deliveries.c.id)
    )
    return [_delivery(row) for row in rows.mappings()]


def counts(connection: Connection) -> dict[tuple[str, DeliveryState], int]:
    """Return how many deliveries there are, by destination and state."""
    rows = connection.execute(
        select(deliveries.c.destination, deliveries.c.state, func.count().label("deliveries"))
        .group_by(deliveries.c.destination, deliveries.c.state)
        .order_by(deliveries.c.destination, deliveries.c.state)
    )
    return {(row.destination, DeliveryState(row.state)): row.deliveries for row in rows}


def _delivery(row: RowMapping) -> Delivery:
    return Delivery(**{**row, "state": DeliveryState(row["state"])})
