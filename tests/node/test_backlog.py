"""Instances that are answered for before they have a file and a row."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from db import instances, studies
from db.engine import reading
from db.tables import associations as associations_table
from db.tables import instances as table
from db.tables import quarantine
from node.backlog import Backlog
from node.dicom.headers import identify
from node.errors import Conflicting, NotUnderstood, OutOfResources
from node.instance import ReceivedInstance
from node.intake import Intake
from node.jotting import Jotting
from node.journal import BLOCK, Journal, journals
from node.store import Store
from tests.postgresql import BOTH


@pytest.fixture(params=BOTH)
def database(request):
    return request.param


def rows(engine):
    with reading(engine) as connection:
        found = connection.execute(select(table.c.sop_instance_uid, table.c.path))
        return dict(tuple(one) for one in found)


def test_what_was_answered_for_gets_its_file_and_row(journaling, engine, store, arrival):
    intake = journaling()
    sent = [arrival(f"1.{n}") for n in range(30)]

    for one in sent:
        assert intake.receive(one) == "1.2.3"
    intake.flush()

    paths = rows(engine)
    assert [store.read(paths[one.sop_instance_uid]) for one in sent] == [one.part10 for one in sent]
    assert intake.waiting == 0


def test_all_that_a_row_says_is_as_without_a_journal(
    intake, journaling, engine, arrival, clock, tmp_path
):
    journaled = journaling()
    for one, uid in ((intake, "1.1"), (journaled, "1.2")):
        one.receive(arrival(uid, association=f"of {uid}"))
        one.closed(f"of {uid}")

    with reading(engine) as connection:
        plain, other = (instances.find(connection, uid) for uid in ("1.1", "1.2"))
        study = studies.find(connection, "1.2.3")
        closed = {
            row.association: (row.peer, row.released_at is not None)
            for row in connection.execute(select(associations_table))
        }
    skipped = {"sop_instance_uid", "path", "digest", "association"}
    for name in set(instances.Instance.__dataclass_fields__) - skipped:
        assert getattr(plain, name) == getattr(other, name), name
    assert study.revision == 2
    assert closed == {"of 1.1": ("10.0.0.5:104", True), "of 1.2": ("10.0.0.5:104", True)}


def test_an_answer_does_not_wait_for_the_file(journaling, engine, arrival, held):
    intake = journaling()
    intake.receive(arrival("1.1"))

    assert held.begun.wait(20)
    assert rows(engine) == {}
    held.set()
    intake.flush()
    assert set(rows(engine)) == {"1.1"}


def test_after_a_crash_everything_answered_for_is_filed(
    journaling, engine, store, arrival, unwritable, tmp_path
):
    intake = journaling()
    sent = [arrival(f"1.{n}") for n in range(5)]
    for one in sent:
        intake.receive(one)
    intake.close()
    assert rows(engine) == {}
    unwritable()

    heir = journaling()
    assert heir.recover(tmp_path / "journal") == 5

    paths = rows(engine)
    assert [store.read(paths[one.sop_instance_uid]) for one in sent] == [one.part10 for one in sent]
    assert heir.recover(tmp_path / "journal") == 0
    assert len(journals(tmp_path / "journal")) == 1  # its own
    with reading(engine) as connection:
        known = connection.execute(select(associations_table.c.node)).scalars().all()
    assert known == ["run"]


def test_a_journal_of_another_version_stays_and_keeps_no_other_from_being_filed(
    journaling, engine, arrival, unwritable, tmp_path, caplog
):
    intake = journaling()
    intake.receive(arrival("1.1"))
    intake.close()
    unwritable()
    older = tmp_path / "journal" / "0.journal"  # the first by its name
    older.write_bytes(b"petct-node journal 1".ljust(8192, b"\0"))

    assert journaling().recover(tmp_path / "journal") == 1

    assert set(rows(engine)) == {"1.1"}
    assert older.exists()
    assert f"{older} is left to the version of the node that wrote it" in caplog.text


def test_what_was_filed_before_a_crash_is_not_filed_again(
    journaling, engine, store, arrival, monkeypatch, tmp_path
):
    """The journal still holds an instance that retention has deleted meanwhile: it stays so."""
    intake = journaling()
    with monkeypatch.context() as patched:
        patched.setattr(Journal, "release", lambda *_: None)
        intake.receive(arrival("1.1"))
        intake.flush()
        intake.close()
    path = rows(engine)["1.1"]
    store.remove([path])

    assert journaling().recover(tmp_path / "journal") == 0
    assert not store.holds(path)


def test_a_crash_between_file_and_row_leaves_a_file_that_gets_its_row(
    journaling, engine, store, arrival, monkeypatch, tmp_path
):
    intake = journaling()
    with monkeypatch.context() as patched:

        def fail(_names):
            raise OutOfResources("the power is gone")

        patched.setattr(store, "settle", fail)
        intake.receive(arrival("1.1"))
        intake.flush(timeout_s=1)
        intake.close()
    assert len(list(store.root.rglob("*.dcm"))) == 1
    assert rows(engine) == {}

    assert journaling().recover(tmp_path / "journal") == 1
    assert set(rows(engine)) == {"1.1"}


def test_the_same_instance_again_while_it_waits_is_taken_and_changes_nothing(
    journaling, engine, store, arrival, held
):
    intake = journaling()
    intake.receive(arrival("1.1"))
    assert held.begun.wait(20)

    with ThreadPoolExecutor(1) as pool:
        again = pool.submit(intake.receive, arrival("1.1", association="another"))
        held.set()
        assert again.result(20) == "1.2.3"

    assert len(list(store.root.rglob("*.dcm"))) == 1


def test_other_bytes_under_a_uid_that_waits_are_refused_and_kept_aside(
    journaling, engine, arrival, held
):
    intake = journaling()
    intake.receive(arrival("1.1"))
    assert held.begun.wait(20)

    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(intake.receive, arrival("1.1", comment="other"))
        held.set()
        with pytest.raises(Conflicting):
            other.result(20)

    with reading(engine) as connection:
        assert len(connection.execute(select(quarantine)).all()) == 1


def test_who_waits_too_long_for_the_first_of_a_uid_is_refused_for_now(
    journaling, engine, arrival, held, monkeypatch
):
    """Success for other bytes would be taken back by nobody."""
    monkeypatch.setattr("node.backlog.FLUSH_S", 0.05)
    intake = journaling()
    intake.receive(arrival("1.1"))
    assert held.begun.wait(20)

    for again in (arrival("1.1"), arrival("1.1", comment="other")):
        with pytest.raises(OutOfResources, match=r"1\.1 waits for its row"):
            intake.receive(again)
    held.set()
    intake.flush(20)

    assert intake.receive(arrival("1.1")) == "1.2.3"
    assert set(rows(engine)) == {"1.1"}


def test_of_many_at_once_under_one_uid_one_is_kept_and_the_others_conflict(journaling, arrival):
    intake = journaling()
    different = [arrival("1.1", comment=str(n)) for n in range(8)]

    with ThreadPoolExecutor(8) as pool:
        came = [pool.submit(intake.receive, one) for one in different]
        ended = [one.exception(20) for one in came]

    assert sorted(type(one).__name__ for one in ended) == ["Conflicting"] * 7 + ["NoneType"]


def test_bytes_that_another_node_was_quicker_with_are_kept_aside(
    journaling, engine, store, arrival, clock, held
):
    """Two nodes on one database: who is answered for already cannot be refused any more."""
    slower = journaling()
    slower.receive(arrival("1.1", comment="slower"))
    assert held.begun.wait(20)
    quicker = Intake(engine, Store(store.root, 0), identify, clock)
    first = arrival("1.1", comment="quicker")
    quicker.receive(first)
    held.set()
    slower.flush()

    assert store.read(rows(engine)["1.1"]) == first.part10
    with reading(engine) as connection:
        assert len(connection.execute(select(quarantine)).all()) == 1
    assert slower.waiting == 0


def test_while_the_database_fails_what_was_answered_for_waits(
    journaling, engine, arrival, monkeypatch
):
    intake = journaling()
    failing = threading.Event()
    register = instances.register

    def fail(connection, row):
        if failing.is_set():
            raise OperationalError("INSERT", {}, Exception("the disk is full"))
        return register(connection, row)

    monkeypatch.setattr(instances, "register", fail)
    failing.set()
    intake.receive(arrival("1.1"))
    intake.flush(timeout_s=1)
    with pytest.raises(OutOfResources):
        intake.receive(arrival("1.2"))
    assert rows(engine) == {}

    failing.clear()
    intake.flush()
    assert set(rows(engine)) == {"1.1"}


def test_a_journal_that_is_full_leaves_the_rest_to_be_filed_at_once(
    journaling, engine, arrival, held
):
    intake = journaling(size=2 * BLOCK)
    with ThreadPoolExecutor(1) as pool:
        came = [pool.submit(intake.receive, arrival(f"1.{n}")) for n in range(6)]
        assert held.begun.wait(20)
        held.set()
        for one in came:
            one.result(20)
    intake.flush()

    assert len(rows(engine)) == 6


def test_room_that_is_promised_is_not_given_twice(journaling, store, arrival, held, monkeypatch):
    intake = journaling()
    free = 10 * len(arrival("1.1").part10)
    monkeypatch.setattr(store._room, "_free", lambda: free)
    for n in range(10):
        intake.receive(arrival(f"1.{n}"))

    with pytest.raises(OutOfResources, match="would stay free"):
        intake.receive(arrival("1.99"))


def test_a_uid_that_is_none_is_refused_before_it_is_written_down(journaling, arrival):
    intake = journaling()

    with pytest.raises(NotUnderstood):
        intake.receive(arrival("1.1", study="../../etc"))
    assert intake.waiting == 0


def test_the_end_of_an_association_is_noted_after_all_that_it_brought(
    journaling, engine, arrival, held
):
    intake = journaling()
    intake.receive(arrival("1.1", association="a"))
    assert held.begun.wait(20)

    with ThreadPoolExecutor(1) as pool:
        closed = pool.submit(intake.closed, "a")
        with reading(engine) as connection:
            assert not connection.execute(select(associations_table)).all()
        held.set()
        closed.result(20)

    with reading(engine) as connection:
        assert connection.execute(select(associations_table.c.released_at)).scalar() is not None


def test_a_journal_that_breaks_is_used_no_more(journaling, engine, arrival, monkeypatch):
    intake = journaling()

    def fail(_descriptor):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("node.journal.os.fdatasync", fail)
    intake.receive(arrival("1.1"))
    intake.receive(arrival("1.2"))

    assert set(rows(engine)) == {"1.1", "1.2"}


def test_a_wipe_that_fails_ends_nothing(tmp_path, monkeypatch):
    wiped = threading.Event()

    def fail(_journal):
        wiped.set()
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Journal, "wipe", fail)
    filed = threading.Event()

    def file(group):
        filed.set()
        return [True] * len(group)

    backlog = Backlog(Journal(tmp_path / "journal", 1 << 20), file, idle_s=0.001)
    assert wiped.wait(20)

    instance = ReceivedInstance(
        sop_class_uid="1.2",
        sop_instance_uid="1.1",
        study_instance_uid="1.2.3",
        series_instance_uid="1.2.3.1",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        modality="CT",
        part10=b"",
        calling_ae_title="PACS",
        association="a",
        received_at=datetime(2026, 3, 1, tzinfo=UTC),
    )
    assert backlog.write(Jotting(instance, peer="10.0.0.5:104", node=None))
    assert filed.wait(20)
    backlog.close()
