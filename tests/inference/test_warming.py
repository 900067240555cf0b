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


class Noting:
    """Hands on to an engine, and notes how many cases it is given."""

    name, device, precision = "noting", "CPU", "f32"

    def __init__(self, engine, spoils=()):
        self.engine = engine
        self.spoils = spoils
        self.counts = []

    def explained(self, pet, ct):
        self.counts.append(len(pet))
        told = self.engine.explained(pet, ct)
        if len(pet) in self.spoils:  # as kernels that take the first case for all of a batch
            return told._replace(logits=np.repeat(told.logits[:1], len(pet), axis=0))
        return told


@pytest.mark.parametrize(
    ("most", "counts"),
    [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (4, [1, 2, 4]), (8, [1, 2, 4, 8])],
)
def test_every_size_of_batch_is_run_before_studies_come(bundle, networks, most, counts):
    engine = Noting(networks[0])

    warm(engine, bundle.card.inputs, networks[0], most=most)

    assert engine.counts == counts


def test_an_engine_that_mixes_up_the_cases_of_a_batch_is_refused(bundle, networks):
    engine = Noting(networks[0], spoils=[4])
    warm(engine, bundle.card.inputs, networks[0], most=2)

    with pytest.raises(EngineUnavailable, match="differs from onnxruntime by"):
        warm(engine, bundle.card.inputs, networks[0], most=8)


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
