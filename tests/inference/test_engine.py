"""Running the networks of all tasks."""

import threading

import numpy as np
import pytest

from inference.engine import Explained, run_all

PATIENCE_S = 20


class Meeting:
    """An engine that answers once ``parties`` runs are under way at the same time."""

    def __init__(self, barrier, abreast, answer):
        self.barrier = barrier
        self.abreast = abreast
        self.answer = Explained(np.full((1, 2), answer, np.float32))

    def explained(self, _pet, _ct):
        self.barrier.wait(PATIENCE_S)
        return self.answer


class Alone:
    """An engine that says nothing of others, and takes down the thread that it ran in."""

    def __init__(self, threads):
        self.threads = threads

    def explained(self, pet, ct):
        self.threads.append(threading.get_ident())
        return Explained(pet + ct)


IMAGE = np.zeros((1, 1), np.float32)


def test_networks_run_side_by_side_where_all_engines_allow_it():
    barrier = threading.Barrier(2)
    engines = [Meeting(barrier, 2, answer) for answer in (4, 5)]

    first, second = run_all(engines, IMAGE, IMAGE)

    assert (first.logits[0, 0], second.logits[0, 0]) == (4, 5)


class Counting:
    """An engine that allows two at a time, and stays as long as a third would need to come."""

    abreast = 2

    def __init__(self, present, crowded):
        self.present = present
        self.crowded = crowded

    def explained(self, pet, _ct):
        self.present.append(self)
        if len(self.present) > self.abreast:
            self.crowded.set()
        self.crowded.wait(0.05)
        self.present.remove(self)
        return Explained(pet)


def test_no_more_networks_run_at_a_time_than_the_engines_allow():
    crowded, present = threading.Event(), []
    engines = [Counting(present, crowded) for _ in range(5)]

    assert len(run_all(engines, IMAGE, IMAGE)) == 5
    assert not crowded.is_set()


def test_networks_run_in_turn_and_in_this_thread_where_an_engine_says_nothing():
    ran_in = []
    engines = [Alone(ran_in), Meeting(threading.Barrier(1), 2, 7), Alone(ran_in)]

    answers = run_all(engines, IMAGE + 1, IMAGE + 2)

    assert ran_in == [threading.get_ident()] * 2
    assert [float(told.logits[0, 0]) for told in answers] == [3, 7, 3]


def test_what_one_network_raises_is_raised():
    barrier = threading.Barrier(2)
    engines = [Meeting(barrier, 2, 0), Meeting(barrier, 2, 0)]
    barrier.abort()

    with pytest.raises(threading.BrokenBarrierError):
        run_all(engines, IMAGE, IMAGE)
