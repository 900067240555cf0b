"""Brings owed result objects to their destinations, until each has taken them."""

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine

from db import deliveries
from db.deliveries import Delivery
from db.engine import reading, writing
from node.config import Peer
from node.errors import PeerUnavailable
from node.instance import Outgoing
from node.net.scu import Sent
from node.store import Store

logger = logging.getLogger(__name__)

BATCH = 50  # objects an association; what is left follows at the next call
PARALLEL_DESTINATIONS = 16
ROUND_S = 5  # how long one call waits for its destinations

Send = Callable[[Peer, Sequence[Outgoing]], list[Sent]]
"""Sends over one association, an answer for each; raises PeerUnavailable where there is none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Backoff:
    """How long to wait after each failure: doubling from ``first`` up to ``longest``, for ever."""

    first: timedelta
    longest: timedelta

    def after(self, failures: int) -> timedelta:
        """Return the pause after so many failures in a row."""
        doublings = min(failures - 1, 30)  # further ones are beyond any longest pause
        return min(self.first * (1 << doublings), self.longest)


class Outbox:
    """What is owed, to whom, and how it gets there.

    An object is marked as sent after the destination took it: a crash between the two sends the
    same SOP Instance UID again, which changes nothing there.
    """

    def __init__(
        self,
        engine: Engine,
        store: Store,
        destinations: Mapping[str, Peer],
        *,
        send: Send,
        backoff: Backoff,
    ) -> None:
        self._engine = engine
        self._store = store
        self._destinations = destinations
        self._send = send
        self._backoff = backoff
        self._pool = ThreadPoolExecutor(PARALLEL_DESTINATIONS, thread_name_prefix="delivery")
        self._under_way: dict[str, Future[int]] = {}

    def deliver(self, now: datetime) -> int:
        """Send what is due to each destination that is idle; return how many objects arrived.

        The destinations are served side by side. A slow one goes on after the call has returned,
        and is left alone until it is done: the others never wait for it. Call it from one thread.
        """
        with reading(self._engine) as connection:
            names = deliveries.due_destinations(connection, now=now)
        started = [self._start(name, now) for name in names if self._is_idle(name)]
        finished, _ = wait(started, timeout=ROUND_S)
        return sum(one.result() for one in finished)

    def close(self) -> None:
        """Send nothing more; what is under way is finished first."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _is_idle(self, name: str) -> bool:
        under_way = self._under_way.get(name)
        return under_way is None or under_way.done()

    def _start(self, name: str, now: datetime) -> Future[int]:
        self._under_way[name] = self._pool.submit(self._deliver_to, name, now)
        return self._under_way[name]

    def _deliver_to(self, name: str, now: datetime) -> int:
        with reading(self._engine) as connection:
            owed = deliveries.due(connection, name, now=now, limit=BATCH)
        peer = self._destinations.get(name)
        if peer is None:
            self._postpone_all(owed, now, f"destination {name} is not configured any more")
            return 0
        try:
            answers = self._send(peer, [self._outgoing(one) for one in owed])
        except PeerUnavailable as error:
            self._postpone_all(owed, now, str(error))
            return 0
        pairs = zip(owed, answers, strict=True)
        return sum(self._settle(delivery, answer, now) for delivery, answer in pairs)

    def _settle(self, delivery: Delivery, answer: Sent, now: datetime) -> bool:
        if not answer.taken:
            self._postpone(delivery, now, str(answer))
            return False
        warning = str(answer) if answer.warning else None
        with writing(self._engine) as connection:
            deliveries.sent(connection, delivery.id, now=now, warning=warning)
        if warning is not None:
            _say(delivery, warning)
        return True

    def _postpone_all(self, owed: Sequence[Delivery], now: datetime, error: str) -> None:
        for delivery in owed:
            self._postpone(delivery, now, error)

    def _postpone(self, delivery: Delivery, now: datetime, error: str) -> None:
        due_at = now + self._backoff.after(delivery.attempts + 1)
        with writing(self._engine) as connection:
            deliveries.postpone(connection, delivery.id, due_at=due_at, error=error)
        if error != delivery.last_error:
            _say(delivery, error)

    def _outgoing(self, delivery: Delivery) -> Outgoing:
        return Outgoing(
            sop_class_uid=delivery.sop_class_uid,
            sop_instance_uid=delivery.sop_instance_uid,
            transfer_syntax_uid=delivery.transfer_syntax_uid,
            path=self._store.path(delivery.path),
        )


def _say(delivery: Delivery, what: str) -> None:
    logger.warning(
        "%s to %s: %s",
        delivery.sop_instance_uid,
        delivery.destination,
        what,
        extra={"study": delivery.study_instance_uid, "attempt": delivery.attempts + 1},
    )
