"""What our engine does with batches, buffers, graphs and plans; the GPU and its library are played.

test_tensorrt_gpu.py asks the real ones.
"""

import numpy as np
import pytest

from inference import onnx_engine, tensorrt_engine
from inference.bundle import default_path, load
from inference.errors import DeviceLost, EngineUnavailable
from inference.plans import Plans
from inference.tensorrt_builder import Request, plan_of
from tests.inference.fake_tensorrt import GPUS, play, play_library


@pytest.fixture(scope="module")
def path():
    bundle = load(default_path())
    return bundle.onnx_path(bundle.card.task("occult_n1"))


@pytest.fixture
def cuda(monkeypatch):
    return play(monkeypatch)


@pytest.fixture
def library(cuda, monkeypatch):
    return play_library(monkeypatch, "tensorrt", cuda)


@pytest.fixture
def rtx(cuda, monkeypatch):
    return play_library(monkeypatch, "tensorrt-rtx", cuda)


@pytest.fixture
def plans(tmp_path):
    return Plans(tmp_path / "plans")


@pytest.fixture
def open_kind(path, plans):
    def opened(kind="tensorrt", ordinal=0):
        return tensorrt_engine.open_engine(
            path, kind=kind, precision="f32", plans=plans, ordinal=ordinal
        )

    return opened


def inputs(count):
    rng = np.random.default_rng(count)
    return rng.normal(size=(2, count, 3, 48, 48)).astype(np.float32)


def assert_same(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        assert np.abs(one - other).max() < 1e-5


@pytest.mark.parametrize("kind", ["tensorrt", "tensorrt-rtx"])
@pytest.mark.usefixtures("library", "rtx")
def test_batches_of_any_size_are_filled_up_or_cut(open_kind, path, kind):
    """In one engine, so that what an earlier batch left in a buffer is there."""
    engine, reference = open_kind(kind), onnx_engine.open_engine(path, threads=1)

    for count in (8, 3, 1, 19, 5):
        pet, ct = inputs(count)
        assert_same(engine.explained(pet, ct), reference.explained(pet, ct))


def test_one_context_and_graph_serves_each_size(open_kind, library, cuda):
    engine = open_kind()

    for count in (1, 1, 3, 4, 4, 8, 16):
        engine.explained(*inputs(count))

    assert library.contexts == 3  # of 1, 4 and 8
    assert cuda.replays == 8


@pytest.mark.usefixtures("library")
def test_a_later_run_does_not_change_an_earlier_answer(open_kind):
    engine = open_kind()
    first = engine.explained(*inputs(1))
    kept = [part.copy() for part in first]

    engine.explained(*inputs(2)[:, :1])

    assert_same(first, kept)


@pytest.mark.usefixtures("library")
def test_a_gpu_that_fails_is_lost(open_kind, cuda):
    engine = open_kind()
    engine.explained(*inputs(1))
    cuda.broken = True

    with pytest.raises(DeviceLost, match="tensorrt on NVIDIA T4: the plan does not run"):
        engine.explained(*inputs(2))


def test_a_plan_is_built_on_the_gpu_that_it_is_for(open_kind, library, plans):
    open_kind(ordinal=1)

    assert library.built_on == [1]
    assert [sidecar.making.gpu for sidecar in plans.held()] == ["NVIDIA L4"]


def test_a_plan_that_does_not_open_is_built_anew_once(open_kind, library, plans, caplog):
    open_kind()
    (sidecar,) = plans.held()
    library.refused.append(plans.find(sidecar.making))

    engine = open_kind()

    assert engine.logits(*inputs(1)).shape == (1, 2)
    assert len(library.built_on) == 2
    assert "the engine was made for another device" in caplog.text
    assert plans.find(sidecar.making) not in library.refused


class Everything:
    def __contains__(self, _plan):
        return True


def test_a_new_plan_that_does_not_open_is_refused(open_kind, library):
    library.refused = Everything()

    with pytest.raises(EngineUnavailable, match="NVIDIA T4: the engine was made for another"):
        open_kind()
    assert len(library.built_on) == 1


def test_a_portable_plan_that_does_not_open_is_not_built_again(open_kind, rtx):
    """It would be the same: this GPU is not among those that it is for."""
    open_kind("tensorrt-rtx")
    rtx.refused = Everything()

    with pytest.raises(EngineUnavailable):
        open_kind("tensorrt-rtx")
    assert len(rtx.built_on) == 1


def test_kernels_are_compiled_at_the_first_run_and_not_behind_later_ones(open_kind, rtx, tmp_path):
    """Else the numbers that are held against ONNX Runtime's are those of other kernels."""
    engine = open_kind("tensorrt-rtx")
    engine.explained(*inputs(1))

    (config,) = rtx.configs
    assert config.dynamic_shapes_kernel_specialization_strategy == "eager"
    assert config.cuda_graph_strategy == "whole"
    (kept,) = (tmp_path / "plans").glob("*.kernels")
    assert kept.read_bytes() == b"kernels"


def test_a_plan_that_is_built_alone_is_built_on_the_gpu_that_it_is_for(path, library, plans):
    """As petct-node engines --build does, where torch has chosen no GPU."""
    request = Request(kind="tensorrt", network=path.read_bytes(), precision="f32", gpu=GPUS[1])

    plan_of(request, plans)

    assert library.built_on == [1]
