"""Nodes that listen: each run holds a lease, so that what a killed one left open can be closed."""

from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, or_, select, update

from db.engine import insert_new
from db.tables import associations, nodes


def alive(connection: Connection, run: str, *, name: str, now: datetime, lease: timedelta) -> None:
    """Say that this run of the node ``name`` is alive until ``now + lease``.

    A node of that name runs once: any other run of it is over.
    """
    connection.execute(insert_new(connection, nodes).values(run=run, name=name, alive_until=now))
    connection.execute(update(nodes).where(nodes.c.run == run).values(alive_until=now + lease))
    connection.execute(delete(nodes).where(nodes.c.name == name, nodes.c.run != run))


def close_abandoned(connection: Connection, *, now: datetime) -> int:
    """Close the associations of runs that are over; return how many.

    They brought their last instance when they were last heard of.
    """
    alive_runs = select(nodes.c.run).where(nodes.c.alive_until >= now)
    closed = connection.execute(
        update(associations)
        .where(
            associations.c.released_at.is_(None),
            or_(associations.c.node.is_(None), associations.c.node.not_in(alive_runs)),
        )
        .values(released_at=associations.c.last_at)
    )
    connection.execute(delete(nodes).where(nodes.c.alive_until < now))
    return closed.rowcount
