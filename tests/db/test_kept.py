"""Connections that are kept between the images."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy.exc import IntegrityError, OperationalError, SQLAlchemyError

from db import instances, studies
from db.engine import connect, reading, writing
from db.kept import IDLE_MOST, Kept
from db.migrate import upgrade


def test_what_a_block_registers_is_there_after_it(engine, instance):
    kept = Kept(engine)

    with kept.writing() as connection:
        assert instances.register(connection, instance("1.1"))

    with kept.asking() as connection:
        assert instances.standing(connection, "1.1").is_here
    with reading(engine) as connection:
        assert instances.find(connection, "1.1") == instance("1.1")


def test_a_block_that_fails_leaves_nothing_behind_and_the_next_one_works(engine, instance):
    kept = Kept(engine)

    def register_and_fail():
        with kept.writing() as connection:
            instances.register(connection, instance("1.1"))
            raise KeyError

    with pytest.raises(KeyError):
        register_and_fail()

    with kept.writing() as connection:
        assert instances.register(connection, instance("1.1"))


def test_what_the_driver_says_is_raised_as_sqlalchemy_does_and_quotes_no_values(engine, instance):
    with writing(engine) as connection:
        connection.exec_driver_sql("ALTER TABLE instances RENAME TO away")
    kept = Kept(engine)

    def register():
        with kept.writing() as connection:
            instances.register(connection, instance("1.2.3.4711"))

    with pytest.raises(SQLAlchemyError) as raised:
        register()

    assert "4711" not in str(raised.value)
    with writing(engine) as connection:
        connection.exec_driver_sql("ALTER TABLE away RENAME TO instances")
    register()


def test_many_threads_lose_nothing(engine, now):
    kept = Kept(engine)

    def touch(_number):
        with kept.writing() as connection:
            studies.touch(connection, "1.2.3", now=now)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(touch, range(64)))

    with reading(engine) as connection:
        assert studies.find(connection, "1.2.3").revision == 64


@pytest.fixture
def sqlite(tmp_path):
    """A database in a file, by itself."""
    url = f"sqlite:///{tmp_path / 'node.sqlite3'}"
    upgrade(url)
    engine = connect(url)
    yield engine
    engine.dispose()


def test_a_commit_that_fails_is_told_and_leaves_nothing_behind(sqlite, now):
    """A key that is looked at only when the transaction ends names a job that is not there."""
    kept = Kept(sqlite)

    def commit():
        with kept.writing() as block:
            studies.touch(block, "1.2.3", now=now)
            cursor = block.connection.cursor()
            cursor.execute("PRAGMA defer_foreign_keys = ON")
            cursor.execute("INSERT INTO job_instances VALUES (7, '1.1')")

    with pytest.raises(IntegrityError):
        commit()

    with kept.writing() as block:
        studies.touch(block, "1.2.4", now=now)
    with reading(sqlite) as connection:
        assert studies.find(connection, "1.2.3") is None
        assert studies.find(connection, "1.2.4") is not None


def test_a_file_that_cannot_be_opened_is_told_as_sqlalchemy_does(tmp_path):
    engine = connect(f"sqlite:///{tmp_path / 'gone' / 'node.sqlite3'}")
    (tmp_path / "gone").rmdir()

    with pytest.raises(OperationalError, match="unable to open"), Kept(engine).asking():
        pass


def opened(engine):
    """How often this process has the file of the database open."""
    found = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # that of the listing itself
            found += str(descriptor.readlink()) == engine.url.database
    return found


def test_no_more_are_kept_than_are_needed_and_none_when_the_engine_is_disposed_of(sqlite):
    kept = Kept(sqlite)
    together = threading.Barrier(IDLE_MOST + 3)

    def ask(_number):
        with kept.asking() as block:
            assert instances.standing(block, "1.1") is None
            together.wait(20)

    with ThreadPoolExecutor(IDLE_MOST + 3) as pool:
        list(pool.map(ask, range(IDLE_MOST + 3)))
    assert opened(sqlite) == IDLE_MOST + 3  # those of the pool among them
    sqlite.dispose()

    assert opened(sqlite) == 0
    with kept.asking() as block:
        assert instances.standing(block, "1.1") is None
