"""Connections kept open for the statements that run for every image.

Between a block and its database SQLAlchemy does much that is the same each time: a connection is
taken from the pool and given back, options are copied, events are sent. On SQLite all that takes
several times as long as the statements themselves. A server is asked through the pool as ever,
which notices that it was away.
"""

from contextlib import AbstractContextManager, suppress
from types import TracebackType
from typing import Final, Self

from sqlalchemy import Engine, PoolProxiedConnection, event

from db.engine import reading, writing
from db.prepared import Transaction, raised

IDLE_MOST: Final = 8
"""So many wait for the next block; a thread that finds none opens another."""


class Kept:
    """Transactions for prepared statements alone; safe to use from many threads.

    What is kept is closed when the engine is disposed of.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.is_file: Final = engine.dialect.name == "sqlite"
        """Whether a statement that reads takes no longer than a look into a file."""
        self._idle: list[PoolProxiedConnection] = []
        event.listen(engine, "engine_disposed", self._close)

    def writing(self) -> AbstractContextManager[Transaction]:
        """One transaction that may write: committed at the end of the block, else never begun."""
        if self.is_file:
            return _Block(self._engine, self._idle, "BEGIN IMMEDIATE")
        return writing(self._engine)

    def asking(self) -> AbstractContextManager[Transaction]:
        """Ask one statement that only reads, and never waits for a writer."""
        return _Block(self._engine, self._idle) if self.is_file else reading(self._engine)

    def _close(self, _engine: Engine) -> None:
        with suppress(IndexError):
            while True:
                self._idle.pop().invalidate()


class _Block:
    """One transaction on SQLite; or, where nothing begins it, statements by themselves."""

    __slots__ = ("_begin", "_engine", "_idle", "connection", "dialect")

    def __init__(
        self, engine: Engine, idle: list[PoolProxiedConnection], begin: str | None = None
    ) -> None:
        self._engine = engine
        self._idle = idle
        self._begin = begin
        self.dialect = engine.dialect

    def __enter__(self) -> Self:
        try:
            self.connection = self._idle.pop()
        except IndexError:
            self.connection = self._opened()
        if self._begin is not None:
            self._run(self._begin)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None:
            self.connection.invalidate()  # which leaves the transaction as if never begun
            return
        if self._begin is not None:
            self._run("COMMIT")
        if len(self._idle) < IDLE_MOST:
            self._idle.append(self.connection)
        else:
            self.connection.close()

    def _opened(self) -> PoolProxiedConnection:
        try:
            return self._engine.raw_connection()
        except self.dialect.loaded_dbapi.Error as error:
            raise raised(self.dialect, "", error) from error

    def _run(self, statement: str) -> None:
        try:
            self.connection.cursor().execute(statement)
        except self.dialect.loaded_dbapi.Error as error:
            self.connection.invalidate()
            raise raised(self.dialect, statement, error) from error
