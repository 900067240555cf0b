"""Statements that run for every image, handed to the driver as they are.

Between a statement and its driver SQLAlchemy does much that is the same at every call; here it is
done once for each database. Transactions and errors stay SQLAlchemy's.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Protocol
from weakref import WeakKeyDictionary

from sqlalchemy import Dialect, Executable, PoolProxiedConnection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import ClauseElement
from sqlalchemy.types import TypeEngine

from db.tables import UtcDateTime

Build = Callable[[Dialect], Executable]
"""Makes the statement for one kind of database; its values are ``bindparam`` of their columns."""
Convert = Callable[[Any], Any]


_MOMENTS: WeakKeyDictionary[Dialect, Convert] = WeakKeyDictionary()


class Transaction(Protocol):
    """What a prepared statement runs in: a Connection of SQLAlchemy's, or one that is kept."""

    @property
    def dialect(self) -> Dialect:
        """The kind of database."""

    @property
    def connection(self) -> PoolProxiedConnection:
        """The driver's connection."""


class _Ready(NamedTuple):
    sql: str
    order: tuple[str, ...]
    """The names of the parameters as the driver wants them."""
    fixed: dict[str, Any]
    convert: tuple[tuple[str, Convert], ...]


class Prepared:
    """One statement, whose parameters come with each run."""

    def __init__(self, build: Build) -> None:
        self._build = build
        self._ready: WeakKeyDictionary[Dialect, _Ready] = WeakKeyDictionary()

    def run(self, connection: Transaction, parameters: Mapping[str, Any]) -> Sequence[Any]:
        """Run the statement in the transaction of the connection; return its rows as they are."""
        dialect = connection.dialect
        ready = self._ready.get(dialect)
        if ready is None:
            ready = self._ready[dialect] = _compiled(self._build(dialect), dialect)
        values = {**ready.fixed, **parameters}
        for name, convert in ready.convert:
            if (value := values[name]) is not None:
                values[name] = convert(value)
        cursor = connection.connection.cursor()
        try:
            cursor.execute(ready.sql, [values[name] for name in ready.order])
            return cursor.fetchall() if cursor.description else []
        except dialect.loaded_dbapi.Error as error:
            raise raised(dialect, ready.sql, error) from error
        finally:
            cursor.close()


def raised(dialect: Dialect, sql: str, error: Exception) -> DBAPIError:
    """Return what SQLAlchemy would raise for an error of the driver; it quotes no values."""
    told = DBAPIError.instance(
        sql, None, error, dialect.loaded_dbapi.Error, hide_parameters=True, dialect=dialect
    )
    assert isinstance(told, DBAPIError)
    return told


def _compiled(statement: Executable, dialect: Dialect) -> _Ready:
    assert isinstance(statement, ClauseElement)
    compiled = statement.compile(dialect=dialect)
    assert isinstance(compiled, SQLCompiler), "only statements with values are prepared"
    assert compiled.positiontup is not None, "our drivers take parameters by their position"
    converters = {name: _converter(bind.type, dialect) for name, bind in compiled.binds.items()}
    return _Ready(
        sql=compiled.string,
        order=tuple(compiled.positiontup),
        fixed={name: value for name, value in compiled.params.items() if value is not None},
        convert=tuple((name, one) for name, one in converters.items() if one is not None),
    )


def _converter(kind: TypeEngine[Any], dialect: Dialect) -> Convert | None:
    """Return what makes the driver's value of ours; a moment stands in several rows of an image."""
    if not isinstance(kind, UtcDateTime):
        return kind.dialect_impl(dialect).bind_processor(dialect)
    if dialect not in _MOMENTS and (convert := kind.dialect_impl(dialect).bind_processor(dialect)):
        _MOMENTS[dialect] = lru_cache(maxsize=64)(convert)
    return _MOMENTS.get(dialect)
