import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import select

from db import associations
from db.associations import Association
from db.engine import connect, reading, writing
from db.migrate import upgrade
from db.tables import associations as table
from db.tables import metadata

ROOT = Path(__file__).parents[2]
SENDER = Association(association="a", calling_ae_title="PACS", peer="10.0.0.5:104")


def test_the_revisions_make_the_tables_that_the_code_knows(engine):
    with reading(engine) as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_an_upgrade_of_a_new_database_changes_nothing_more(engine, database_url, now):
    with writing(engine) as connection:
        associations.brought(connection, SENDER, now=now)

    upgrade(database_url)

    with reading(engine) as connection:
        assert connection.execute(select(table.c.association)).scalar_one() == "a"


def test_processes_that_start_together_upgrade_once(empty_url):
    command = [sys.executable, "-c", f"from db.migrate import upgrade; upgrade({empty_url!r})"]

    starts = [subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE) for _ in range(3)]

    assert [start.communicate()[1] for start in starts] == [b""] * 3


def test_a_moment_comes_back_in_utc_whatever_zone_it_was_given_in(engine):
    noon_in_berlin = datetime(2026, 3, 1, 12, tzinfo=timezone(timedelta(hours=1)))

    with writing(engine) as connection:
        associations.brought(connection, SENDER, now=noon_in_berlin)
    with reading(engine) as connection:
        moment = connection.execute(select(table.c.opened_at)).scalar_one()

    assert moment == datetime(2026, 3, 1, 11, tzinfo=UTC)
    assert moment.utcoffset() == timedelta(0)


def test_a_time_without_a_zone_is_a_bug(engine):
    with writing(engine) as connection, pytest.raises(Exception, match="times are aware"):
        associations.brought(connection, SENDER, now=datetime(2026, 3, 1))  # noqa: DTZ001  meant


def test_a_block_that_fails_leaves_nothing_behind(engine, now):
    def opened_then_killed():
        with writing(engine) as connection:
            associations.brought(connection, SENDER, now=now)
            raise KeyError

    with pytest.raises(KeyError):
        opened_then_killed()

    with reading(engine) as connection:
        assert connection.execute(select(table)).all() == []


def test_sqlite_commits_to_disk_and_lets_readers_read(tmp_path):
    engine = connect(f"sqlite:///{tmp_path / 'deep' / 'node.sqlite3'}")
    with reading(engine) as connection:

        def pragma(name):
            return connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()

        assert pragma("journal_mode") == "wal"
        assert pragma("synchronous") == 2  # FULL
        assert pragma("foreign_keys") == 1
        assert pragma("busy_timeout") == 30_000
    engine.dispose()


def test_a_writer_holds_the_write_lock_from_the_beginning(tmp_path):
    path = tmp_path / "node.sqlite3"
    engine = connect(f"sqlite:///{path}")
    other = sqlite3.connect(path, timeout=0, isolation_level=None)

    with writing(engine), pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("BEGIN IMMEDIATE")

    other.close()
    engine.dispose()


def test_a_database_in_memory_is_refused():
    with pytest.raises(ValueError, match="outlive"):
        connect("sqlite://")
