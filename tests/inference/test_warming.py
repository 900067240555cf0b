"""A network is run before the first study, and one that answers wrongly is not taken."""

import numpy as np
import pytest

from inference import onnx_engine, openvino_engine
from inference.bundle import default_path, load
from inference.engine import Explained
from inference.errors import EngineUnavailable
from inference.warming import warm


@pytest.fixture(scope="module")
def bundle():
    return load(default_path())


@pytest.fixture(scope="module")
def networks(bundle):
    """The networks for N1 and for N2, which answer differently, on ONNX Runtime."""
    return [onnx_engine.open_engine(bundle.onnx_path(t), threads=1) for t in bundle.tasks]


def test_an_engine_that_agrees_with_the_reference_is_taken(bundle, networks):
    engine = openvino_engine.open_engine(bundle.onnx_path(bundle.tasks[0]), threads=1)

    warm(engine, bundle.card.inputs, networks[0])


def test_an_engine_that_differs_from_the_reference_is_refused(bundle, networks):
    with pytest.raises(EngineUnavailable, match=r"onnxruntime in f32 on CPU differs .* in a logit"):
        warm(networks[1], bundle.card.inputs, networks[0])


class Broken:
    """As kernels in f16 whose sums overflow: all black."""

    name, device, precision = "broken", "a GPU", "f16"

    def __init__(self, logits, saliency):
        self._given = Explained(logits, saliency)

    def explained(self, _pet, _ct):
        return self._given


@pytest.mark.parametrize(
    ("logit", "cell"), [(np.nan, 0.0), (np.inf, 0.0), (0.0, np.nan)], ids=["nan", "inf", "map"]
)
def test_what_is_no_number_is_refused_without_a_reference(bundle, logit, cell):
    engine = Broken(np.full((1, 2), logit, np.float32), np.full((1, 4, 4), cell, np.float32))

    with pytest.raises(EngineUnavailable, match="broken gives what is no number on a GPU"):
        warm(engine, bundle.card.inputs)
