"""A fresh database for each test: SQLite, and PostgreSQL where PETCT_TEST_POSTGRESQL names one."""

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from db.engine import connect, writing
from db.instances import Instance
from db.migrate import upgrade

POSTGRESQL = os.environ.get("PETCT_TEST_POSTGRESQL", "")
"""URL of a database that the tests may empty."""
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def now() -> datetime:
    return NOW


@pytest.fixture(params=["sqlite", *(["postgresql"] if POSTGRESQL else [])])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'node.sqlite3'}"
    engine = connect(POSTGRESQL)
    with writing(engine) as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    engine.dispose()
    return POSTGRESQL


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    upgrade(url)
    engine = connect(url)
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
            sha256=changes.get("sha256", "0" * 64),
            size=4,
            calling_ae_title="PACS",
            association=changes.get("association", "a"),
            received_at=NOW,
        )

    return make
