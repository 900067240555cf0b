"""Says until when what this node takes is its own, and when that has to be said anew."""

from collections.abc import Callable, Collection
from datetime import datetime, timedelta

from sqlalchemy import Connection, Engine

from db.deliveries import Lease
from db.engine import writing

LENGTH = timedelta(seconds=30)
"""So long after a node died another takes what it held."""
RENEWED_AFTER = LENGTH / 3


class Leasing:
    """The leases of one node, renewed for as long as it works; call it from one thread."""

    def __init__(self, node: str) -> None:
        self._node = node
        self._renewed_at: datetime | None = None

    def at(self, now: datetime) -> Lease:
        """Return the lease that is given now."""
        return Lease(node=self._node, now=now, until=now + LENGTH)

    def renew(
        self,
        engine: Engine,
        busy: Collection[str],
        renew: Callable[[Connection, Collection[str], Lease], None],
        now: datetime,
    ) -> None:
        """Renew what is held for those that are busy, well before it ends and not at every call."""
        last = self._renewed_at
        if not busy or (last is not None and now - last < RENEWED_AFTER):
            return
        self._renewed_at = now
        with writing(engine) as connection:
            renew(connection, busy, self.at(now))
