"""A volume's memory is handed on when nobody holds it any more, and never before."""

import gc
import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from node.dicom.memory import Memory

MIB = 2**20 // 4
"""So many voxels of four bytes."""


def address(voxels) -> int:
    return voxels.__array_interface__["data"][0]


@pytest.fixture
def memory() -> Memory:
    return Memory()


def test_the_next_volume_of_like_size_lies_where_the_last_one_lay(memory):
    first = memory.empty((20, MIB, 1))
    where = address(first)
    first[:] = 1
    del first

    assert address(memory.empty((30, MIB, 1))) == where


VIEWS = {
    "a plane": lambda volume: volume[3],
    "all but a few voxels": lambda volume: volume.reshape(-1)[5:],
    "a buffer": memoryview,
    "a transposed view of a view": lambda volume: volume[1:].T,
}


@pytest.mark.parametrize("name", VIEWS)
def test_memory_that_anything_still_looks_at_is_not_handed_on(memory, name):
    first = memory.empty((8, MIB, 1))
    first[:] = 1
    seen = VIEWS[name](first)
    where = address(first)
    del first
    second = memory.empty((8, MIB, 1))
    second[:] = 2

    assert address(second) != where
    assert np.all(np.asarray(seen) == 1)


def test_a_pet_and_a_ct_are_both_kept(memory):
    pet, ct = memory.empty((8, MIB, 1)), memory.empty((20, MIB, 1))
    places = address(pet), address(ct)
    del pet, ct

    pet, ct = memory.empty((8, MIB, 1)), memory.empty((20, MIB, 1))
    assert (address(pet), address(ct)) == places


def test_what_does_not_fit_is_given_back_before_more_is_taken(memory):
    """Of 64 MiB that were kept none is resident once 128 MiB are asked for."""
    volume = memory.empty((64, MIB, 1))
    volume[:] = 1
    before = resident_bytes()
    del volume
    gc.collect()
    larger = memory.empty((128, MIB, 1))

    assert before - resident_bytes() > 48 * 2**20
    assert larger.shape == (128, MIB, 1)


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_volumes_made_and_dropped_by_many_threads_never_share_memory(memory):
    def alone(number: int) -> bool:
        volume = memory.empty((4, MIB, 1))
        volume[:] = number
        return bool(np.all(volume == number))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(alone, range(60)))


def test_what_the_machine_cannot_hold_is_out_of_memory(memory):
    with pytest.raises(MemoryError):
        memory.empty((2**20, 2**20, 2**10))


def test_of_two_that_take_at_once_neither_drops_what_is_the_others(memory):
    """The first holds the PET's pages in its hand, as too small, when the second looks for them."""

    class Slow(deque):
        def popleft(self):
            taken = super().popleft()
            if not held.is_set():
                held.set()
                looked.wait(0.2)
            else:
                looked.set()
            return taken

    held, looked = Event(), Event()
    pet, ct = memory.empty((8, MIB, 1)), memory.empty((20, MIB, 1))
    places = address(pet), address(ct)
    del pet, ct
    memory._kept = Slow(memory._kept, maxlen=memory._kept.maxlen)
    with ThreadPoolExecutor(2) as pool:
        second = pool.submit(memory.empty, (20, MIB, 1))
        assert held.wait(20)
        first = pool.submit(memory.empty, (8, MIB, 1))

        assert (address(first.result()), address(second.result())) == places
