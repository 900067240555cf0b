"""Workers of one node that share the networks of a device, in real processes."""

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import active_children, get_context

import numpy as np
import pytest

from node import engines, networks
from node.config import ConfigError, settings_from
from node.crew import Duty

pytestmark = pytest.mark.slow
PATIENCE_S = 120


def settings(*, batch=4, processes=2, timeout_s=3600, **model):
    return settings_from(
        {
            "model": {"batch": batch, "threads": 1, **model},
            "workers": {"processes": processes, "timeout_s": timeout_s},
        }
    )


def duty(number=0):
    return Duty(get_context("spawn"), number)


def inputs(bundle):
    side = bundle.card.inputs.crop_side
    return np.random.default_rng(5).normal(size=(2, 1, 3, side, side)).astype(np.float32)


def identity(model):
    told = model.found_nothing()
    return told.bundle, told.engine, told.device, told.precision


def children():
    """The processes of crews: here those whose networks are shared."""
    return [one.pid for one in active_children() if one.name.startswith("worker-")]


def until(condition, else_why):
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, else_why
        time.sleep(0.02)


@pytest.mark.parametrize(("batch", "processes"), [(1, 4), (8, 1), (8, 0)])
def test_nothing_is_shared_where_nobody_could_go_together(batch, processes):
    with networks.shared(settings(batch=batch, processes=processes), name="n") as shared:
        shared.watch()

        assert shared.addresses == ()
        assert children() == []


@pytest.mark.parametrize("batch", [0, 9])
def test_a_batch_is_no_larger_than_what_a_plan_takes(batch):
    with pytest.raises(ConfigError, match=r"model\.batch"):
        settings(batch=batch)


def test_a_device_that_no_worker_uses_has_no_process():
    with networks.shared(settings(processes=2, devices=[0, 0, 1, 2]), name="n") as shared:
        assert len(shared.addresses) == len(children()) == 1


def test_every_worker_asks_the_networks_of_its_device():
    """Two devices are two processes; the engines of tests are on the CPU whichever they are."""
    given = settings(processes=3, devices=[0, 2, 0])
    alone = engines.build_model(given)
    pet, ct = inputs(alone.bundle)

    with networks.shared(given, name="n") as shared:
        models = [networks.ask(given, shared.addresses, duty(number)) for number in range(3)]

        assert len(shared.addresses) == len(children()) == 2
        for model in models:
            assert model.bundle.digest == alone.bundle.digest
            assert identity(model) == identity(alone)
            for task, engine in model.engines.items():
                expected = alone.engines[task].explained(pet, ct)
                for ours, theirs in zip(engine.explained(pet, ct), expected, strict=True):
                    assert np.array_equal(ours, theirs)
    assert children() == []


def test_networks_that_are_killed_are_opened_anew_and_asked_again(caplog):
    given = settings()
    with networks.shared(given, name="n") as shared:
        model = networks.ask(given, shared.addresses, duty())
        inputs_of = inputs(model.bundle)
        engine = next(iter(model.engines.values()))
        before = engine.logits(*inputs_of)
        (process,) = children()
        os.kill(process, signal.SIGKILL)

        end = time.monotonic() + PATIENCE_S
        while children() in ([], [process]):
            assert time.monotonic() < end, "nobody took its place"
            shared.watch()
            time.sleep(0.02)
        assert np.array_equal(engine.logits(*inputs_of), before)

    assert "the networks of n-networks-1 are opened anew" in caplog.text


NOBODY = "\0petct-node-test-nobody"


def test_who_waits_for_networks_is_not_busy():
    """So no limit on what a study may cost ends it, however long plans take to build."""
    one = duty()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(networks.ask, settings(), [NOBODY], one)
        try:
            until(lambda: one.busy_s() == 0, "it is busy")
        finally:
            one.finish()
        assert isinstance(asked.exception(PATIENCE_S), SystemExit)


def test_who_is_told_to_finish_before_networks_are_open_ends_as_agreed():
    one = duty()
    one.finish()
    with pytest.raises(SystemExit) as ended:
        networks.ask(settings(), [NOBODY], one)
    assert not ended.value.code


def test_networks_are_waited_for_before_a_study_is_taken_up():
    given, one = settings(), duty()
    with networks.shared(given, name="n") as shared:
        model = networks.ask(given, shared.addresses, one)
        assert networks.are_open(model)
        (process,) = children()
        os.kill(process, signal.SIGKILL)
        until(lambda: children() == [], "it is not killed")

        found = []
        waiting = threading.Thread(target=lambda: found.append(networks.are_open(model)))
        waiting.start()

        def is_answered():
            shared.watch()
            return found

        until(is_answered, "nobody took its place")
        assert found == [True]
        assert len(children()) == 1
    one.finish()
    assert not networks.are_open(model)


def test_engines_of_ones_own_are_always_open():
    assert networks.are_open(engines.build_model(settings()))


@pytest.mark.parametrize(("timeout_s", "run_s"), [(60, 30), (3600, 300), (None, 300)])
def test_a_run_that_hangs_is_ended_before_a_study_that_waits_for_it(timeout_s, run_s):
    assert networks.run_s(settings(timeout_s=timeout_s)) == run_s


def test_the_crew_sees_how_long_a_run_takes_and_nothing_else():
    """So one that hangs is replaced, and one that nobody asks is left alone."""
    one = duty()
    one.end()
    turn = networks.turns(one)

    with turn():
        time.sleep(0.01)
        assert one.busy_s() >= 0.01
    assert one.busy_s() == 0
