"""What several associations bring at once goes to the journal together, or is left to its turn."""

import zlib
from dataclasses import replace

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from db import instances
from db.engine import reading
from db.tables import instances as table
from node.errors import Conflicting, OutOfResources
from node.journal import WRITE_BYTES, check_of
from node.net.part10 import part10
from tests.postgresql import BOTH

STUDY = "1.2.3"
CT = "1.2.840.10008.5.1.4.1.1.2"
DEFLATED = "1.2.840.10008.1.2.1.99"


def filed(intake, engine):
    """The UIDs that have rows once nothing waits any more."""
    intake.flush()
    with reading(engine) as connection:
        return set(connection.scalars(select(table.c.sop_instance_uid)))


def test_a_group_is_safe_in_the_journal_by_one_write(journaling, engine, arrival, monkeypatch):
    intake, written = journaling(), []
    append = intake._backlog._journal.append
    monkeypatch.setattr(
        intake._backlog._journal,
        "append",
        lambda records: written.append(len(records)) or append(records),
    )

    assert intake.receive_together([arrival("1.1"), arrival("1.2", association="b")]) == [STUDY] * 2
    assert written == [2]
    assert filed(intake, engine) == {"1.1", "1.2"}


@pytest.mark.parametrize("moment", ["waits for its row", "has its row"])
def test_what_is_known_is_left_to_its_turn(journaling, engine, arrival, moment):
    intake = journaling()
    intake.receive(arrival("1.1"))
    if moment == "has its row":
        intake.flush()

    again, other = arrival("1.1", association="b"), arrival("1.1", comment="other", association="c")

    assert intake.receive_together([again, other, arrival("1.2")]) == [None, None, STUDY]
    assert intake.receive(again) == STUDY
    with pytest.raises(Conflicting):
        intake.receive(other)
    assert filed(intake, engine) == {"1.1", "1.2"}


def test_our_own_result_routed_back_is_left_to_its_turn(journaling, owe, arrival):
    owe("1.9")

    assert journaling().receive_together([arrival("1.9")]) == [None]


def test_of_one_uid_that_came_twice_one_is_left_to_its_turn(journaling, arrival):
    intake = journaling()

    assert intake.receive_together([arrival("1.1"), arrival("1.1", association="b")]) == [
        STUDY,
        None,
    ]
    assert intake.receive(arrival("1.1", association="b")) == STUDY


def test_after_a_group_its_uids_are_free_for_others(journaling, arrival, monkeypatch):
    """Also where nothing of it was taken: else whoever brings one again would wait for ever."""
    intake = journaling()
    monkeypatch.setattr(intake._backlog, "write_together", lambda ones: [False] * len(ones))

    assert intake.receive_together([arrival("1.1")]) == [None]
    assert intake.receive(arrival("1.1")) == STUDY


def test_what_cannot_be_filed_or_finds_no_room_costs_the_others_nothing(
    journaling, store, arrival, monkeypatch
):
    intake, make_room = journaling(), store.make_room
    nameless = arrival("1.2", study="no UID")

    def refuse(size, *, ahead=0):
        if size == len(large.part10):
            raise OutOfResources("no room")
        make_room(size, ahead=ahead)

    large = arrival("1.3", comment="x" * 64)
    monkeypatch.setattr(store, "make_room", refuse)

    assert intake.receive_together([arrival("1.1"), nameless, large]) == [STUDY, None, None]


def test_while_the_database_fails_all_are_left_to_their_turn(journaling, arrival, monkeypatch):
    def fail(*_arguments):
        raise OperationalError("select", None, Exception("away"))

    intake = journaling()
    monkeypatch.setattr(instances, "known", fail)

    assert intake.receive_together([arrival("1.1")]) == [None]


def test_what_is_too_long_for_the_journal_costs_the_others_no_time(
    journaling, arrival, monkeypatch
):
    """Its check sum alone would take as long as it has bytes; it is never needed."""
    checked = []
    monkeypatch.setattr(
        "node.jotting.check_of", lambda content: checked.append(len(content)) or check_of(content)
    )
    intake, small = journaling(size=4 * WRITE_BYTES), arrival("1.1")
    long = arrival("1.2")
    long = replace(long, part10=bytes(long.part10) + bytes(WRITE_BYTES))

    assert intake.receive_together([small, long]) == [STUDY, None]
    assert intake.receive(long) == STUDY
    assert checked == [len(small.part10)]


def test_what_pydicom_may_read_for_long_is_left_to_its_turn(journaling, arrival, data_set):
    """Elements before the identifiers, more than fit where those belong, or deflated ones."""
    plain = arrival("1.1")
    comment = b"\x08\0\x81\0UT\0\0" + (1 << 15).to_bytes(4, "little") + b" " * (1 << 15)
    study = b"\x20\0\x0d\0UI"
    assert study in plain.part10
    odd = replace(plain, part10=plain.part10.replace(study, comment + study))

    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)  # PS3.5 A.5
    packed = packer.compress(data_set("1.3")) + packer.flush()
    kind = {"sop_class_uid": CT, "sop_instance_uid": "1.3", "transfer_syntax_uid": DEFLATED}
    deflated = replace(arrival("1.3"), part10=part10(packed, **kind), **kind)
    intake = journaling()

    together = intake.receive_together([odd, deflated, arrival("1.2")])

    assert together == [None, None, STUDY]
    assert [intake.receive(odd), intake.receive(deflated)] == [STUDY] * 2


def test_without_a_journal_all_are_left_to_their_turn(intake, arrival):
    assert intake.receive_together([arrival("1.1")]) == [None]


@pytest.mark.parametrize("database", BOTH)
def test_nobody_waits_together_for_a_database_server(database, journaling, arrival):
    expected = STUDY if database == "sqlite" else None

    assert journaling().receive_together([arrival("1.1")]) == [expected]
