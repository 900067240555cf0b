"""While several associations bring instances, their files wait; and not for ever."""

import threading
import time

import pytest
from sqlalchemy import func, select

from db.engine import reading
from db.tables import associations, instances


@pytest.fixture
def unhurried(monkeypatch):
    """Has files made when they are asked for, and never by the clock."""
    monkeypatch.setattr("node.backlog.PAUSE_S", 1000)
    monkeypatch.setattr("node.backlog.LONGEST_S", 1000)


def count(engine):
    with reading(engine) as connection:
        return connection.execute(select(func.count()).select_from(instances)).scalar()


def ended(engine):
    with reading(engine) as connection:
        found = connection.execute(
            select(associations.c.association).where(associations.c.released_at.is_not(None))
        )
        return set(found.scalars())


def wait_until(holds):
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_the_end_of_one_waits_for_the_lull_of_the_others(
    unhurried, journaling, engine, arrival, monkeypatch
):
    intake = journaling()
    for n, association in enumerate("abcd"):
        intake.receive(arrival(f"1.{n}", association=association))

    first = threading.Thread(target=intake.closed, args=["a"])
    first.start()
    first.join(0.2)
    assert (first.is_alive(), count(engine)) == (True, 0)
    second = threading.Thread(target=intake.closed, args=["b"])
    second.start()
    second.join(0.2)
    assert (second.is_alive(), count(engine)) == (True, 0)

    intake.closed("c")  # one is left, which has a processor of its own

    first.join(20)
    second.join(20)
    assert count(engine) == 4
    assert ended(engine) == {"a", "b", "c"}


def test_whoever_needs_the_rows_now_has_them_now(unhurried, journaling, engine, arrival):
    """As before a request for storage commitment is taken down."""
    intake = journaling()
    for n, association in enumerate("abcd"):
        intake.receive(arrival(f"1.{n}", association=association))

    intake.flush()

    assert count(engine) == 4


def test_a_full_journal_does_not_wait_for_a_lull(unhurried, journaling, engine, arrival):
    intake = journaling(size=1 << 17)  # 32 blocks, one for each instance here
    for n in range(25):
        intake.receive(arrival(f"1.{n}", association=str(n % 4)))

    wait_until(lambda: count(engine) > 0)


def test_nothing_waits_for_longer_than_it_may(journaling, engine, arrival, monkeypatch):
    """Four bring one instance after the other; what they brought first is filed meanwhile."""
    monkeypatch.setattr("node.backlog.PAUSE_S", 0.01)
    monkeypatch.setattr("node.backlog.LONGEST_S", 0.1)
    intake = journaling()
    going = threading.Event()

    def bring(association):
        number = 0
        while not going.wait(0.002):
            intake.receive(arrival(f"1.{association}.{number}", association=str(association)))
            number += 1

    senders = [threading.Thread(target=bring, args=[one]) for one in range(1, 5)]
    for one in senders:
        one.start()
    try:
        wait_until(lambda: count(engine) > 0)
    finally:
        going.set()
        for one in senders:
            one.join(20)
