"""Says that this run of the node is alive, and closes what runs that are over left open."""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine

from db import nodes
from db.engine import writing

logger = logging.getLogger(__name__)

LEASE = timedelta(seconds=60)
BEAT_S = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Presence:
    """One run of a node that listens; of its ``name`` (host, port) there is one run at a time."""

    engine: Engine
    run: str
    name: str

    def tell(self, now: datetime) -> None:
        """Renew our lease; close the associations of runs whose lease is over or that we follow."""
        with writing(self.engine) as connection:
            nodes.alive(connection, self.run, name=self.name, now=now, lease=LEASE)
            closed = nodes.close_abandoned(connection, now=now)
        if closed:
            logger.warning("closed %d associations of a node that is gone", closed)
