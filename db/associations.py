"""Associations that peers opened with us, so that a study can be told from a pause."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, update

from db.engine import insert_new
from db.tables import associations


@dataclass(frozen=True, kw_only=True, slots=True)
class Association:
    """One association; ``association`` is unique over restarts and over listeners."""

    association: str
    calling_ae_title: str
    peer: str
    node: str | None = None
    """The run of the node that took it; see ``db.nodes``."""


def opened(connection: Connection, association: Association, *, now: datetime) -> None:
    """Remember an association that a peer opened."""
    connection.execute(
        insert_new(connection, associations).values(
            association=association.association,
            calling_ae_title=association.calling_ae_title,
            peer=association.peer,
            node=association.node,
            opened_at=now,
            last_at=now,
        )
    )


def touch(connection: Connection, association: str, *, now: datetime) -> None:
    """Note that the association brought something."""
    connection.execute(
        update(associations).where(associations.c.association == association).values(last_at=now)
    )


def closed(connection: Connection, association: str, *, now: datetime) -> None:
    """Note that the association was released, was aborted or broke: it brings nothing more."""
    connection.execute(
        update(associations)
        .where(associations.c.association == association, associations.c.released_at.is_(None))
        .values(released_at=now)
    )
