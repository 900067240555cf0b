"""Pledges: what peers asked us to commit to, and how far they have been told."""

import hashlib
import json
from collections.abc import Collection, Sequence
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

from db.deliveries import Lease
from db.engine import insert_new
from db.tables import pledges

OPEN = ("asked", "checked")


class PledgeState(StrEnum):
    """Where a pledge stands; abandoned: the peer could not be told."""

    ASKED = "asked"
    CHECKED = "checked"
    REPORTED = "reported"
    ABANDONED = "abandoned"


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """What a peer asks us to commit to: pairs of SOP Class UID and SOP Instance UID."""

    calling_ae_title: str
    transaction_uid: str
    association: str
    instances: Sequence[tuple[str, str]]

    @property
    def digest(self) -> str:
        """What tells a request that came again from another under the same Transaction UID."""
        return hashlib.sha256(
            json.dumps([list(one) for one in self.instances]).encode()
        ).hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class Pledge:
    """One request of a peer; ``reasons`` holds a failure reason or 0 for each instance."""

    id: int
    calling_ae_title: str
    transaction_uid: str
    association: str
    instances: tuple[tuple[str, str], ...]
    digest: str
    reasons: tuple[int, ...] | None
    state: PledgeState
    attempts: int
    due_at: datetime
    claimed_by: str | None
    lease_until: datetime | None
    last_error: str | None
    created_at: datetime
    ended_at: datetime | None


def take_down(connection: Connection, wish: Wish, *, duplicate: int, lease: Lease) -> None:
    """Write the request down for the lease's node, which has the association that it came on.

    The same request again is checked and reported again. Another one under a Transaction UID that
    is in use fails as a whole, for the reason ``duplicate``.
    """
    same_peer = and_(
        pledges.c.calling_ae_title == wish.calling_ae_title,
        pledges.c.transaction_uid == wish.transaction_uid,
    )
    first = connection.execute(
        select(pledges.c.digest).where(same_peer).order_by(pledges.c.id).limit(1)
    ).scalar_one_or_none()
    is_duplicate = first not in {None, wish.digest}
    begun = {
        "association": wish.association,
        "reasons": [duplicate] * len(wish.instances) if is_duplicate else None,
        "state": PledgeState.CHECKED if is_duplicate else PledgeState.ASKED,
        "attempts": 0,
        "due_at": lease.now,
        "claimed_by": lease.node,
        "lease_until": lease.until,
        "last_error": None,
        "ended_at": None,
    }
    added = connection.execute(
        insert_new(connection, pledges)
        .values(
            calling_ae_title=wish.calling_ae_title,
            transaction_uid=wish.transaction_uid,
            instances=[list(one) for one in wish.instances],
            digest=wish.digest,
            created_at=lease.now,
            **begun,
        )
        .returning(pledges.c.id)
    ).scalar_one_or_none()
    if added is None:
        connection.execute(
            update(pledges).where(same_peer, pledges.c.digest == wish.digest).values(**begun)
        )


def open_count(connection: Connection, calling_ae_title: str) -> int:
    """Return how many requests of the peer have no report yet."""
    count: int = connection.execute(
        select(func.count()).where(
            pledges.c.calling_ae_title == calling_ae_title, pledges.c.state.in_(OPEN)
        )
    ).scalar_one()
    return count


def due_titles(connection: Connection, *, node: str, now: datetime) -> list[str]:
    """Return the AE titles that have something due for this node."""
    rows = connection.execute(
        select(pledges.c.calling_ae_title)
        .where(_due(node, now))
        .distinct()
        .order_by(pledges.c.calling_ae_title)
    )
    return [str(row.calling_ae_title) for row in rows]


def claim(connection: Connection, calling_ae_title: str, *, lease: Lease) -> Pledge | None:
    """Hand the longest due request of the peer to the lease's node, or None if none is due."""
    chosen = (
        select(pledges.c.id)
        .where(_due(lease.node, lease.now), pledges.c.calling_ae_title == calling_ae_title)
        .order_by(pledges.c.due_at, pledges.c.id)
        .limit(1)
        .with_for_update(skip_locked=True)
        .cte("chosen")
    )
    row = (
        connection.execute(
            update(pledges)
            .where(pledges.c.id.in_(select(chosen.c.id)))
            .values(claimed_by=lease.node, lease_until=lease.until)
            .returning(pledges)
        )
        .mappings()
        .one_or_none()
    )
    return None if row is None else _pledge(row)


def renew(connection: Connection, titles: Collection[str], lease: Lease) -> None:
    """Keep what the lease's node still holds of these peers until the new end."""
    connection.execute(
        update(pledges)
        .where(
            pledges.c.claimed_by == lease.node,
            pledges.c.calling_ae_title.in_(titles),
            pledges.c.lease_until >= lease.now,
        )
        .values(lease_until=lease.until)
    )


def checked(connection: Connection, pledge: Pledge, reasons: Sequence[int]) -> None:
    """Note which instances we commit to, before the peer is told: retention then keeps them."""
    connection.execute(
        update(pledges)
        .where(_held(pledge), pledges.c.state == PledgeState.ASKED)
        .values(state=PledgeState.CHECKED, reasons=list(reasons))
    )


def end(
    connection: Connection,
    pledge: Pledge,
    state: PledgeState,
    *,
    now: datetime,
    error: str | None = None,
) -> None:
    """Note that the peer was told, or that it never will be."""
    connection.execute(
        update(pledges)
        .where(_held(pledge))
        .values(
            state=state,
            attempts=pledges.c.attempts + 1,
            last_error=error,
            ended_at=now,
            claimed_by=None,
            lease_until=None,
        )
    )


def postpone(connection: Connection, pledge: Pledge, *, due_at: datetime, error: str) -> None:
    """Note that the peer could not be told, and try again at ``due_at``."""
    connection.execute(
        update(pledges)
        .where(_held(pledge))
        .values(
            attempts=pledges.c.attempts + 1,
            due_at=due_at,
            last_error=error,
            claimed_by=None,
            lease_until=None,
        )
    )


def of_peer(connection: Connection, calling_ae_title: str) -> list[Pledge]:
    """Return the requests of the peer, the first first."""
    rows = connection.execute(
        select(pledges).where(pledges.c.calling_ae_title == calling_ae_title).order_by(pledges.c.id)
    )
    return [_pledge(row) for row in rows.mappings()]


def counts(connection: Connection) -> dict[tuple[str, PledgeState], int]:
    """Return how many requests there are, by peer and state."""
    rows = connection.execute(
        select(pledges.c.calling_ae_title, pledges.c.state, func.count().label("requests"))
        .group_by(pledges.c.calling_ae_title, pledges.c.state)
        .order_by(pledges.c.calling_ae_title, pledges.c.state)
    )
    return {(row.calling_ae_title, PledgeState(row.state)): row.requests for row in rows}


def forget(connection: Connection, *, before: datetime) -> None:
    """Forget the requests that ended before."""
    connection.execute(
        delete(pledges).where(pledges.c.state.not_in(OPEN), pledges.c.ended_at < before)
    )


def _due(node: str, now: datetime) -> ColumnElement[bool]:
    return and_(
        pledges.c.state.in_(OPEN),
        pledges.c.due_at <= now,
        or_(
            pledges.c.claimed_by.is_(None),
            pledges.c.claimed_by == node,
            pledges.c.lease_until < now,
        ),
    )


def _held(pledge: Pledge) -> ColumnElement[bool]:
    return and_(
        pledges.c.id == pledge.id,
        pledges.c.claimed_by == pledge.claimed_by,
        pledges.c.attempts == pledge.attempts,
        # The peer may have asked again meanwhile, on another association.
        pledges.c.association == pledge.association,
    )


def _pledge(row: RowMapping) -> Pledge:
    reasons = row["reasons"]
    return Pledge(
        **{
            **row,
            "instances": tuple((str(kind), str(uid)) for kind, uid in row["instances"]),
            "reasons": None if reasons is None else tuple(reasons),
            "state": PledgeState(row["state"]),
        }
    )
