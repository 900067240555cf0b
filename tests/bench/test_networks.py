"""That OpenVINO's benchmark is given the network that our engine runs."""

import numpy as np
import openvino
import pytest

from inference import onnx_engine, openvino_engine
from inference.bundle import default_path, load
from tests.bench.networks import weights_apart


@pytest.fixture(scope="module")
def shipped():
    bundle = load(default_path())
    return bundle.onnx_path(bundle.tasks[0]), bundle.card.inputs.crop_side


def test_with_weights_apart_openvino_gives_our_numbers_by_itself(shipped):
    path, side = shipped
    pet, ct = np.random.default_rng(0).normal(size=(2, 1, 3, side, side)).astype(np.float32)
    core = openvino.Core()
    model = core.read_model(weights_apart(path.read_bytes()))
    model.reshape(dict.fromkeys(("pet", "ct"), pet.shape))

    found = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})((pet, ct))

    ours = openvino_engine.open_engine(path, threads=1).explained(pet, ct)
    theirs = onnx_engine.open_engine(path, threads=1).explained(pet, ct)
    assert np.abs(theirs.saliency).max() > 0.05
    for told in (ours, theirs):
        assert np.abs(found["logits"] - told.logits).max() < 1e-4
        assert np.abs(found["saliency"] - told.saliency).max() < 1e-4
