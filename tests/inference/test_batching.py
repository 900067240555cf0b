"""What waits for a network goes through it together, and each gets what is its own."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference import bundle as bundles
from inference import onnx_engine, openvino_engine
from inference.batching import Batching
from inference.engine import Explained
from inference.errors import DeviceLost, InferenceError

PATIENCE_S = 30


def case(value, *, count=1, side=2):
    """``count`` cases whose PET is ``value`` and whose CT is its negative."""
    pet = np.full((count, 1, side, side), value, np.float32)
    return pet, -pet


class Held:
    """An engine whose first run lasts until it is let go; tells each case from the others."""

    name, device, precision = "held", "CPU", "f32"

    def __init__(self, *, fails=lambda _pet: None):
        self.runs = []
        self.fails = fails
        self.is_running, self.may_end = threading.Event(), threading.Event()

    def explained(self, pet, ct):
        self.runs.append(pet[:, 0, 0, 0].tolist())
        if len(self.runs) == 1:
            self.is_running.set()
            assert self.may_end.wait(PATIENCE_S)
        if error := self.fails(pet):
            raise error
        logits = np.stack([pet[:, 0, 0, 0], ct[:, 0, 0, 0]], axis=1)
        return Explained(logits, features=pet.reshape(len(pet), -1))


def until(condition):
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.001)


class Counted:
    """A turn that counts how often it is taken."""

    def __init__(self):
        self.taken = 0
        self._lock = threading.Lock()

    def __enter__(self):
        self._lock.acquire()
        self.taken += 1

    def __exit__(self, *_):
        self._lock.release()


def asked_while_one_runs(engine, cases, *, most=8, turn=None):
    """Ask for ``cases`` in their order while the engine is in a run; return the futures."""
    batching = Batching(engine, most, turn=turn)
    with ThreadPoolExecutor(len(cases) + 1) as pool:
        first = pool.submit(batching.explained, *case(0))
        assert engine.is_running.wait(PATIENCE_S)
        told = []
        for number, one in enumerate(cases, 1):
            told.append(pool.submit(batching.explained, *one))
            until(lambda number=number: batching.waiting == number)
        engine.may_end.set()
        wait([first, *told], PATIENCE_S)
    assert first.result().logits.tolist() == [[0, 0]]
    return told


def test_who_comes_while_the_network_runs_goes_through_it_in_one_batch():
    engine = Held()

    told = asked_while_one_runs(engine, [case(1), case(2), case(3)])

    assert engine.runs == [[0], [1, 2, 3]]
    assert [one.result().logits.tolist() for one in told] == [[[1, -1]], [[2, -2]], [[3, -3]]]


def test_the_turn_is_taken_for_runs_alone():
    """Who has an answer does not wait for the run of another network that shares the device."""
    engine, turn = Held(), Counted()

    asked_while_one_runs(engine, [case(1), case(2), case(3)], turn=lambda: turn)

    assert turn.taken == len(engine.runs) == 2


def test_nobody_waits_for_company():
    engine = Held()
    engine.may_end.set()

    told = Batching(engine, 8).explained(*case(5))

    assert engine.runs == [[5]]
    assert told.logits.tolist() == [[5, -5]]


def test_no_batch_is_larger_than_allowed_and_who_waited_longest_goes_first():
    engine = Held()

    asked_while_one_runs(engine, [case(value) for value in range(1, 6)], most=2)

    assert engine.runs == [[0], [1, 2], [3, 4], [5]]


def test_one_that_is_larger_than_a_batch_goes_alone():
    engine = Held()

    *_, large = asked_while_one_runs(engine, [case(1), case(2, count=3)], most=2)

    assert engine.runs == [[0], [1], [2, 2, 2]]
    assert large.result().logits.tolist() == [[2, -2]] * 3


def test_inputs_of_another_shape_are_not_put_beside():
    engine = Held()

    told = asked_while_one_runs(engine, [case(1), case(2, side=3), case(3)])

    assert engine.runs == [[0], [1, 3], [2]]
    assert [one.result().features.shape for one in told] == [(1, 4), (1, 9), (1, 4)]


def test_an_output_that_the_network_lacks_is_lacking_for_each():
    told = asked_while_one_runs(Held(), [case(1), case(2)])

    assert [one.result().saliency for one in told] == [None, None]


def test_one_that_cannot_be_run_takes_nobody_down_with_it():
    engine = Held(fails=lambda pet: InferenceError("two") if 2 in pet else None)

    first, second, third = asked_while_one_runs(engine, [case(1), case(2), case(3)])

    assert first.result().logits.tolist() == [[1, -1]]
    assert third.result().logits.tolist() == [[3, -3]]
    with pytest.raises(InferenceError, match="two"):
        second.result()


def test_all_that_were_in_a_run_hear_that_the_device_is_lost():
    engine = Held(fails=lambda pet: DeviceLost("gone") if 2 in pet else None)

    told = asked_while_one_runs(engine, [case(1), case(2)])

    assert engine.runs == [[0], [1, 2]]
    for one in told:
        with pytest.raises(DeviceLost, match="gone"):
            one.result()


def test_two_networks_with_one_turn_never_run_at_once():
    turn, present, crowded = threading.Lock(), [], []

    class Watched(Held):
        def explained(self, pet, _ct):
            present.append(self)
            crowded.append(len(present))
            time.sleep(0.005)
            present.remove(self)
            return Explained(pet)

    networks = [Batching(Watched(), 2, turn=lambda: turn) for _ in range(2)]
    with ThreadPoolExecutor(8) as pool:
        wait([pool.submit(networks[n % 2].explained, *case(n)) for n in range(16)])

    assert set(crowded) == {1}


def test_a_batch_holds_at_least_one_case():
    with pytest.raises(ValueError, match="at least 1 case, got 0"):
        Batching(Held(), 0)


@given(
    counts=st.lists(st.integers(1, 4), min_size=1, max_size=12),
    sides=st.lists(st.sampled_from([1, 2]), min_size=12, max_size=12),
    most=st.integers(1, 8),
)
def test_whatever_comes_together_each_gets_its_own(counts, sides, most):
    engine = Held()
    engine.may_end.set()
    batching = Batching(engine, most)
    cases = [
        case(number, count=count, side=side)
        for number, (count, side) in enumerate(zip(counts, sides, strict=False))
    ]

    with ThreadPoolExecutor(len(cases)) as pool:
        told = list(pool.map(lambda one: batching.explained(*one), cases))

    for number, (one, (pet, _)) in enumerate(zip(told, cases, strict=True)):
        assert one.logits.tolist() == [[number, -number]] * len(pet)
        assert one.features.shape == (len(pet), pet[0].size)
    assert max(len(run) for run in engine.runs) <= max(most, *counts)
    assert sum(len(run) for run in engine.runs) == sum(counts)
    assert batching.waiting == 0


@pytest.mark.parametrize("back_end", [onnx_engine, openvino_engine])
def test_together_the_networks_that_ship_say_what_they_say_alone(back_end):
    """To rounding: a batch may be calculated in another order."""
    bundle = bundles.load(bundles.default_path())
    side = bundle.card.inputs.crop_side
    rng = np.random.default_rng(3)
    cases = rng.normal(size=(4, 2, 1, 3, side, side)).astype(np.float32)
    for task in bundle.tasks:
        engine = back_end.open_engine(bundle.onnx_path(task), threads=1)
        alone = [engine.explained(pet, ct) for pet, ct in cases]

        turn = threading.Lock()
        batching = Batching(engine, len(cases), turn=lambda turn=turn: turn)
        with ThreadPoolExecutor(len(cases)) as pool, turn:
            told = [pool.submit(batching.explained, pet, ct) for pet, ct in cases]
            until(lambda batching=batching: batching.waiting == len(cases))

        for one, its in zip(told, alone, strict=True):
            for output, expected in zip(one.result(), its, strict=True):
                np.testing.assert_allclose(output, expected, rtol=1e-3, atol=1e-5)
