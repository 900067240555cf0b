"""A PostgreSQL server of the tests' own, from Debian's binaries, for as long as a run lasts."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from db.engine import connect, writing
from db.migrate import upgrade
from db.tables import metadata

BOTH = ("sqlite", "postgresql")
"""What a fixture ``database`` is parametrised with where the tests of a module run on both."""
STARTS_WITHIN_S = 60
SMALL = {
    # Durability as installed: fsync, full_page_writes and synchronous_commit stay on.
    "shared_buffers": "16MB",
    "max_connections": "100",
    "min_wal_size": "32MB",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "autovacuum": "off",
}


class Server:
    """A running server; it makes databases and empties them."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._admin = create_engine(
            self.url("postgres"), isolation_level="AUTOCOMMIT", pool_size=1, max_overflow=0
        )
        self._ready: tuple[str, Engine] | None = None

    def url(self, database: str) -> str:
        """The URL by which the node names a database."""
        return f"postgresql+pg8000://postgres@127.0.0.1:{self._port}/{database}"

    def empty(self) -> str:
        """Make a database without a table and return its URL."""
        name = f"t{uuid4().hex}"
        self.run(f"CREATE DATABASE {name}")
        return self.url(name)

    def ready(self) -> str:
        """Return the URL of a database that has every table, and a row in none."""
        if self._ready is None:
            url = self.empty()
            upgrade(url)
            self._ready = url, connect(url)
        url, engine = self._ready
        # Quicker than TRUNCATE, which makes and syncs new files for every table and index.
        rows = " ".join(f"DELETE FROM {table.name};" for table in reversed(metadata.sorted_tables))
        with writing(engine) as connection:
            connection.execute(text(f"DO $$ BEGIN {rows} END $$"))
        engine.dispose()
        return url

    def run(self, statement: str) -> None:
        """Run one statement as the superuser, outside of any transaction."""
        with self._admin.connect() as connection:
            connection.execute(text(statement))

    def close(self) -> None:
        """Close our own connections."""
        if self._ready is not None:
            self._ready[1].dispose()
        self._admin.dispose()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """A server that ends with the run; a test that asks for it skips where there is none."""
    binaries = _binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL server below /usr/lib/postgresql (Debian: postgresql)")
    user = _user()
    if user is None:
        pytest.skip("PostgreSQL does not run as root, and there is no user postgres or nobody")
    # Not below pytest's own folder: only its owner may enter that.
    folder = Path(tempfile.mkdtemp(prefix="petct-postgresql-"))
    try:
        if os.getuid() == 0:
            os.chown(folder, user.pw_uid, user.pw_gid)
        with _running(binaries, folder, user) as server:
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _running(binaries: Path, folder: Path, user: pwd.struct_passwd) -> Iterator[Server]:
    as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    how = {"cwd": folder, **(as_user if os.getuid() == 0 else {})}
    data = folder / "data"
    initdb = [binaries / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8"]
    # The cluster holds nothing yet: syncing it would only take time.
    subprocess.run(
        [*initdb, "--locale=C", "--no-sync"], check=True, stdout=subprocess.DEVNULL, **how
    )
    port = _free_port()
    options = [word for name, value in SMALL.items() for word in ("-c", f"{name}={value}")]
    command = [binaries / "postgres", "-D", data, "-p", str(port), *options]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stderr=log, **how) as child:
        server = Server(port)
        try:
            _await(server, child, folder / "log")
            yield server
        finally:
            server.close()
            child.send_signal(3)  # SIGQUIT: ends at once; nothing in it is worth a checkpoint
            child.wait()


def _await(server: Server, child: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + STARTS_WITHIN_S
    while True:
        try:
            server.run("SELECT 1")
        except SQLAlchemyError:
            if child.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"PostgreSQL did not start: {log.read_text()}") from None
            time.sleep(0.05)
        else:
            return


def _binaries() -> Path | None:
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[4])
    )
    return found[-1].parent if found else None


def _user() -> pwd.struct_passwd | None:
    """Who the server runs as: PostgreSQL refuses to be root."""
    if os.getuid() != 0:
        return pwd.getpwuid(os.getuid())
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    return None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def database_of(url: str) -> str:
    """The name of the database that a URL names."""
    return str(make_url(url).database)
