"""Brings the tables of a database to the newest revision."""

from collections import Counter
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, event, text

from db.engine import connect, reading, writing

MIGRATIONS = Path(__file__).parent / "migrations"
ADVISORY_LOCK = 0x50455443
PATIENCE_S = 3600
"""So long one step of a migration may take, or the turn of another process."""


class DatabaseTooNew(Exception):
    """The database is one of a newer version of the node: this version leaves it alone."""


class RowsLost(Exception):
    """An upgrade would lose rows that others refer to: it was undone."""


def upgrade(url: str, *, revision: str = "head") -> None:
    """Apply the missing revisions in one transaction; processes that start together take turns.

    Raises DatabaseTooNew, with nothing changed, where the database is of a newer version, and
    RowsLost where a step would leave rows that refer to what is not there.
    """
    engine = connect(url, silence_s=PATIENCE_S)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _let_tables_be_remade)
    try:
        with writing(engine) as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text("SET LOCAL statement_timeout = 0"))
                connection.execute(text("SET LOCAL lock_timeout = 0"))
                connection.execute(
                    text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK}
                )
            _refuse_newer(connection)
            config = _config()
            config.attributes["connection"] = connection
            is_newest = _current(connection) == newest()  # then nothing is changed below
            loose = Counter[str]() if is_newest else _loose_rows(connection)
            command.upgrade(config, revision)
            if not is_newest and (lost := _loose_rows(connection) - loose):
                raise RowsLost(
                    f"{lost.total()} rows would refer to what is not there, in "
                    f"{', '.join(sorted(lost))}: the upgrade is undone"
                )
    finally:
        engine.dispose()


def newest() -> str:
    """Return the revision that this version of the node works with."""
    return str(ScriptDirectory.from_config(_config()).get_current_head())


def revisions() -> frozenset[str]:
    """Return the revisions that this version of the node knows."""
    scripts = ScriptDirectory.from_config(_config()).walk_revisions()
    return frozenset(script.revision for script in scripts)


def current(url: str) -> str | None:
    """Return the revision that a database is at, or None where it holds no tables of ours."""
    engine = connect(url)
    try:
        with reading(engine) as connection:
            return _current(connection)
    finally:
        engine.dispose()


def _refuse_newer(connection: Connection) -> None:
    found = _current(connection)
    if found is not None and found not in revisions():
        raise DatabaseTooNew(
            f"the database is at revision {found}, which this version of the node does not know "
            f"(its own is {newest()}): install the newer version, or restore the backup"
        )


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _loose_rows(connection: Connection) -> Counter[str]:
    """Count in each table the rows that refer to what is not there.

    SQLite alone has any: it enforces nothing while tables are remade, see below.
    """
    if connection.dialect.name != "sqlite":
        return Counter()
    return Counter(table for table, *_ in connection.execute(text("PRAGMA foreign_key_check")))


def _let_tables_be_remade(dbapi_connection: Any, _record: object) -> None:  # noqa: ANN401  a driver's own type
    # SQLite changes a column by a new table in place of the old one, and whoever drops that takes
    # the rows away that refer to it, in the same transaction, where this cannot be said any more.
    dbapi_connection.execute("PRAGMA foreign_keys = OFF")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config
