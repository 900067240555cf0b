"""Opens the node's database for a command that only looks."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

from db.engine import connect, reading
from node.config import ConfigError, Settings


@contextmanager
def reading_of(settings: Settings) -> Iterator[Connection]:
    """Read the database as it is; ConfigError where there is none, as none is made."""
    file = settings.database.file
    if file is not None and not file.exists():
        raise ConfigError(f"no database at {file}: is this the node's folder and configuration?")
    engine = connect(settings.database.opened(os.environ))
    try:
        with reading(engine) as connection:
            yield connection
    finally:
        engine.dispose()
