"""Associations that peers opened with us, so that a study can be told from a pause."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Dialect, Executable, bindparam, update

from db.engine import insert_into
from db.prepared import Prepared, Transaction
from db.tables import associations


@dataclass(frozen=True, kw_only=True, slots=True)
class Association:
    """One association; ``association`` is unique over restarts and over listeners."""

    association: str
    calling_ae_title: str
    peer: str
    node: str | None = None
    """The run of the node that took it; see ``db.nodes``."""


def _brought(dialect: Dialect) -> Executable:
    of = associations.c
    said = (of.association, of.calling_ae_title, of.peer, of.node)
    values = {one.name: bindparam(one.name, type_=one.type) for one in said}
    at = bindparam("at", type_=of.last_at.type)
    return (
        insert_into(dialect, associations)
        .values(**values, opened_at=at, last_at=at)
        .on_conflict_do_update(index_elements=[of.association], set_={"last_at": at})
    )


def _closed(_dialect: Dialect) -> Executable:
    of = associations.c
    meant = of.association == bindparam("closed", type_=of.association.type)
    at = bindparam("at", type_=of.released_at.type)
    return update(associations).where(meant, of.released_at.is_(None)).values(released_at=at)


_BROUGHT, _CLOSED = Prepared(_brought), Prepared(_closed)


def brought(connection: Transaction, association: Association, *, now: datetime) -> None:
    """Note that the association brought something, for the first time or again."""
    row = {
        "association": association.association,
        "calling_ae_title": association.calling_ae_title,
        "peer": association.peer,
        "node": association.node,
        "at": now,
    }
    _BROUGHT.run(connection, row)


def closed(connection: Transaction, association: str, *, now: datetime) -> None:
    """Note that the association was released, was aborted or broke: it brings nothing more."""
    _CLOSED.run(connection, {"closed": association, "at": now})
