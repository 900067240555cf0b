"""Opens a PostgreSQL database whose server may vanish without a word."""

from typing import Any

import pg8000
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL
from typing_extensions import override

LOCK_TIMEOUT_S = 30
STATEMENT_TIMEOUT_S = 60
SETTINGS = {
    "lock_timeout": f"{LOCK_TIMEOUT_S}s",
    "statement_timeout": f"{STATEMENT_TIMEOUT_S}s",
    # The server notices within a minute that our machine is gone, and frees what we held.
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
}
SILENCE_S = 90.0
"""A server that says nothing for so long, though it has to answer, is gone.

Longer than it may take for a statement, so that its own word comes first.
"""


def open_server(url: URL, *, silence_s: float) -> Engine:
    """Open ``url``, by the driver pg8000 unless it names another.

    Where the server says nothing for ``silence_s``, sqlalchemy.exc.DBAPIError is raised; what comes
    after it asks for new connections.
    """
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+pg8000")
    engine = create_engine(
        url,
        pool_size=8,
        max_overflow=24,
        pool_pre_ping=True,
        isolation_level="READ COMMITTED",
        connect_args={"timeout": silence_s},
        hide_parameters=True,
    )
    event.listen(engine, "do_connect", _dial)
    event.listen(engine, "connect", _prepare)
    return engine


class _Connection(pg8000.Connection):  # type: ignore[misc]  # the driver comes without types
    """Tells of a broken connection as DB-API has it; the driver lets some reads raise OSError."""

    def __init__(self, **parameters: object) -> None:
        try:
            super().__init__(**parameters)
        except OSError as error:
            raise pg8000.InterfaceError("network error") from error

    @override
    def handle_messages(self, context: object) -> None:
        try:
            super().handle_messages(context)
        except OSError as error:
            raise pg8000.InterfaceError("network error") from error


def _dial(_dialect: object, _record: object, _args: object, parameters: dict[str, Any]) -> Any:  # noqa: ANN401  a driver's own type
    return _Connection(**parameters)


def _prepare(dbapi_connection: Any, _record: object) -> None:  # noqa: ANN401  a driver's own type
    cursor = dbapi_connection.cursor()
    # Where a server, a role or a database turns it off, a commit may be lost in a crash.
    cursor.execute(
        "SELECT set_config('synchronous_commit', 'on', false) "
        "WHERE current_setting('synchronous_commit') = 'off'"
    )
    for name, value in SETTINGS.items():
        cursor.execute("SELECT set_config(%s, %s, false)", (name, value))
    cursor.close()
    dbapi_connection.commit()
