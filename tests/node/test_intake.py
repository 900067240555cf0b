from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import select, update

from db import instances, jobs, results, studies
from db.engine import reading, writing
from db.instances import set_digest
from db.jobs import Readiness
from db.results import Result
from db.tables import instances as table
from node.errors import Conflicting, NotUnderstood
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
            sha256="0" * 64,
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
