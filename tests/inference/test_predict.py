import math
import threading
from dataclasses import replace

import numpy as np
import pytest

from inference import onnx_engine
from inference.bundle import default_path, load
from inference.card import Familiarity
from inference.engine import Explained
from inference.errors import InferenceError
from inference.familiar import Familiar
from inference.findings import Lesion
from inference.phantom import SCANNERS, Phantom, Tumour, draw, tumour_region
from inference.predict import predict

PLACE = (-70.0, 0.0, 40.0)
"""In the right lung, away from the hilum."""


class Fixed:
    """An engine that always gives the same logits, and the same saliency and features or none."""

    name = "fixed"
    device = "CPU"

    def __init__(self, negative, positive, cells=None, features=None):
        self.given = np.array([[negative, positive]], np.float32)
        self.cells = cells
        self.features = None if features is None else np.array([features], np.float32)

    def logits(self, *_images):
        return self.given

    def explained(self, *_images):
        return Explained(self.given, self.cells, self.features)


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
    """The shipped one without what its networks learnt from: fixed engines give no features."""
    shipped = load(default_path())
    tasks = tuple(replace(task, familiarity=None) for task in shipped.tasks)
    return replace(shipped, card=replace(shipped.card, tasks=tasks), familiar={})


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


def test_engines_that_share_the_cpus_run_at_the_same_time(bundle, mild):
    meeting = threading.Barrier(len(bundle.tasks))

    class Sharing(Fixed):
        abreast = len(bundle.tasks)

        def explained(self, *images):
            meeting.wait(20)
            return super().explained(*images)

    engines = {"occult_n1": Sharing(9, -9), "occult_n2": Sharing(-9, 9)}

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


@pytest.fixture(scope="module")
def limited(bundle):
    """The bundle; its N2 task knows features whose logarithms lie around (1, 2), SDs of 1."""
    n1, n2 = bundle.tasks
    limit = Familiarity(
        file="seen.npz",
        distance_max=5.0,
        cases=99,
        share_beyond_expected=0.01,
        share_beyond_test=0.01,
    )
    n1, n2 = replace(n1, familiarity=None), replace(n2, familiarity=limit)
    known = Familiar(
        offset=np.ones(2, np.float32),
        mean=np.array([1, 2], np.float32),
        whitening=np.eye(2, dtype=np.float32),
    )
    card = replace(bundle.card, tasks=(n1, n2), files={**bundle.card.files, "seen.npz": ""})
    return replace(bundle, card=card, familiar={"occult_n2": known})


def seen(*logarithms):
    """An engine whose features have these logarithms once the offset, 1, is added."""
    return Fixed(0, 1, features=np.exp(logarithms) - 1)


@pytest.mark.parametrize(
    ("logarithms", "distance", "familiar"),
    [((1, 2), 0, True), ((3.9, 6), 4.9406, True), ((4.1, 6), 5.0606, False)],
)
def test_a_prediction_tells_how_far_what_the_network_saw_lies_from_its_training_set(
    limited, mild, logarithms, distance, familiar
):
    """2.9 and 4 away are 4.94 away, 3.1 and 4 are 5.06; the limit is 5."""
    engines = {"occult_n1": Fixed(0, 1), "occult_n2": seen(*logarithms)}

    (n1, n2), _ = predict(*mild, limited, engines)

    assert (n1.distance, n1.distance_max, n1.familiar) == (None, None, True)
    assert n2.distance == pytest.approx(distance, abs=1e-4)
    assert (n2.distance_max, n2.familiar) == (5.0, familiar)


def test_what_was_seen_changes_no_probability(limited, bundle, mild):
    engines = {"occult_n1": Fixed(0, 1), "occult_n2": seen(60, 60)}

    with_limit, _ = predict(*mild, limited, engines)
    without, _ = predict(*mild, bundle, engines)

    assert [one.probability for one in with_limit] == [one.probability for one in without]


@pytest.mark.parametrize(
    ("engine", "told"),
    [
        (Fixed(0, 1), r"occult_n2\.onnx does not give the 2 features"),
        (seen(1, 2, 3), r"occult_n2\.onnx does not give the 2 features"),
        (
            Fixed(0, 1, features=[0.0, math.nan]),
            r"occult_n2\.onnx gave features that are not finite",
        ),
    ],
    ids=["none", "others", "nan"],
)
def test_features_that_the_statistics_are_not_of_give_no_prediction(limited, mild, engine, told):
    with pytest.raises(InferenceError, match=told):
        predict(*mild, limited, {"occult_n1": Fixed(0, 1), "occult_n2": engine})


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
