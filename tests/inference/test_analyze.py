from dataclasses import replace

import pytest

from inference import onnx_engine
from inference.analyze import Model, analyze
from inference.bundle import default_path, load
from inference.lesion import LesionRules
from inference.phantom import SCANNERS, draw, random_phantom

RULES = LesionRules(threshold_fraction=0.41, suv_min=2.5)


@pytest.fixture(scope="module")
def petct():
    return draw(random_phantom(3), SCANNERS["small"])


def model(limits=None):
    bundle = load(default_path())
    engines = {
        t.name: onnx_engine.open_engine(bundle.onnx_path(t), threads=1) for t in bundle.tasks
    }
    if limits:
        card = replace(bundle.card, limits=replace(bundle.card.limits, **limits))
        bundle = replace(bundle, card=card)
    return Model(bundle=bundle, engines=engines)


def test_each_prediction_comes_with_where_its_network_looked(petct):
    findings = analyze(petct, model=model(), rules=RULES)

    tasks = [prediction.task for prediction in findings.predictions]
    assert tasks == ["occult_n1", "occult_n2"]
    assert [told.task for told in findings.saliency] == tasks
    for told in findings.saliency:
        assert told.on_pet.voxels.max() == 1
        assert told.on_pet.grid.contains(findings.primary.centroid_lps_mm)


def test_where_predictions_are_withheld_there_is_no_saliency(petct):
    """No chest holds a cubic metre of lung."""
    strict = model({"lung_volume_min_ml": 1e6})

    findings = analyze(petct, model=strict, rules=RULES)

    assert findings.primary is not None
    assert findings.predictions == ()
    assert findings.saliency == ()
