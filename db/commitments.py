"""Requests for commitment that we made, and which deliveries each still asks about."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, func, insert, or_, select, update

from db.deliveries import SELECTED, Delivery, DeliveryState, made
from db.tables import commitment_items, commitment_requests, deliveries


@dataclass(frozen=True, kw_only=True, slots=True)
class CommitmentRequest:
    """One request, as a destination's application entity was asked."""

    transaction_uid: str
    destination: str
    ae_title: str
    created_at: datetime
    asked_at: datetime | None = None
    """When it was answered, whatever the status."""
    answered_at: datetime | None = None
    """When the first report came."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Unanswered:
    """What one destination has not told yet."""

    destination: str
    objects: int
    oldest_at: datetime


def store(
    connection: Connection, request: CommitmentRequest, asked_about: Sequence[Delivery]
) -> None:
    """Remember the request before it is made, so that no report ever comes to a stranger."""
    connection.execute(insert(commitment_requests).values(**asdict(request)))
    connection.execute(
        insert(commitment_items),
        [
            {"transaction_uid": request.transaction_uid, "delivery_id": one.id}
            for one in asked_about
        ],
    )


def find(connection: Connection, transaction_uid: str) -> CommitmentRequest | None:
    """Return the request, or None where we never made it."""
    row = (
        connection.execute(
            select(commitment_requests).where(
                commitment_requests.c.transaction_uid == transaction_uid
            )
        )
        .mappings()
        .one_or_none()
    )
    return None if row is None else CommitmentRequest(**row)


def asked(connection: Connection, transaction_uid: str, *, now: datetime) -> None:
    """Note that the destination answered the request."""
    connection.execute(
        update(commitment_requests)
        .where(commitment_requests.c.transaction_uid == transaction_uid)
        .values(asked_at=now)
    )


def asked_about(connection: Connection, sent: Sequence[Delivery]) -> set[int]:
    """Return which of the deliveries a destination was asked about, by id, since they were sent."""
    rows = connection.execute(
        select(commitment_items.c.delivery_id)
        .join(
            commitment_requests,
            commitment_requests.c.transaction_uid == commitment_items.c.transaction_uid,
        )
        .where(
            commitment_items.c.delivery_id.in_([one.id for one in sent]),
            or_(
                commitment_requests.c.asked_at.is_not(None),
                commitment_requests.c.answered_at.is_not(None),
            ),
        )
    )
    return {row.delivery_id for row in rows}


def answered(connection: Connection, transaction_uid: str, *, now: datetime) -> None:
    """Note that the report came; a later one does not change when."""
    connection.execute(
        update(commitment_requests)
        .where(
            commitment_requests.c.transaction_uid == transaction_uid,
            commitment_requests.c.answered_at.is_(None),
        )
        .values(answered_at=now)
    )


def open_items(connection: Connection, transaction_uid: str) -> list[Delivery]:
    """Return the deliveries that the request still asks about, by id.

    Who changes several goes by id, so that two who do never wait for each other.
    """
    rows = connection.execute(
        SELECTED.join(commitment_items, commitment_items.c.delivery_id == deliveries.c.id)
        .where(
            commitment_items.c.transaction_uid == transaction_uid,
            deliveries.c.state == DeliveryState.SENT,
        )
        .order_by(deliveries.c.id)
    )
    return [made(row) for row in rows.mappings()]


def hurry(connection: Connection, transaction_uid: str, *, due_at: datetime) -> None:
    """Let what the request still asks about be asked about again at ``due_at``."""
    named = select(commitment_items.c.delivery_id).where(
        commitment_items.c.transaction_uid == transaction_uid
    )
    connection.execute(
        update(deliveries)
        .where(
            deliveries.c.id.in_(named),
            deliveries.c.state == DeliveryState.SENT,
            deliveries.c.evidence.is_(None),
        )
        .values(due_at=due_at)
    )


def unanswered(connection: Connection) -> list[Unanswered]:
    """Return what is still asked about, by destination."""
    rows = connection.execute(
        select(
            commitment_requests.c.destination,
            func.count(commitment_items.c.delivery_id.distinct()).label("objects"),
            func.min(commitment_requests.c.created_at).label("oldest_at"),
        )
        .join(
            commitment_items,
            commitment_items.c.transaction_uid == commitment_requests.c.transaction_uid,
        )
        .group_by(commitment_requests.c.destination)
        .order_by(commitment_requests.c.destination)
    )
    return [Unanswered(**row) for row in rows.mappings()]


def forget(connection: Connection, *, before: datetime) -> None:
    """Forget the requests made before that nothing waits for any more."""
    waits = (
        select(commitment_items.c.delivery_id)
        .where(commitment_items.c.transaction_uid == commitment_requests.c.transaction_uid)
        .exists()
    )
    connection.execute(
        delete(commitment_requests).where(commitment_requests.c.created_at < before, ~waits)
    )
