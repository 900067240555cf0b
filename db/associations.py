"""Associations that peers opened with us, so that a study can be told from a pause."""

from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import Connection, update

from db.engine import insert_or_update
from db.tables import associations


@dataclass(frozen=True, kw_only=True, slots=True)
class Association:
    """One association; ``association`` is unique over restarts and over listeners."""

    association: str
    calling_ae_title: str
    peer: str
    node: str | None = None
    """The run of the node that took it; see ``db.nodes``."""


def brought(connection: Connection, association: Association, *, now: datetime) -> None:
    """Note that the association brought something, for the first time or again."""
    row = {**asdict(association), "opened_at": now, "last_at": now}
    connection.execute(insert_or_update(connection, associations, row, {"last_at": now}))


def closed(connection: Connection, association: str, *, now: datetime) -> None:
    """Note that the association was released, was aborted or broke: it brings nothing more."""
    connection.execute(
        update(associations)
        .where(associations.c.association == association, associations.c.released_at.is_(None))
        .values(released_at=now)
    )
