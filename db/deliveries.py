"""Deliveries: which result object is owed to which destination, and what became of it.

A delivery goes from owed to sent to committed. It is over once there is evidence that the
destination keeps the object, or once it is clear that none can be had; until then it is due again.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    and_,
    delete,
    func,
    or_,
    select,
    update,
)

from db.tables import commitment_items, deliveries, results


class DeliveryState(StrEnum):
    """Where a delivery stands."""

    OWED = "owed"
    SENT = "sent"
    COMMITTED = "committed"
    FAILED = "failed"


class Evidence(StrEnum):
    """What says that the destination keeps an object."""

    COMMITMENT = "commitment"
    """Its report (PS3.4 annex J)."""
    FIND = "find"
    """It finds the instance when asked by C-FIND."""
    NONE = "none"
    """Nothing but its answer to C-STORE: it can tell no more, or is not to be asked."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Lease:
    """Who takes deliveries, when, and until when nobody else does."""

    node: str
    now: datetime
    until: datetime


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
    claimed_by: str | None
    lease_until: datetime | None
    evidence: Evidence | None
    committed_at: datetime | None
    asks: int
    """How often its commitment was asked for since it was sent."""
    rejections: int
    """How often the destination said that it does not keep it, although it was sent."""
    commitment_error: str | None
    sop_instance_uid: str
    sop_class_uid: str
    study_instance_uid: str
    series_instance_uid: str
    transfer_syntax_uid: str
    path: str

    @property
    def delivered(self) -> bool:
        """Whether nothing more is to come: committed, or sent where no more can be known."""
        return self.evidence is not None


SELECTED = select(
    deliveries,
    results.c.sop_class_uid,
    results.c.study_instance_uid,
    results.c.series_instance_uid,
    results.c.transfer_syntax_uid,
    results.c.path,
).join(results, results.c.sop_instance_uid == deliveries.c.sop_instance_uid)
RELEASED = {"claimed_by": None, "lease_until": None}


def due_destinations(connection: Connection, state: DeliveryState, *, now: datetime) -> list[str]:
    """Return the destinations that have something due in this state that nobody holds."""
    rows = connection.execute(
        select(deliveries.c.destination)
        .where(_due(state, now))
        .distinct()
        .order_by(deliveries.c.destination)
    )
    return [str(row.destination) for row in rows]


def claim(
    connection: Connection, destination: str, state: DeliveryState, *, lease: Lease, limit: int
) -> list[Delivery]:
    """Hand what is due in this state to the lease's node until it ends, the longest due first.

    What a node held whose lease ran out is due again. One statement selects and marks the rows, so
    that two nodes never hold the same delivery.
    """
    chosen = (
        select(deliveries.c.id)
        .where(_due(state, lease.now), deliveries.c.destination == destination)
        .order_by(deliveries.c.due_at, deliveries.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("chosen")  # PostgreSQL would run a subquery again for each row, locks and all
    )
    taken = connection.execute(
        update(deliveries)
        .where(deliveries.c.id.in_(select(chosen.c.id)))
        .values(claimed_by=lease.node, lease_until=lease.until)
        .returning(deliveries.c.id)
    ).scalars()
    rows = connection.execute(
        SELECTED.where(deliveries.c.id.in_(taken.all())).order_by(
            deliveries.c.due_at, deliveries.c.id
        )
    )
    return [made(row) for row in rows.mappings()]


def renew(
    connection: Connection, destinations: Collection[str], lease: Lease, *, state: DeliveryState
) -> None:
    """Keep what the lease's node still holds in this state for these destinations.

    Rows that another transaction changes just now are passed over: the next round comes soon.
    """
    held = (
        select(deliveries.c.id)
        .where(
            deliveries.c.claimed_by == lease.node,
            deliveries.c.state == state,
            deliveries.c.destination.in_(destinations),
            deliveries.c.lease_until >= lease.now,
        )
        .with_for_update(skip_locked=True)
        .cte("held")
    )
    connection.execute(
        update(deliveries)
        .where(deliveries.c.id.in_(select(held.c.id)))
        .values(lease_until=lease.until)
    )


def sent(
    connection: Connection, delivery: Delivery, *, now: datetime, warning: str | None = None
) -> bool:
    """Note that the destination took the object; ``warning`` is what it found to say about it.

    False, and nothing noted, if the delivery is no longer its holder's.
    """
    done = connection.execute(
        update(deliveries)
        .where(_held(delivery))
        .values(
            state=DeliveryState.SENT,
            attempts=deliveries.c.attempts + 1,
            sent_at=now,
            due_at=now,
            asks=0,
            last_error=warning,
            commitment_error=None,
            **RELEASED,
        )
    )
    return done.rowcount == 1


def postpone(connection: Connection, delivery: Delivery, *, due_at: datetime, error: str) -> bool:
    """Note that the destination did not take the object, and try again at ``due_at``."""
    done = connection.execute(
        update(deliveries)
        .where(_held(delivery))
        .values(attempts=deliveries.c.attempts + 1, due_at=due_at, last_error=error, **RELEASED)
    )
    return done.rowcount == 1


def wait(
    connection: Connection, delivery: Delivery, *, due_at: datetime, error: str | None
) -> bool:
    """Note that the destination was asked about the object, and ask again at ``due_at``."""
    done = connection.execute(
        update(deliveries)
        .where(_held(delivery))
        .values(asks=deliveries.c.asks + 1, due_at=due_at, commitment_error=error, **RELEASED)
    )
    return done.rowcount == 1


def settle(
    connection: Connection, delivery: Delivery, *, evidence: Evidence, now: datetime
) -> bool:
    """End the delivery by this evidence, whoever holds it; False if it does not wait for any."""
    known = evidence is not Evidence.NONE
    return _leave_sent(
        connection,
        delivery,
        state=DeliveryState.COMMITTED if known else DeliveryState.SENT,
        evidence=evidence,
        committed_at=now if known else None,
        commitment_error=None,
    )


def reject(connection: Connection, delivery: Delivery, *, due_at: datetime, error: str) -> bool:
    """Owe the object again, as the destination does not keep it; False if that is settled."""
    return _leave_sent(
        connection,
        delivery,
        state=DeliveryState.OWED,
        rejections=deliveries.c.rejections + 1,
        due_at=due_at,
        last_error=error,
    )


def of_study(connection: Connection, study_instance_uid: str) -> list[Delivery]:
    """Return every delivery of the study, in the order in which they were owed."""
    rows = connection.execute(
        SELECTED.where(results.c.study_instance_uid == study_instance_uid).order_by(deliveries.c.id)
    )
    return [made(row) for row in rows.mappings()]


def counts(connection: Connection) -> dict[tuple[str, DeliveryState, Evidence | None], int]:
    """Return how many deliveries there are, by destination, state and evidence."""
    kinds = (deliveries.c.destination, deliveries.c.state, deliveries.c.evidence)
    rows = connection.execute(
        select(*kinds, func.count().label("deliveries")).group_by(*kinds).order_by(*kinds)
    )
    return {
        (row.destination, DeliveryState(row.state), _evidence(row.evidence)): row.deliveries
        for row in rows
    }


def made(row: RowMapping) -> Delivery:
    """Return the delivery that a row of ``SELECTED`` tells of."""
    return Delivery(
        **{
            **row,
            "state": DeliveryState(row["state"]),
            "evidence": _evidence(row["evidence"]),
        }
    )


def _evidence(value: str | None) -> Evidence | None:
    return None if value is None else Evidence(value)


def _leave_sent(connection: Connection, delivery: Delivery, **values: object) -> bool:
    """Move on what is sent and waits for evidence; no request asks about it any more."""
    done = connection.execute(
        update(deliveries)
        .where(
            deliveries.c.id == delivery.id,
            deliveries.c.state == DeliveryState.SENT,
            deliveries.c.evidence.is_(None),
        )
        .values(**values, **RELEASED)
    )
    if done.rowcount != 1:
        return False
    connection.execute(
        delete(commitment_items).where(commitment_items.c.delivery_id == delivery.id)
    )
    return True


def _due(state: DeliveryState, now: datetime) -> ColumnElement[bool]:
    return and_(
        deliveries.c.state == state,
        deliveries.c.evidence.is_(None),
        deliveries.c.due_at <= now,
        or_(deliveries.c.claimed_by.is_(None), deliveries.c.lease_until < now),
    )


def _held(delivery: Delivery) -> ColumnElement[bool]:
    # The attempts fence off a holder of the same name that came back after its lease ran out.
    return and_(
        deliveries.c.id == delivery.id,
        deliveries.c.state == delivery.state,
        deliveries.c.claimed_by == delivery.claimed_by,
        deliveries.c.attempts == delivery.attempts,
        deliveries.c.asks == delivery.asks,
    )
