"""Commits to the instances that peers ask about, after looking at each, and reports it to them."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, Engine

from db import instances, pledges, results, retention
from db.engine import reading, writing
from db.pledges import Pledge, PledgeState, Wish
from node.backoff import Backoff
from node.config import Peer
from node.digest import is_of_file
from node.errors import PeerUnavailable
from node.lanes import Lanes
from node.leasing import Leasing
from node.net.commitment import (
    RESOURCE_LIMITATION,
    SUCCESS,
    Failure,
    Reference,
    Report,
    Request,
)
from node.store import Store

logger = logging.getLogger(__name__)

GIVE_UP = timedelta(days=3)
"""A peer that cannot be told for so long is told no more; it asks again if it wants to know."""
DAY = timedelta(days=1)
REMEMBERED = timedelta(days=30)
OPEN_REQUESTS_MAX = 1000
"""So many requests of one peer may wait for their reports; one more is refused."""

# PS3.3 C.14.1.1: Failure Reason (0008,1197)
COMMITTED = 0
PROCESSING_FAILURE = 0x0110
NO_SUCH_INSTANCE = 0x0112
CLASS_INSTANCE_CONFLICT = 0x0119
DUPLICATE_TRANSACTION_UID = 0x0131


@dataclass(frozen=True, kw_only=True, slots=True)
class Channels:
    """The ways to report: on the association of this identity, or on one of our own to a peer.

    ``over`` gives None where the association is not open, or without an answer; ``to`` raises
    PeerUnavailable.
    """

    over: Callable[[str, Report], int | None]
    to: Callable[[Peer, Report], int]


class Pledges:
    """What peers want to be sure of before they delete it.

    A request is in the database before it is answered, and stays there until its report was taken:
    on its own association if that is still open, else on a new one, for as long as it takes.
    """

    def __init__(
        self,
        engine: Engine,
        store: Store,
        peers: Mapping[str, Peer],
        *,
        node: str,
        channels: Channels,
        backoff: Backoff,
    ) -> None:
        self._engine = engine
        self._store = store
        self._peers = peers
        self._node = node
        self._leasing = Leasing(node)
        self._channels = channels
        self._backoff = backoff
        self._lanes = Lanes("pledges")
        self._forgot_at: datetime | None = None

    def asked(self, request: Request, *, ae_title: str, association: str, now: datetime) -> int:
        """Write the request down; return the status to answer it with."""
        wish = Wish(
            calling_ae_title=ae_title,
            transaction_uid=request.transaction_uid,
            association=association,
            instances=[(one.sop_class_uid, one.sop_instance_uid) for one in request.references],
        )
        with writing(self._engine) as connection:
            if pledges.open_count(connection, ae_title) >= OPEN_REQUESTS_MAX:
                logger.warning("refused a request of %s: too many wait already", ae_title)
                return RESOURCE_LIMITATION
            pledges.take_down(
                connection, wish, duplicate=DUPLICATE_TRANSACTION_UID, lease=self._leasing.at(now)
            )
        return SUCCESS

    def keep(self, now: datetime) -> int:
        """Check and report what is due; return how many peers were told.

        Call it from one thread.
        """
        self._forget(now)
        self._leasing.renew(self._engine, self._lanes.busy(), pledges.renew, now)
        with reading(self._engine) as connection:
            titles = pledges.due_titles(connection, node=self._node, now=now)
        return self._lanes.run(titles, lambda title: self._keep_for(title, now))

    def close(self) -> None:
        """Begin nothing more; what is under way is finished first."""
        self._lanes.close()

    def _forget(self, now: datetime) -> None:
        """Once a day, forget the requests that ended long ago."""
        if self._forgot_at is None or now - self._forgot_at > DAY:
            self._forgot_at = now
            with writing(self._engine) as connection:
                pledges.forget(connection, before=now - REMEMBERED)

    def _keep_for(self, title: str, now: datetime) -> bool:
        with writing(self._engine) as connection:
            pledge = pledges.claim(connection, title, lease=self._leasing.at(now))
        if pledge is None:  # another node was faster
            return False
        reasons = pledge.reasons
        if reasons is None:
            reasons = tuple(self._look(*one) for one in pledge.instances)
            with writing(self._engine) as connection:
                reasons = _promise(connection, pledge, reasons, now)
                pledges.checked(connection, pledge, reasons)
        return self._tell(pledge, _report(pledge, reasons), now)

    def _tell(self, pledge: Pledge, told: Report, now: datetime) -> bool:
        title = pledge.calling_ae_title
        try:
            status = self._channels.over(pledge.association, told)
            if status is None:
                peer = self._peers.get(title)
                if peer is None:
                    self._abandon(pledge, now, f"the address of {title} is not configured")
                    return False
                status = self._channels.to(peer, told)
        except PeerUnavailable as error:
            self._postpone(pledge, now, str(error))
            return False
        if status != SUCCESS:
            self._postpone(pledge, now, f"answered with status 0x{status:04X}")
            return False
        with writing(self._engine) as connection:
            pledges.end(connection, pledge, PledgeState.REPORTED, now=now)
        logger.info(
            "told %s that %d of %d instances are committed",
            title,
            len(told.committed),
            len(pledge.instances),
        )
        return True

    def _postpone(self, pledge: Pledge, now: datetime, error: str) -> None:
        if now - pledge.created_at > GIVE_UP:
            self._abandon(pledge, now, error)
            return
        due_at = self._backoff.drawn(now)(pledge.attempts + 1)
        with writing(self._engine) as connection:
            pledges.postpone(connection, pledge, due_at=due_at, error=error)
        if error != pledge.last_error:
            self._say(pledge, error)

    def _abandon(self, pledge: Pledge, now: datetime, error: str) -> None:
        with writing(self._engine) as connection:
            pledges.end(connection, pledge, PledgeState.ABANDONED, now=now, error=error)
        self._say(pledge, f"{error}; it is told no more")

    def _say(self, pledge: Pledge, what: str) -> None:
        logger.warning(
            "%s hears nothing of transaction %s: %s",
            pledge.calling_ae_title,
            pledge.transaction_uid,
            what,
        )

    def _look(self, sop_class_uid: str, sop_instance_uid: str) -> int:
        """Return 0 where the instance lies here as it was registered, else the failure reason."""
        with reading(self._engine) as connection:
            received = instances.find(connection, sop_instance_uid)
            made = None if received else results.find(connection, sop_instance_uid)
        known = received or made
        if known is None or (received is not None and not received.is_here):
            return NO_SUCH_INSTANCE
        if known.sop_class_uid != sop_class_uid:
            return CLASS_INSTANCE_CONFLICT
        return self._look_at_file(known.path, known.digest)

    def _look_at_file(self, path: str, digest: str) -> int:
        try:
            with self._store.path(path).open("rb") as file:
                is_whole = is_of_file(digest, file)
        except FileNotFoundError:
            logger.error("%s is gone from the store", path)  # noqa: TRY400  the traceback tells no more
            return NO_SUCH_INSTANCE
        except OSError:
            logger.exception("%s cannot be read", path)
            return PROCESSING_FAILURE
        if not is_whole:
            logger.error("%s is not as it was received", path)
            return PROCESSING_FAILURE
        return COMMITTED


def _report(pledge: Pledge, reasons: tuple[int, ...]) -> Report:
    references = [
        Reference(sop_class_uid=kind, sop_instance_uid=uid) for kind, uid in pledge.instances
    ]
    judged = list(zip(references, reasons, strict=True))
    return Report(
        transaction_uid=pledge.transaction_uid,
        committed=tuple(one for one, reason in judged if reason == COMMITTED),
        failed=tuple(Failure(reference=one, reason=reason) for one, reason in judged if reason),
    )


def _promise(
    connection: Connection, pledge: Pledge, reasons: Sequence[int], now: datetime
) -> tuple[int, ...]:
    """Have retention keep what we commit to; what it took meanwhile is not committed."""
    found = list(zip(pledge.instances, reasons, strict=True))
    kept = retention.pledge(
        connection, {uid for (_, uid), reason in found if reason == COMMITTED}, now=now
    )
    return tuple(
        NO_SUCH_INSTANCE if reason == COMMITTED and uid not in kept else reason
        for (_, uid), reason in found
    )
