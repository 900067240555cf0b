import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from node.turns import GROUP_MOST, Turns


def test_one_alone_works_at_once_in_its_own_thread():
    threads = []

    def work(items):
        threads.append(threading.get_ident())
        return [2 * item for item in items]

    assert Turns(work).do(21) == 42
    assert threads == [threading.get_ident()]


class Gate:
    """Work that waits until it is let through, and remembers its groups."""

    def __init__(self):
        self.groups, self.begun, self.open = [], threading.Event(), threading.Event()

    def __call__(self, items):
        self.groups.append(list(items))
        self.begun.set()
        assert self.open.wait(20)
        return [-item for item in items]


def gathered(turns, gate, count):
    """Start one that works, then so many that wait for it; return what each was told."""
    with ThreadPoolExecutor(count + 1) as pool:
        first = pool.submit(turns.do, 0)
        assert gate.begun.wait(20)
        others = [pool.submit(turns.do, n) for n in range(1, count + 1)]
        until_waiting(turns, count)
        gate.open.set()
        return [one.result(20) for one in (first, *others)]


def until_waiting(turns, count):
    tick = threading.Event()
    while turns.waiting < count:
        tick.wait(0.001)


def test_what_came_meanwhile_is_one_group_and_each_hears_of_its_own():
    gate = Gate()

    told = gathered(Turns(gate), gate, 8)

    assert told == [-n for n in range(9)]
    assert [len(group) for group in gate.groups] == [1, 8]


def test_no_group_grows_without_end():
    gate = Gate()

    told = gathered(Turns(gate), gate, GROUP_MOST + 2)

    assert told == [-n for n in range(GROUP_MOST + 3)]
    assert [len(group) for group in gate.groups] == [1, GROUP_MOST, 2]


def test_what_fails_fails_for_its_group_and_the_next_one_works():
    def work(items):
        if "bad" in items:
            raise ZeroDivisionError
        return items

    turns = Turns(work)

    with pytest.raises(ZeroDivisionError):
        turns.do("bad")
    assert turns.do("good") == "good"


def test_many_threads_for_long_lose_nothing():
    turns = Turns(lambda items: [item + 1 for item in items])

    with ThreadPoolExecutor(16) as pool:
        told = list(pool.map(turns.do, range(4000)))

    assert told == [n + 1 for n in range(4000)]
    assert turns.waiting == 0
