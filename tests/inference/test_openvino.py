"""How OpenVINO uses the CPU: threads by the work, no pinning, buffers that are kept."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from inference import onnx_engine, openvino_engine
from inference.bundle import default_path, load

RUNS = 30
"""Enough that buffers shared by mistake would mix up answers, and that a pinned thread is seen."""


def inputs(count, side, seed=0):
    rng = np.random.default_rng(seed)
    return tuple(rng.normal(size=(2, count, 3, side, side)).astype(np.float32))


@pytest.fixture(scope="module")
def shipped():
    bundle = load(default_path())
    return bundle.onnx_path(bundle.tasks[0]), bundle.card.inputs.crop_side


def convolutions(path, *, channels, side, places="batch"):
    """A network of 3 x 3 convolutions of PET, from 3 channels and back; CT is added at the end."""
    rng = np.random.default_rng(0)
    weights = {
        "up": rng.normal(size=(channels, 3, 3, 3)),
        "down": rng.normal(size=(3, channels, 3, 3)),
    }
    nodes = [
        helper.make_node("Conv", ["pet", "up"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["a", "down"], ["b"], pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["b", "ct"], ["c"]),
        helper.make_node("GlobalAveragePool", ["c"], ["d"]),
        helper.make_node("Flatten", ["d"], ["logits"]),
    ]
    shape = [places, 3, side, side]
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in ("pet", "ct")]
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [places, 3])
    known = [
        onnx.numpy_helper.from_array(array.astype(np.float32), name)
        for name, array in weights.items()
    ]
    graph = helper.make_graph(nodes, "g", values, [logits], known)
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), str(path))
    return path


def test_a_small_network_runs_in_one_thread_and_leaves_the_others_to_its_like(shipped):
    engine = openvino_engine.open_engine(shipped[0], threads=4)

    assert (engine.threads, engine.abreast) == (1, 4)


@pytest.mark.parametrize(
    ("side", "threads", "abreast"),
    [
        # 64 * 3 * 9 = 1728 multiplications for each pixel, in either convolution
        (48, 1, 8),  # 1728 * 2304 = 3 981 312: less than four millions
        (49, 1, 8),  # 4 148 928
        (72, 2, 4),  # 8 957 952
        (96, 3, 2),  # 15 925 248: three threads, twice, of eight
        (160, 8, 1),  # 44 236 800: eleven, of which there are eight
    ],
)
def test_a_thread_is_given_for_each_four_million_multiplications(tmp_path, side, threads, abreast):
    path = convolutions(tmp_path / "some.onnx", channels=64, side=side)

    engine = openvino_engine.open_engine(path, threads=8)

    assert (engine.threads, engine.abreast) == (threads, abreast)


def test_a_network_for_images_of_any_size_has_all_threads(tmp_path):
    path = convolutions(tmp_path / "open.onnx", channels=4, side="side")
    pet, ct = inputs(1, 20)

    engine = openvino_engine.open_engine(path, threads=2)

    assert (engine.threads, engine.abreast) == (2, 1)
    expected = onnx_engine.open_engine(path, threads=1).logits(pet, ct)
    assert np.abs(engine.logits(pet, ct) - expected).max() < 1e-4


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="there is one CPU to be pinned to")
def test_a_run_may_use_every_cpu_of_the_process(shipped):
    """Pinned, the workers of a host would all infer on its first CPU."""
    path, side = shipped
    engine = openvino_engine.open_engine(path, threads=1)
    pet, ct = inputs(1, side)
    runner, allowed, seen = threading.get_native_id(), os.sched_getaffinity(0), []
    ended = threading.Event()

    def watch():
        while not ended.is_set():
            seen.append(os.sched_getaffinity(runner))

    watcher = threading.Thread(target=watch)
    watcher.start()
    runs = 0
    while runs < RUNS or len(seen) < RUNS:
        engine.explained(pet, ct)
        runs += 1
    ended.set()
    watcher.join()

    assert all(cpus == allowed for cpus in seen)


def test_runs_at_the_same_time_do_not_mix_their_answers(shipped):
    path, side = shipped
    engine = openvino_engine.open_engine(path, threads=1)
    cases = [inputs(1, side, seed) for seed in range(RUNS)]
    expected = [engine.explained(*case) for case in cases]

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda case: engine.explained(*case), cases * 3))

    assert not np.array_equal(expected[0].logits, expected[1].logits)
    for told, known in zip(found, expected * 3, strict=True):
        for its, reference in zip(told, known, strict=True):
            assert np.array_equal(its, reference)


def test_one_case_gets_the_same_numbers_as_in_a_network_for_any_batch(shipped):
    path, side = shipped
    pet, ct = inputs(1, side)
    engine = openvino_engine.open_engine(path, threads=2)

    alone = engine.explained(pet, ct)
    among_others = engine.explained(np.repeat(pet, 2, axis=0), np.repeat(ct, 2, axis=0))

    for its, others in zip(alone, among_others, strict=True):
        assert np.abs(its[0] - others[0]).max() < 1e-5


def test_inputs_that_are_not_the_networks_are_refused(shipped):
    """None of them is stretched to fit into a buffer."""
    engine = openvino_engine.open_engine(shipped[0], threads=1)
    pet, ct = inputs(1, 1)

    with pytest.raises(RuntimeError):
        engine.explained(pet, ct)


def test_images_that_lie_strewn_in_memory_are_read_as_they_are(shipped):
    path, side = shipped
    engine = openvino_engine.open_engine(path, threads=1)
    pet, ct = inputs(1, side)

    flipped = engine.logits(pet[..., ::-1], ct[..., ::-1])

    assert not np.array_equal(flipped, engine.logits(pet, ct))
    whole = engine.logits(pet[..., ::-1].copy(), ct[..., ::-1].copy())
    assert np.array_equal(flipped, whole)
