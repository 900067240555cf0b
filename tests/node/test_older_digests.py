"""After an upgrade, what came before is told by SHA-256 from what comes, and stays what it was."""

import pytest
from rich.console import Console
from sqlalchemy import select, update

from db import instances, jobs, studies
from db.engine import reading, writing
from db.instances import set_digest
from db.jobs import Readiness
from db.tables import instances as table
from node.cli.process import instance_set_digest
from node.dicom.headers import identify
from node.errors import Conflicting
from node.intake import Intake
from tests.postgresql import BOTH


@pytest.fixture(params=BOTH)
def database(request):
    return request.param


@pytest.fixture(params=["at once", "by a journal"])
def taking(request, intake):
    """What takes instances: each is filed while its sender waits, or after the journal has it."""
    return intake if request.param == "at once" else request.getfixturevalue("journaling")()


def row(engine, uid="1.1"):
    with reading(engine) as connection:
        return instances.find(connection, uid)


def aside(engine):
    with reading(engine) as connection:
        return instances.kept_aside(connection, "1.2.3")


def the_set(engine):
    with reading(engine) as connection:
        return set_digest(instances.to_analyze(connection, "1.2.3"))


@pytest.fixture
def delete(engine, store, clock):
    """Deletes all instances as retention does."""

    def take_away():
        with writing(engine) as connection:
            paths = connection.execute(select(table.c.path)).scalars().all()
            connection.execute(update(table).values(deleted_at=clock.now))
        store.remove(paths)

    return take_away


@pytest.fixture
def one_before(taking, engine, arrival, by_an_older_version):
    """The instance 1.1, which came before the upgrade."""
    taking.receive(arrival("1.1", comment="first"))
    taking.flush()
    by_an_older_version()
    found = row(engine)
    assert found.digest.startswith("sha256:")
    return found


def test_the_same_bytes_again_change_nothing(taking, engine, arrival, one_before):
    taking.receive(arrival("1.1", comment="first"))
    taking.flush()

    assert row(engine) == one_before
    assert aside(engine) == []


def test_other_bytes_are_refused_and_kept_aside(taking, engine, arrival, one_before):
    with pytest.raises(Conflicting):
        taking.receive(arrival("1.1", comment="other"))

    assert row(engine) == one_before
    assert len(aside(engine)) == 1


def test_what_was_kept_aside_before_is_found_again(taking, engine, store, arrival, one_before):
    """Its row and its file have the names that older versions gave them."""
    for _ in range(2):
        with pytest.raises(Conflicting):
            taking.receive(arrival("1.1", comment="other"))

    (kept,) = aside(engine)
    assert kept.digest.startswith("sha256:")
    assert kept.path.endswith(f"/{kept.digest.removeprefix('sha256:')}.dcm")
    assert store.read(kept.path) == arrival("1.1", comment="other").part10


def test_a_deleted_one_comes_back_and_its_study_is_what_it_was(
    taking, engine, arrival, clock, delete, one_before
):
    digest = the_set(engine)
    delete()
    clock.forward(60)

    taking.receive(arrival("1.1", comment="first", association="another"))
    taking.flush()

    again = row(engine)
    assert (again.is_here, again.received_at, again.association) == (True, clock.now, "another")
    assert again.digest == one_before.digest
    assert the_set(engine) == digest


def test_of_a_deleted_one_only_its_own_bytes_come_back(taking, engine, arrival, delete, one_before):
    delete()

    with pytest.raises(Conflicting):
        taking.receive(arrival("1.1", comment="other"))

    assert not row(engine).is_here


def test_a_study_that_was_analysed_before_is_not_analysed_again(
    taking, engine, arrival, clock, delete, one_before
):
    def enqueue():
        with writing(engine) as connection:
            return jobs.enqueue(
                connection,
                studies.find(connection, "1.2.3"),
                instances.to_analyze(connection, "1.2.3"),
                bundle_digest="sha256:b",
                readiness=Readiness(why_ready="QUIET"),
                now=clock.now,
            )

    assert enqueue() is not None
    delete()

    taking.receive(arrival("1.1", comment="first"))
    taking.flush()

    assert enqueue() is None


@pytest.fixture
def overtaking(engine, store, clock, monkeypatch, arrival, by_an_older_version):
    """An intake that another node overtakes with the instance 1.1, digested by SHA-256."""
    settle = store.settle
    other = Intake(engine, store, identify, clock)

    def overtaken(names):
        monkeypatch.setattr(store, "settle", settle)
        other.receive(arrival("1.1"))
        by_an_older_version()
        settle(names)

    monkeypatch.setattr(store, "settle", overtaken)
    return Intake(engine, store, identify, clock)


def test_the_same_bytes_of_a_quicker_node_are_the_same(overtaking, engine, arrival):
    overtaking.receive(arrival("1.1", association="another"))

    assert row(engine).association == "a"
    assert aside(engine) == []


def test_other_bytes_of_a_quicker_node_are_a_conflict(overtaking, engine, arrival):
    """They are of another study, so that their files do not meet."""
    with pytest.raises(Conflicting):
        overtaking.receive(arrival("1.1", study="1.2.4"))

    assert row(engine).study_instance_uid == "1.2.3"


def test_a_set_has_one_digest_in_the_database_and_in_a_folder(taking, engine, arrival, tmp_path):
    paths = [tmp_path / f"{n}.dcm" for n in range(3)]
    for n, path in enumerate(paths):
        sent = arrival(f"1.{n}")
        taking.receive(sent)
        path.write_bytes(sent.part10)
    taking.flush()

    assert row(engine).digest.startswith("blake3:")
    assert instance_set_digest(paths, Console(quiet=True)) == the_set(engine)
