"""Opens the database so that a committed row survives a power cut.

The same statements run on SQLite and on PostgreSQL. On SQLite a writer takes the only write lock
when its transaction begins, so that no transaction fails halfway because another wrote first. On
PostgreSQL transactions read what is committed, and lock the rows that they decide on.
"""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Dialect, Engine, Table, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url

from db.postgresql import SILENCE_S, open_server

BUSY_TIMEOUT_S = 30


def connect(url: str, *, silence_s: float = SILENCE_S) -> Engine:
    """Open ``url``; a commit that returned is on disk, whatever the database's own settings.

    On SQLite: write-ahead log, foreign keys enforced. On PostgreSQL: a server that says nothing for
    ``silence_s`` is given up.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "postgresql":
        return open_server(parsed, silence_s=silence_s)
    if parsed.database in {None, "", ":memory:"}:
        raise ValueError("the node's memory must outlive the process: name a file, not :memory:")
    Path(str(parsed.database)).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        parsed,
        pool_size=8,
        max_overflow=24,
        connect_args={"timeout": BUSY_TIMEOUT_S},
        hide_parameters=True,
    )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def writing(engine: Engine) -> AbstractContextManager[Connection]:
    """One transaction that may write: committed at the end of the block, else as if never begun."""
    return engine.execution_options(petct_begin="BEGIN IMMEDIATE").begin()


def reading(engine: Engine) -> AbstractContextManager[Connection]:
    """One transaction that only reads and never waits for a writer."""
    return engine.execution_options(petct_begin="BEGIN DEFERRED").begin()


def insert_into(dialect: Dialect, table: Table) -> sqlite.Insert | postgresql.Insert:
    """Begin an INSERT that may say what becomes of a row that is there already."""
    return postgresql.insert(table) if dialect.name == "postgresql" else sqlite.insert(table)


def insert_new(connection: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    """Make an INSERT that leaves a row alone which one of the unique keys finds there already."""
    return insert_into(connection.dialect, table).on_conflict_do_nothing()


def _prepare_sqlite(dbapi_connection: Any, _record: object) -> None:  # noqa: ANN401  a driver's own type
    # The driver would begin transactions by itself, and too late; _begin_sqlite does it instead.
    dbapi_connection.isolation_level = None
    cursor = dbapi_connection.cursor()
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    options = connection.get_execution_options()
    connection.exec_driver_sql(options.get("petct_begin", "BEGIN IMMEDIATE"))
