"""Sends owed result objects to their destinations, until each has taken them."""

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial

from sqlalchemy import Engine

from db import deliveries
from db.deliveries import Delivery, DeliveryState
from db.engine import reading, writing
from node.backoff import Backoff, DueAt
from node.config import Peer
from node.errors import PeerUnavailable
from node.instance import Outgoing
from node.lanes import Lanes
from node.leasing import Leasing
from node.net.scu import Sent
from node.store import Store

logger = logging.getLogger(__name__)

BATCH = 50  # objects an association; what is left follows at the next call
Send = Callable[[Peer, Sequence[Outgoing]], list[Sent]]
"""Sends over one association, an answer for each; raises PeerUnavailable where there is none."""


class Outbox:
    """What is owed, to whom, and how it gets there.

    An object is marked as sent after the destination took it: a crash between the two sends the
    same SOP Instance UID again, which changes nothing there. What one node sends is claimed, so
    that no other node on the same database sends it, too.
    """

    def __init__(
        self,
        engine: Engine,
        store: Store,
        destinations: Mapping[str, Peer],
        *,
        node: str,
        send: Send,
        backoff: Backoff,
    ) -> None:
        self._engine = engine
        self._store = store
        self._destinations = destinations
        self._leasing = Leasing(node)
        self._send = send
        self._backoff = backoff
        self._lanes = Lanes("delivery")

    def deliver(self, now: datetime) -> int:
        """Send what is due to each destination that is idle; return how many objects arrived.

        The destinations are served side by side. A slow one goes on after the call has returned,
        and is left alone until it is done: the others never wait for it. Call it from one thread.
        """
        renew = partial(deliveries.renew, state=DeliveryState.OWED)
        self._leasing.renew(self._engine, self._lanes.busy(), renew, now)
        with reading(self._engine) as connection:
            names = deliveries.due_destinations(connection, DeliveryState.OWED, now=now)
        return self._lanes.run(names, lambda name: self._deliver_to(name, now))

    def close(self) -> None:
        """Send nothing more; what is under way is finished first."""
        self._lanes.close()

    def _deliver_to(self, name: str, now: datetime) -> int:
        with writing(self._engine) as connection:
            owed = deliveries.claim(
                connection, name, DeliveryState.OWED, lease=self._leasing.at(now), limit=BATCH
            )
        if not owed:  # another node was faster
            return 0
        due_at = self._backoff.drawn(now)
        peer = self._destinations.get(name)
        if peer is None:
            self._postpone_all(owed, due_at, f"destination {name} is not configured any more")
            return 0
        try:
            answers = self._send(peer, [self._outgoing(one) for one in owed])
        except PeerUnavailable as error:
            self._postpone_all(owed, due_at, str(error))
            return 0
        pairs = zip(owed, answers, strict=True)
        return sum(self._note(delivery, answer, due_at, now) for delivery, answer in pairs)

    def _note(self, delivery: Delivery, answer: Sent, due_at: DueAt, now: datetime) -> bool:
        if not answer.taken:
            self._postpone(delivery, due_at, str(answer), told=answer.told)
            return False
        warning = str(answer) if answer.warning else None
        with writing(self._engine) as connection:
            still_ours = deliveries.sent(connection, delivery, now=now, warning=warning)
        if warning is not None:
            _say(delivery, answer.told)
        return still_ours

    def _postpone_all(self, owed: Sequence[Delivery], due_at: DueAt, error: str) -> None:
        for delivery in owed:
            self._postpone(delivery, due_at, error, told=error)

    def _postpone(self, delivery: Delivery, due_at: DueAt, error: str, *, told: str) -> None:
        """Try again later; ``error`` is for `explain`, ``told`` for the log."""
        again_at = due_at(delivery.attempts + 1)
        with writing(self._engine) as connection:
            deliveries.postpone(connection, delivery, due_at=again_at, error=error)
        if error != delivery.last_error:
            _say(delivery, told)

    def _outgoing(self, delivery: Delivery) -> Outgoing:
        return Outgoing(
            sop_class_uid=delivery.sop_class_uid,
            sop_instance_uid=delivery.sop_instance_uid,
            transfer_syntax_uid=delivery.transfer_syntax_uid,
            path=self._store.path(delivery.path),
            study_instance_uid=delivery.study_instance_uid,
        )


def _say(delivery: Delivery, what: str) -> None:
    logger.warning(
        "%s to %s: %s",
        delivery.sop_instance_uid,
        delivery.destination,
        what,
        extra={"study": delivery.study_instance_uid, "attempt": delivery.attempts + 1},
    )
