import pytest

from db import instances
from node.errors import Conflicting
from node.unheard import MOST, SURE_S, Unheard


@pytest.fixture
def rows():
    return set()


@pytest.fixture
def unheard(rows):
    return Unheard(lambda uid: uid not in rows)


def test_what_was_looked_up_and_not_found_is_known_to_be_unheard_of_once(unheard):
    unheard.look_up("1.1")

    assert [unheard.holds("1.1"), unheard.holds("1.1"), unheard.holds("1.2")] == [
        True,
        False,
        False,
    ]


def test_what_has_a_row_is_not_held(unheard, rows):
    rows.add("1.1")
    unheard.look_up("1.1")

    assert not unheard.holds("1.1")


@pytest.mark.parametrize("moment", ["before", "within", "after"])
def test_no_row_is_missed_whenever_it_was_made(unheard, rows, moment):
    """Looked up before, in the middle of or after a transaction that makes the row."""
    if moment == "before":
        unheard.look_up("1.1")
    with unheard.changing():
        if moment == "within":
            unheard.look_up("1.1")
        rows.add("1.1")
    if moment == "after":
        unheard.look_up("1.1")

    assert not unheard.holds("1.1")


def test_while_one_makes_rows_the_end_of_another_does_not_count(unheard, rows):
    with unheard.changing():
        with unheard.changing():
            pass
        unheard.look_up("1.1")
        rows.add("1.1")

    assert not unheard.holds("1.1")


def test_after_a_failed_transaction_uids_are_looked_up_as_before(unheard):
    with pytest.raises(OSError, match="disk"), unheard.changing():
        raise OSError("disk")
    unheard.look_up("1.1")

    assert unheard.holds("1.1")


def test_it_is_sure_for_a_moment_only(unheard, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("node.unheard.monotonic", lambda: now[0])
    unheard.look_up("1.1")
    unheard.look_up("1.2")

    now[0] = SURE_S / 2
    assert unheard.holds("1.1")
    now[0] = SURE_S
    assert not unheard.holds("1.2")


def test_what_never_comes_is_forgotten(unheard):
    for n in range(MOST + 1):
        unheard.look_up(f"1.{n}")

    assert not unheard.holds("1.0")
    assert unheard.holds(f"1.{MOST}")


def test_an_instance_that_was_announced_is_not_looked_up_behind_its_bytes(
    journaling, arrival, monkeypatch
):
    intake = journaling()
    intake.announced("1.1")
    monkeypatch.setattr(instances, "standing", pytest.fail)

    assert intake.receive(arrival("1.1")) == "1.2.3"


@pytest.mark.parametrize("moment", ["before its row", "after its row"])
def test_other_bytes_under_a_uid_are_refused_whenever_they_were_announced(
    journaling, arrival, moment
):
    intake = journaling()
    intake.announced("1.1")
    intake.receive(arrival("1.1"))
    if moment == "before its row":
        intake.announced("1.1")
    intake.flush()
    if moment == "after its row":
        intake.announced("1.1")

    with pytest.raises(Conflicting):
        intake.receive(arrival("1.1", comment="other", association="b"))
