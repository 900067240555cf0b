"""Networks that another process runs, asked over a real socket."""

import multiprocessing
import os
import resource
import signal
import threading
import time
from contextlib import contextmanager
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client
from secrets import token_hex

import numpy as np
import pytest

from inference import bundle as bundles
from inference import onnx_engine, served
from inference.engine import Explained
from inference.errors import DeviceLost, EngineUnavailable, InferenceError

PATIENCE_S = 60
SECRET = b"of one node"
DIGEST = "sha256:of-the-bundle"
ONE = np.ones((1, 1, 2, 2), np.float32)


class Doubling:
    """An engine that says twice what it is given, or raises."""

    name, device, precision = "doubling", "GPU of tests", "f16"

    def __init__(self, error=None):
        self.error = error

    def explained(self, pet, ct):
        if self.error:
            raise self.error
        return Explained(2 * pet[:, 0, 0], features=2 * ct[:, 0, 0])


@pytest.fixture
def address():
    """One that nobody had, in the abstract space of sockets."""
    return f"\0petct-node-test-{token_hex(8)}"


@contextmanager
def networks(address, **engines):
    with served.serving(engines, bundle_digest=DIGEST, address=address, secret=SECRET) as lost:
        yield lost


def ask(address, *, digest=DIGEST, is_over=lambda: False):
    return served.ask(address, bundle_digest=digest, secret=SECRET, is_over=is_over)


def test_who_asks_hears_what_the_engine_says_and_what_it_is(address):
    with networks(address, n1=Doubling(), n2=Doubling()):
        asked = ask(address)

        assert asked.keys() == {"n1", "n2"}
        n1 = asked["n1"]
        assert (n1.name, n1.device, n1.precision) == ("doubling", "GPU of tests", "f16")
        told = n1.explained(ONE, 3 * ONE)
        assert (told.logits.tolist(), told.features.tolist()) == ([[2, 2]], [[6, 6]])
        assert told.saliency is None
        assert asked["n2"].logits(ONE, ONE).tolist() == [[2, 2]]


def test_networks_that_are_not_open_yet_are_waited_for(address):
    looked = threading.Event()

    def is_over():
        looked.set()
        return False

    found = []
    asker = threading.Thread(target=lambda: found.append(ask(address, is_over=is_over)))
    asker.start()
    assert looked.wait(PATIENCE_S)
    with networks(address, n1=Doubling()):
        asker.join(PATIENCE_S)

    assert [one.keys() for one in found] == [{"n1"}]


def test_who_waits_for_long_says_so_again_and_again(address, monkeypatch, caplog):
    monkeypatch.setattr(served, "LATE_S", 0)
    looks = iter([False, False, True])

    with pytest.raises(EngineUnavailable):
        ask(address, is_over=lambda: next(looks))

    assert caplog.text.count("the networks are not open after 0 s") == 2


def test_who_is_told_to_finish_waits_no_longer(address):
    with pytest.raises(EngineUnavailable, match="had not opened them"):
        ask(address, is_over=lambda: True)


def test_networks_of_another_bundle_are_not_asked(address):
    with (
        networks(address, n1=Doubling()),
        pytest.raises(EngineUnavailable, match="of bundle sha256:of-the-bundle, not sha256:other"),
    ):
        ask(address, digest="sha256:other")


def test_who_does_not_know_the_secret_is_not_let_in_and_others_still_are(address):
    with networks(address, n1=Doubling()):
        with pytest.raises(AuthenticationError):
            Client(address, "AF_UNIX", authkey=b"guessed")
        Client(address, "AF_UNIX").close()  # and who leaves before it said anything

        assert ask(address)["n1"].logits(ONE, ONE).tolist() == [[2, 2]]


@pytest.mark.parametrize("said", [None, bytes(1000)], ids=["nothing", "too much"])
def test_whatever_a_stranger_says_others_are_let_in(address, said):
    """As a process that is stopped while it knocks, or one of another user."""
    found = []
    with networks(address, n1=Doubling()), Client(address, "AF_UNIX") as stranger:
        if said is not None:
            stranger.send_bytes(said)
            stranger.recv_bytes()  # the challenge
            assert stranger.poll(PATIENCE_S), "it is not sent away"
        asker = threading.Thread(target=lambda: found.append(ask(address)), daemon=True)
        asker.start()
        asker.join(PATIENCE_S)

    assert [one.keys() for one in found] == [{"n1"}]


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (InferenceError("not finite"), "not finite"),
        (ValueError("no such shape"), "doubling cannot run a case: no such shape"),
    ],
    ids=["of ours", "any"],
)
def test_what_the_engine_raises_is_raised_here_and_the_next_is_run(address, error, raised):
    engine = Doubling(error)
    with networks(address, n1=engine) as lost:
        n1 = ask(address)["n1"]
        with pytest.raises(InferenceError, match=raised):
            n1.explained(ONE, ONE)
        engine.error = None

        assert n1.logits(ONE, ONE).tolist() == [[2, 2]]
        assert not lost.is_set()


def test_a_lost_device_is_told_on_both_sides(address):
    with networks(address, n1=Doubling(DeviceLost("fell off the bus"))) as lost:
        with pytest.raises(DeviceLost, match="fell off the bus"):
            ask(address)["n1"].explained(ONE, ONE)

        assert lost.wait(PATIENCE_S)


def test_a_device_is_lost_even_if_who_asked_is_gone(address):
    class Held(Doubling):
        is_running, may_end = threading.Event(), threading.Event()

        def explained(self, pet, ct):
            self.is_running.set()
            assert self.may_end.wait(PATIENCE_S)
            return super().explained(pet, ct)

    engine = Held(DeviceLost("fell off the bus"))
    with networks(address, n1=engine) as lost:
        with Client(address, "AF_UNIX", authkey=SECRET) as asker:
            asker.recv()
            asker.send(("n1", ONE, ONE))
            assert engine.is_running.wait(PATIENCE_S)
        engine.may_end.set()

        assert lost.wait(PATIENCE_S)


def open_until_killed(address, bundle_folder, digest=DIGEST):
    """Be a process that runs the networks that ship."""
    bundle = bundles.load(bundle_folder)
    engines = {
        task.name: onnx_engine.open_engine(bundle.onnx_path(task), threads=1)
        for task in bundle.tasks
    }
    with served.serving(engines, bundle_digest=digest, address=address, secret=SECRET):
        threading.Event().wait()


@contextmanager
def process(run, *given):
    """Run something in a process that is killed after the block."""
    other = multiprocessing.get_context("spawn").Process(target=run, args=given, daemon=True)
    other.start()
    try:
        yield other
    finally:
        os.kill(other.pid, signal.SIGKILL)
        other.join(PATIENCE_S)
        other.close()


@pytest.fixture(scope="module")
def bundle():
    return bundles.load(bundles.default_path())


@pytest.fixture(scope="module")
def inputs(bundle):
    side = bundle.card.inputs.crop_side
    return np.random.default_rng(4).normal(size=(2, 1, 3, side, side)).astype(np.float32)


def test_another_process_says_the_same_bit_for_bit(address, bundle, inputs):
    with process(open_until_killed, address, bundle.folder) as other:
        asked = ask(address, is_over=lambda: not other.is_alive())
        for task in bundle.tasks:
            here = onnx_engine.open_engine(bundle.onnx_path(task), threads=1).explained(*inputs)
            there = asked[task.name].explained(*inputs)
            for ours, theirs in zip(here, there, strict=True):
                assert np.array_equal(ours, theirs)


def test_who_comes_when_no_file_is_left_is_let_in_once_there_are_some(address, bundle, inputs):
    with process(open_until_killed, address, bundle.folder) as other:
        expected = ask(address)["occult_n1"].logits(*inputs)
        before = resource.prlimit(other.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(other.pid, resource.RLIMIT_NOFILE, (3, before[1]))
        with Client(address, "AF_UNIX") as last:  # the file for it was taken beforehand
            last.recv_bytes()
            time.sleep(0.2)
        resource.prlimit(other.pid, resource.RLIMIT_NOFILE, before)

        found = []
        asker = threading.Thread(target=lambda: found.append(ask(address)), daemon=True)
        asker.start()
        asker.join(PATIENCE_S)
        assert [np.array_equal(one["occult_n1"].logits(*inputs), expected) for one in found] == [
            True
        ]


def test_the_successor_of_one_that_was_killed_is_asked_and_waited_for(address, bundle, inputs):
    """Who rested meanwhile loses no study."""
    with process(open_until_killed, address, bundle.folder):
        n1 = ask(address)["occult_n1"]
        before = n1.logits(*inputs)
    with process(open_until_killed, address, bundle.folder):
        assert np.array_equal(n1.logits(*inputs), before)


def test_a_successor_that_is_not_the_same_is_not_asked(address, bundle, inputs):
    with process(open_until_killed, address, bundle.folder):
        n1 = ask(address)["occult_n1"]
    with (
        process(open_until_killed, address, bundle.folder, "sha256:other"),
        pytest.raises(DeviceLost, match=r"the networks run as .*sha256:other"),
    ):
        n1.logits(*inputs)


def end_in_the_middle(address):
    class Ending(Doubling):
        def explained(self, _pet, _ct):
            os._exit(1)

    with served.serving({"n1": Ending()}, bundle_digest=DIGEST, address=address, secret=SECRET):
        threading.Event().wait()


def test_who_asks_when_the_process_ends_hears_that_the_device_is_lost(address):
    """It may be what was asked that ended it: the study counts an attempt."""
    with process(end_in_the_middle, address):
        n1 = ask(address)["n1"]
        with pytest.raises(DeviceLost, match="process that runs the networks is gone"):
            n1.explained(ONE, ONE)


def test_nobody_waits_for_a_successor_beyond_the_end(address, bundle, inputs):
    over = threading.Event()
    with process(open_until_killed, address, bundle.folder):
        n1 = ask(address, is_over=over.is_set)["occult_n1"]
    over.set()

    with pytest.raises(EngineUnavailable, match="had not opened them"):
        n1.logits(*inputs)
