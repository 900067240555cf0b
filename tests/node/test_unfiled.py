"""One instance that cannot be filed is nobody else's trouble."""

from dataclasses import replace

import pytest
from sqlalchemy import select
from sqlalchemy.exc import ProgrammingError

from db import instances
from db.engine import reading
from db.tables import instances as table
from node.errors import OutOfResources
from node.journal import journals
from tests.postgresql import BOTH


@pytest.fixture(params=BOTH)
def database(request):
    return request.param


def rows(engine):
    with reading(engine) as connection:
        return set(connection.scalars(select(table.c.sop_instance_uid)))


def test_a_journal_that_cannot_be_filed_now_stays(
    journaling, engine, arrival, unwritable, tmp_path
):
    intake = journaling()
    intake.receive(arrival("1.1"))
    intake.close()

    heir = journaling()
    with pytest.raises(OutOfResources):
        heir.recover(tmp_path / "journal")
    unwritable()
    assert heir.recover(tmp_path / "journal") == 1


def test_what_cannot_be_filed_is_refused_to_the_next_and_kept_for_the_last(
    journaling, engine, arrival, unwritable
):
    """The node answers for what it has; of what comes while it cannot file, it says why."""
    intake = journaling()
    intake.receive(arrival("1.1"))
    intake.flush(timeout_s=1)

    with pytest.raises(OutOfResources):
        intake.receive(arrival("1.2"))

    unwritable()
    intake.flush()
    assert rows(engine) == {"1.1"}
    intake.receive(arrival("1.2"))
    intake.flush()
    assert rows(engine) == {"1.1", "1.2"}


def test_one_that_cannot_be_filed_keeps_no_other_in_its_journal(
    journaling, engine, arrival, unwritable, monkeypatch, tmp_path
):
    """One of each journal never gets its row: all others do, and both journals stay."""
    monkeypatch.setattr("node.intake.GROUP_MOST", 2)
    for first in ("1", "2"):
        intake = journaling()
        for n in range(5):
            intake.receive(arrival(f"{first}.{n}"))
        intake.close()
    unwritable()
    register = instances.register

    def fail(connection, row):
        if row.sop_instance_uid in {"1.0", "2.0"}:
            raise ProgrammingError("INSERT", {}, Exception("no such text"))
        return register(connection, row)

    heir = journaling()
    with monkeypatch.context() as patched:
        patched.setattr(instances, "register", fail)
        with pytest.raises(OutOfResources, match="cannot be filed"):
            heir.recover(tmp_path / "journal")

    assert rows(engine) == {f"{first}.{n}" for first in (1, 2) for n in range(1, 5)}
    assert heir.recover(tmp_path / "journal") == 2


@pytest.mark.parametrize("stated", [b"C\0T ", b"\xd6T"])
def test_whatever_modality_an_instance_states_it_can_be_filed(journaling, engine, arrival, stated):
    """No text of PostgreSQL holds U+0000: what was answered for would never get its row."""
    plain = arrival("1.1")
    named = b"\x08\0\x60\0CS\2\0CT"
    assert named in plain.part10
    odd = named[:6] + len(stated).to_bytes(2, "little") + stated
    intake = journaling()

    intake.receive(replace(plain, part10=plain.part10.replace(named, odd)))
    intake.flush(5)

    assert rows(engine) == {"1.1"}
    assert intake.waiting == 0


def spoil(journal, one):
    """Change the last byte of an instance where it lies in the journal."""
    with journal.open("r+b") as file:
        held = file.read()
        assert held.count(one.part10) == 1
        file.seek(held.index(one.part10) + len(one.part10) - 1)
        file.write(bytes([one.part10[-1] ^ 1]))


def test_what_rots_in_the_journal_is_named_and_keeps_nobody_else_from_being_filed(
    journaling, engine, arrival, held, tmp_path, caplog
):
    intake = journaling()
    first, rotten, other = (arrival(f"1.{n}", comment=f"number {n}") for n in (1, 2, 3))
    intake.receive(first)
    assert held.begun.wait(20)
    intake.receive(rotten)
    intake.receive(other)
    (journal,) = journals(tmp_path / "journal")
    spoil(journal, rotten)
    held.set()

    intake.flush()

    assert set(rows(engine)) == {"1.1", "1.3"}
    assert "instance 1.2 was answered with Success, and the disk does not give back" in caplog.text
    assert intake.waiting == 0
    intake.receive(arrival("1.4"))
    intake.receive(rotten)  # sent again, as the log asks for
    intake.flush()
    assert set(rows(engine)) == {"1.1", "1.2", "1.3", "1.4"}
