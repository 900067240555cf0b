import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import pytest
from sqlalchemy import select, update

from db import instances, jobs, results, studies
from db.engine import reading, writing
from db.instances import set_digest
from db.jobs import Readiness
from db.results import Result
from db.tables import instances as table
from node.errors import Conflicting, NotUnderstood, OutOfResources
from tests.postgresql import BOTH


@pytest.fixture(params=BOTH)
def database(request):
    return request.param


def study_of(engine, uid="1.2.3"):
    with reading(engine) as connection:
        return studies.find(connection, uid)


def test_an_instance_makes_its_study_known(intake, engine, arrival, clock):
    intake.receive(arrival("1.1"))

    study = study_of(engine)
    assert (study.state, study.first_at, study.unsettled) == ("receiving", clock.now, True)


def test_the_same_instance_again_changes_nothing(intake, engine, store, arrival, clock):
    intake.receive(arrival("1.1"))
    before = study_of(engine)

    clock.forward(60)
    intake.receive(arrival("1.1", association="another"))

    assert study_of(engine) == before
    assert len(list(store.root.rglob("*.dcm"))) == 1


def test_the_same_instance_on_many_associations_at_once_counts_once(intake, engine, arrival):
    same = [arrival("1.1", association=f"a{n}") for n in range(8)]

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(intake.receive, same))

    assert study_of(engine).revision == 1


@pytest.fixture
def gathering(engine, intake, store, monkeypatch):
    """Holds the first group until so many others wait, which are the second one then."""
    settle, begun, go = store.settle, threading.Event(), threading.Event()

    def held(names):
        if not begun.is_set():
            begun.set()
            assert go.wait(20)
        settle(names)

    monkeypatch.setattr(store, "settle", held)

    def receive(first, others):
        with ThreadPoolExecutor(1 + len(others)) as pool:
            started = [pool.submit(intake.receive, first)]
            assert begun.wait(20)
            started += [pool.submit(intake.receive, one) for one in others]
            while intake.waiting < len(others):
                time.sleep(0.001)
            go.set()
            return [one.exception(20) for one in started]

    return receive


def test_a_group_of_many_associations_and_studies_is_registered_whole(gathering, engine, arrival):
    others = [arrival(f"1.{n}", association=f"a{n % 3}", study=f"1.2.{n % 2}") for n in range(12)]

    errors = gathering(arrival("2.1"), others)

    assert errors == [None] * 13
    assert [study_of(engine, uid).revision for uid in ("1.2.3", "1.2.0", "1.2.1")] == [1, 6, 6]
    with reading(engine) as connection:
        senders = studies.senders(connection, "1.2.0")
    assert sorted(one.association for one in senders) == ["a0", "a1", "a2"]


def test_one_that_conflicts_costs_the_others_of_its_group_nothing(gathering, engine, arrival):
    """The same UID twice in one group, in another study the second time."""
    others = [
        arrival("1.1", association="a"),
        arrival("1.1", association="b", study="9.9"),
        arrival("1.2", association="c"),
    ]

    errors = gathering(arrival("2.1"), others)

    assert errors[0] is None
    assert errors[3] is None
    assert sorted(type(one) for one in errors[1:3] if one is not None) == [Conflicting]
    with reading(engine) as connection:
        assert instances.find(connection, "1.1") is not None
        assert instances.find(connection, "1.2") is not None


def test_one_whose_file_went_costs_the_others_of_its_group_nothing(
    gathering, engine, store, arrival, monkeypatch
):
    """The second file that is looked for, the first of the group, is gone whenever it is."""
    looked_for = []

    def holds(name):
        looked_for.append(name)
        return name not in looked_for[1:2]

    monkeypatch.setattr(store, "holds", holds)

    errors = gathering(arrival("2.1"), [arrival("1.1"), arrival("1.2"), arrival("1.3")])

    assert [type(one) for one in errors if one is not None] == [OutOfResources]
    with reading(engine) as connection:
        kept = [instances.find(connection, f"1.{n}") is not None for n in (1, 2, 3)]
    assert sum(kept) == 2


def test_other_bytes_are_kept_aside_and_the_study_stays_what_it_was(intake, engine, store, arrival):
    intake.receive(arrival("1.1", comment="first"))
    other = arrival("1.1", comment="other")

    with pytest.raises(Conflicting):
        intake.receive(other)

    with reading(engine) as connection:
        (aside,) = instances.kept_aside(connection, "1.2.3")
        digest = set_digest(instances.to_analyze(connection, "1.2.3"))
    assert store.read(aside.path) == other.part10
    assert study_of(engine).revision == 1
    with pytest.raises(Conflicting):
        intake.receive(other)
    with reading(engine) as connection:
        assert len(instances.kept_aside(connection, "1.2.3")) == 1
        assert set_digest(instances.to_analyze(connection, "1.2.3")) == digest


@contextmanager
def without_a_table(engine, name):
    """Makes every statement about the table fail."""

    def rename(old, new):
        with writing(engine) as connection:
            connection.exec_driver_sql(f"ALTER TABLE {old} RENAME TO {new}")

    rename(name, "away")
    try:
        yield
    finally:
        rename("away", name)


def test_other_bytes_that_the_database_cannot_note_are_refused_as_any_others(
    intake, engine, arrival
):
    intake.receive(arrival("1.1", comment="first"))

    with (
        without_a_table(engine, "quarantine"),
        pytest.raises(OutOfResources, match="the database fails"),
    ):
        intake.receive(arrival("1.1", comment="other"))


def mark(engine, store, clock, *, file_is_gone):
    """Delete the instance 1.1 as retention does: the whole of it, or cut off after the mark."""
    with writing(engine) as connection:
        (path,) = connection.execute(select(table.c.path)).scalars()
        gone = {"deleted_at": clock.now} if file_is_gone else {"deleting_at": clock.now}
        connection.execute(update(table).values(**gone))
        if file_is_gone:
            store.remove([path])


@pytest.mark.parametrize("file_is_gone", [True, False])
def test_an_instance_that_was_deleted_is_kept_again(
    intake, engine, store, arrival, clock, file_is_gone
):
    intake.receive(arrival("1.1"))
    mark(engine, store, clock, file_is_gone=file_is_gone)

    clock.forward(60)
    intake.receive(arrival("1.1", association="another"))

    with reading(engine) as connection:
        again = instances.find(connection, "1.1")
    assert (again.is_here, again.received_at, again.association) == (True, clock.now, "another")
    assert store.read(again.path) == arrival("1.1").part10
    assert study_of(engine).unsettled


def test_of_a_deleted_instance_only_its_own_bytes_come_back(intake, engine, store, arrival, clock):
    intake.receive(arrival("1.1", comment="first"))
    mark(engine, store, clock, file_is_gone=True)

    with pytest.raises(Conflicting):
        intake.receive(arrival("1.1", comment="other"))

    with reading(engine) as connection:
        assert not instances.find(connection, "1.1").is_here


def test_other_bytes_in_another_study_are_kept_aside_too(intake, engine, arrival):
    intake.receive(arrival("1.1", study="1.2.3"))

    with pytest.raises(Conflicting):
        intake.receive(arrival("1.1", study="1.2.4"))

    assert study_of(engine, "1.2.4") is None


def test_our_own_result_routed_back_is_taken_and_forgotten(intake, engine, store, arrival, clock):
    intake.receive(arrival("1.1"))
    with writing(engine) as connection:
        job_id = jobs.enqueue(
            connection,
            studies.find(connection, "1.2.3"),
            instances.to_analyze(connection, "1.2.3"),
            bundle_digest="sha256:b",
            readiness=Readiness(why_ready="QUIET"),
            now=clock.now,
        )
        made = Result(
            sop_instance_uid="2.25.1",
            job_id=job_id,
            kind="SR",
            sop_class_uid="1.2.840.10008.5.1.4.1.1.88.34",
            series_instance_uid="2.25.2",
            study_instance_uid="1.2.3",
            transfer_syntax_uid="1.2.840.10008.1.2.1",
            path="results/x.dcm",
            digest="sha256:" + "0" * 64,
        )
        results.owe(connection, [made], (), now=clock.now)
    before = study_of(engine)

    intake.receive(arrival("2.25.1", comment="as the PACS changed it"))

    assert study_of(engine) == before
    with reading(engine) as connection:
        assert instances.find(connection, "2.25.1") is None
    assert len(list(store.root.rglob("*.dcm"))) == 1


def test_what_cannot_be_filed_is_refused_and_leaves_no_trace(intake, engine, store, arrival):
    broken = replace(arrival("1.1"), part10=b"no DICOM")

    with pytest.raises(NotUnderstood):
        intake.receive(broken)

    assert study_of(engine) is None
    assert not store.root.exists()


def test_the_end_of_an_association_is_remembered(intake, engine, arrival, clock):
    intake.receive(arrival("1.1", association="a"))
    ended_at = clock.forward(1)

    intake.closed("a")
    clock.forward(1)
    intake.closed("a")

    with reading(engine) as connection:
        (sender,) = studies.senders(connection, "1.2.3")
    assert (sender.released_at, sender.calling_ae_title) == (ended_at, "PACS")
