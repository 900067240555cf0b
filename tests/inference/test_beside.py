"""Two things are done at once, and nothing of either is lost."""

from threading import Barrier, Event

import pytest

from inference.beside import beside, each

WAIT_S = 60


def test_two_things_are_under_way_at_the_same_time():
    """Each waits for the other: one after the other neither would end."""
    meet = Barrier(2, timeout=WAIT_S)

    def work(name):
        meet.wait()
        return name.upper()

    assert each(work, ["a", "b"]) == ["A", "B"]


def test_what_work_gave_is_had_within_the_block():
    with beside(lambda: 6 * 7) as answer:
        assert answer() == 42


def test_what_work_raised_is_raised_where_it_is_awaited():
    def fails():
        raise ValueError("3 is too small")

    with beside(fails) as answer, pytest.raises(ValueError, match="3 is too small"):
        answer()


def test_work_is_over_after_the_block_even_if_the_block_fails():
    over = Event()
    go = Event()

    def work():
        go.wait(WAIT_S)
        over.set()

    def block():
        with beside(work):
            go.set()
            raise ValueError("the block")

    with pytest.raises(ValueError, match="the block"):
        block()
    assert over.is_set()
