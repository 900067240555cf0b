"""What TensorRT does on a GPU. It has run on no machine of this project: none has one."""

import statistics
import time

import numpy as np
import pytest

from inference import gpu, onnx_engine, tensorrt_engine, torch_engine
from inference.bundle import default_path, load
from inference.errors import EngineUnavailable
from inference.plans import Plans
from inference.warming import DIFFERENCE_MAX

pytestmark = [pytest.mark.gpu, pytest.mark.tensorrt]


@pytest.fixture(scope="module")
def path():
    bundle = load(default_path())
    return bundle.onnx_path(bundle.card.task("occult_n1"))


@pytest.fixture(scope="module", params=["tensorrt", "tensorrt-rtx"])
def open_kind(request, path, tmp_path_factory):
    """Opens the network with one library, in a precision; skips where it cannot be."""
    try:
        gpu.find()
    except EngineUnavailable as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("plans")

    def opened(precision):
        try:
            return tensorrt_engine.open_engine(
                path, kind=request.param, precision=precision, plans=Plans(folder)
            )
        except EngineUnavailable as error:
            if "is not installed" in str(error):
                pytest.skip(str(error))
            raise

    return opened


def outputs(engine, pet, ct):
    """What the network gives in one run, without what it lacks."""
    return [found for found in engine.explained(pet, ct) if found is not None]


def inputs(count):
    rng = np.random.default_rng(count)
    return rng.normal(size=(2, count, 3, 48, 48)).astype(np.float32)


@pytest.mark.parametrize("precision", ["f32", "f16", "bf16"])
@pytest.mark.parametrize("count", [1, 3, 8, 19])
def test_logits_and_saliency_are_onnx_runtimes(open_kind, path, precision, count):
    """Batches of any size: within a plan's most, filled up, and beyond it."""
    pet, ct = inputs(count)
    engine = open_kind(precision)

    found = outputs(engine, pet, ct)

    expected = outputs(onnx_engine.open_engine(path, threads=1), pet, ct)
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        scale = max(1.0, float(np.abs(other).max()))
        assert np.abs(one - other).max() / scale < DIFFERENCE_MAX[precision]


def test_a_later_run_does_not_change_an_earlier_answer(open_kind):
    engine = open_kind("f32")
    first = outputs(engine, *inputs(1))
    kept = [part.copy() for part in first]

    engine.explained(*inputs(2))
    again = outputs(engine, *inputs(1))

    for part, copied, repeated in zip(first, kept, again, strict=True):
        assert np.array_equal(part, copied)
        assert np.allclose(part, repeated, atol=1e-6)


def test_an_engine_names_the_gpu(open_kind):
    assert open_kind("f32").device == gpu.find()[0].name


def test_f16_is_faster_than_torch_operator_by_operator_on_the_same_gpu(open_kind, path):
    """torch in float32, one call an operator: what TensorRT is there to beat."""
    rival = torch_engine.open_engine(path, threads=0, device="cuda")
    pet, ct = inputs(1)

    def median_s(engine):
        engine.explained(pet, ct)
        seconds = []
        for _ in range(50):
            started = time.perf_counter()
            engine.explained(pet, ct)
            seconds.append(time.perf_counter() - started)
        return statistics.median(seconds)

    assert median_s(open_kind("f16")) < median_s(rival)
