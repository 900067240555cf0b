"""Statements that run for every image: built once for each database, not at every call."""

from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, CursorResult, Dialect, Executable

Build = Callable[[Dialect], Executable]
"""Makes the statement for one kind of database; its values are ``bindparam`` of their columns."""


class Prepared:
    """One statement, whose parameters come with each run."""

    def __init__(self, build: Build) -> None:
        self._build = build
        self._built: WeakKeyDictionary[Dialect, Executable] = WeakKeyDictionary()

    def run(self, connection: Connection, parameters: Mapping[str, Any]) -> CursorResult[Any]:
        """Run the statement in the transaction of the connection."""
        statement = self._built.get(connection.dialect)
        if statement is None:
            statement = self._built[connection.dialect] = self._build(connection.dialect)
        return connection.execute(statement, parameters)
