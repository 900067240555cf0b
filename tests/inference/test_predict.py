import math

import numpy as np
import pytest

from inference import onnx_engine
from inference.bundle import default_path, load
from inference.engine import Explained
from inference.errors import InferenceError
from inference.findings import Lesion
from inference.phantom import SCANNERS, Phantom, Tumour, draw, tumour_region
from inference.predict import predict

PLACE = (-70.0, 0.0, 40.0)
"""In the right lung, away from the hilum."""


class Fixed:
    """An engine that always gives the same logits, and the same saliency or none."""

    name = "fixed"
    device = "CPU"

    def __init__(self, negative, positive, cells=None):
        self.given = np.array([[negative, positive]], np.float32)
        self.cells = cells

    def logits(self, *_images):
        return self.given

    def explained(self, *_images):
        return Explained(self.given, self.cells)


def phantom_case(**traits):
    tumour = Tumour(centre_lps_mm=PLACE, **traits)
    petct = draw(Phantom(seed=5, tumour=tumour), SCANNERS["classic"])
    region = tumour_region(Phantom(seed=5, tumour=tumour), petct.pet.grid)
    lesion = Lesion(
        label="primary",
        source="pet-threshold",
        on_pet=region,
        on_ct=region,
        suv_max=tumour.suv,
        suv_mean=tumour.suv,
        suv_peak=None,
        mtv_ml=1.0,
        tlg_g=1.0,
        volume_ml=1.0,
        longest_axial_diameter_mm=tumour.diameter_mm,
        longest_diameter_mm=tumour.diameter_mm,
        centroid_lps_mm=PLACE,
        suv_max_lps_mm=PLACE,
        laterality="right",
    )
    return petct, lesion


@pytest.fixture(scope="module")
def bundle():
    return load(default_path())


@pytest.fixture(scope="module")
def mild():
    return phantom_case(
        diameter_mm=20, suv=4, heterogeneity=0.1, solidity=0.6, spiculation=0.1, texture=0.1
    )


@pytest.fixture(scope="module")
def aggressive():
    return phantom_case(
        diameter_mm=40, suv=14, heterogeneity=0.9, solidity=1.0, spiculation=0.9, texture=0.9
    )


def test_a_probability_is_the_cards_sigmoid_of_the_margin(bundle, mild):
    engines = {task.name: Fixed(0.5, 1.75) for task in bundle.tasks}

    found, _ = predict(*mild, bundle, engines)

    for task, prediction in zip(bundle.tasks, found, strict=True):
        score = task.calibration.slope * 1.25 + task.calibration.intercept
        assert prediction.task == task.name
        assert prediction.cutoff == task.cutoff
        assert prediction.probability == pytest.approx(1 / (1 + math.exp(-score)))


def test_each_task_is_answered_by_its_own_engine(bundle, mild):
    engines = {"occult_n1": Fixed(9, -9), "occult_n2": Fixed(-9, 9)}

    (n1, n2), _ = predict(*mild, bundle, engines)

    assert (n1.high, n2.high) == (False, True)


def test_a_logit_that_is_no_number_gives_no_prediction(bundle, mild):
    engines = {task.name: Fixed(0.0, math.nan) for task in bundle.tasks}

    with pytest.raises(InferenceError, match=r"occult_n1\.onnx gave logits"):
        predict(*mild, bundle, engines)


def test_a_network_that_does_not_tell_where_it_looked_predicts_without_saliency(bundle, mild):
    """As the networks of a bundle made before saliency was do."""
    cells = np.ones((1, 24, 24), np.float32)
    engines = {"occult_n1": Fixed(0, 1), "occult_n2": Fixed(0, 1, cells)}

    predictions, saliency = predict(*mild, bundle, engines)

    assert [prediction.task for prediction in predictions] == ["occult_n1", "occult_n2"]
    assert [told.task for told in saliency] == ["occult_n2"]


def test_a_saliency_that_is_no_number_gives_no_prediction(bundle, mild):
    cells = np.full((1, 24, 24), np.nan, np.float32)
    engines = {task.name: Fixed(0, 1, cells) for task in bundle.tasks}

    with pytest.raises(InferenceError, match=r"occult_n1\.onnx gave a saliency"):
        predict(*mild, bundle, engines)


def test_the_shipped_networks_call_an_aggressive_tumour_high_and_a_mild_one_low(
    bundle, mild, aggressive
):
    engines = {
        task.name: onnx_engine.open_engine(bundle.onnx_path(task), threads=1)
        for task in bundle.tasks
    }

    (low, _), (high, _) = (predict(*case, bundle, engines) for case in (mild, aggressive))

    assert not any(prediction.high for prediction in low)
    assert all(prediction.high for prediction in high)
    assert all(h.probability > 0.8 for h in high)
