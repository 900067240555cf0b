"""What every test may ask for: the real test data and a port that nobody listens on."""

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from db.migrate import upgrade
from tests.postgresql import postgresql

__all__ = ["postgresql"]  # the fixture, for every test

# A law is no faster on a loaded machine: no test here is timed.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real data named by PETCT_TEST_DATA; without it the test skips."""
    folder = Path(os.environ.get("PETCT_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no test data at {folder}; name its folder in PETCT_TEST_DATA")
    return folder


@pytest.fixture
def database() -> str:
    """Which database a test runs on; a module that runs on both overrides this with ``BOTH``."""
    return "sqlite"


@pytest.fixture(scope="session")
def new_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with every table: copied, it is quicker than made."""
    path = tmp_path_factory.mktemp("database") / "new.sqlite3"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
def database_url(database: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database with every table, and a row in none."""
    if database == "postgresql":
        return str(request.getfixturevalue("postgresql").ready())
    path = tmp_path / "node.sqlite3"
    shutil.copy(request.getfixturevalue("new_sqlite"), path)
    return f"sqlite:///{path}"


@pytest.fixture
def free_ports() -> Callable[[], int]:
    """Gives a new port of loopback that was free a moment ago, at each call."""

    def free() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        return port

    return free


@pytest.fixture
def free_port(free_ports: Callable[[], int]) -> int:
    """A port of loopback that was free a moment ago."""
    return free_ports()
