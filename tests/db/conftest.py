"""A database for each test, SQLite and PostgreSQL in turn, and what stands in it."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine

from db.engine import connect
from db.instances import Instance
from tests.postgresql import BOTH

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def now() -> datetime:
    return NOW


@pytest.fixture(params=BOTH)
def database(request: pytest.FixtureRequest) -> str:
    """Every test runs on both databases."""
    return str(request.param)


@pytest.fixture
def empty_url(database: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database without a table."""
    if database == "sqlite":
        return f"sqlite:///{tmp_path / 'empty.sqlite3'}"
    return str(request.getfixturevalue("postgresql").empty())


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = connect(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def instance() -> Callable[..., Instance]:
    def make(uid: str, *, study: str = "1.2.3", modality: str = "CT", **changes: str) -> Instance:
        return Instance(
            sop_instance_uid=uid,
            study_instance_uid=study,
            series_instance_uid=f"{study}.{1 if modality == 'CT' else 2}",
            sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
            transfer_syntax_uid="1.2.840.10008.1.2.1",
            modality=modality,
            path=f"instances/{uid}.dcm",
            digest=changes.get("digest", "sha256:" + "0" * 64),
            size=4,
            calling_ae_title="PACS",
            association=changes.get("association", "a"),
            received_at=NOW,
        )

    return make
