"""A worker's shift, with a worker that only counts."""

from multiprocessing import get_context

import pytest

from inference.errors import DeviceLost
from node import shift
from node.crew import Duty


class Counting:
    """A worker that has a study whenever it is asked."""

    name = "counting"

    def __init__(self, error=None):
        self.worked = 0
        self.error = error

    def work(self):
        self.worked += 1
        if self.error:
            raise self.error
        return self.worked


def shift_of(worker, *, is_over=lambda: False, is_ready=lambda: True, studies_max=None):
    duty = Duty(get_context("spawn"), number=0)
    shift.work(worker, duty, is_over=is_over, is_ready=is_ready, studies_max=studies_max)


def test_it_ends_after_so_many_studies():
    worker = Counting()
    shift_of(worker, studies_max=3)
    assert worker.worked == 3


def test_no_study_is_taken_up_when_none_may_be():
    """As when the networks are closed, whoever else could run them meanwhile."""
    worker = Counting()
    shift_of(worker, is_ready=lambda: worker.worked < 2)
    assert worker.worked == 2


def test_it_ends_with_its_process_when_a_device_is_lost():
    worker = Counting(DeviceLost("fell off the bus"))
    with pytest.raises(SystemExit):
        shift_of(worker)
    assert worker.worked == 1
