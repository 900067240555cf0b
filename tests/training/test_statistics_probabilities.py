"""Calibration, recalibration, decision curves and reclassification."""

import warnings

import numpy as np
import pandas as pd
import pytest
from dcurves import dca
from sklearn.calibration import calibration_curve as sklearn_curve
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import brier_score_loss
from statsmodels.discrete.discrete_model import Logit

from training.statistics.bootstrap import Resampling, Sample, independent
from training.statistics.calibration import (
    brier,
    brier_interval,
    calibration,
    calibration_curve,
)
from training.statistics.decision_curve import decision_curve, net_benefit
from training.statistics.multiplicity import benjamini_hochberg
from training.statistics.recalibration import Isotonic, chosen, isotonic, prior_shift
from training.statistics.reclassification import Moves, categorical, continuous, idi
from training.statistics.values import UnusableScores, logit

FEW = Resampling(replicates=200)


@pytest.fixture(scope="module")
def cases():
    """400 labels drawn from their probabilities, which are told too extremely."""
    rng = np.random.default_rng(0)
    true = rng.beta(1, 3, size=400)
    labels = rng.random(400) < true
    odds = 1.6 * logit(true) + 0.4
    return labels, 1 / (1 + np.exp(-odds))


def test_slope_and_intercept_are_those_of_a_logistic_model(cases):
    """Another program of statsmodels: Newton on the likelihood, not weighted least squares."""
    labels, told = cases
    margins = logit(told)
    design = np.stack([np.ones(400), margins], axis=1)
    fit = Logit(labels.astype(float), design).fit(disp=False)
    alone = Logit(labels.astype(float), np.ones(400), offset=margins).fit(disp=False)

    found = calibration(labels, told)

    assert found.slope.value == pytest.approx(fit.params[1], abs=1e-6)
    assert [found.slope.low, found.slope.high] == pytest.approx(fit.conf_int()[1], abs=1e-5)
    assert found.intercept.value == pytest.approx(alone.params[0], abs=1e-6)
    assert [found.intercept.low, found.intercept.high] == pytest.approx(
        alone.conf_int()[0], abs=1e-5
    )
    assert found.slope.low < found.slope.value < found.slope.high < 1


def test_three_copies_of_each_patient_make_nothing_surer(cases):
    labels, told = cases
    once = calibration(labels, told, patients=np.arange(400))
    thrice = calibration(
        np.repeat(labels, 3), np.repeat(told, 3), patients=np.repeat(np.arange(400), 3)
    )

    # statsmodels corrects for (cases - 1) / (cases - parameters), which nearly is 1.
    assert thrice.slope.low == pytest.approx(once.slope.low, abs=2e-3)
    assert thrice.slope.high == pytest.approx(once.slope.high, abs=2e-3)


def test_brier_is_that_of_scikit_learn_and_its_skill_is_against_the_prevalence(cases):
    labels, told = cases
    found = calibration(labels, told)
    prevalence = labels.mean()

    assert found.brier == brier(labels, told)
    assert found.brier == pytest.approx(brier_score_loss(labels, told))
    assert found.brier_skill == pytest.approx(
        1 - found.brier / brier_score_loss(labels, np.full(400, prevalence))
    )
    interval = brier_interval(independent(labels, FEW), told)
    assert interval.value == pytest.approx(found.brier)
    assert interval.low < interval.value < interval.high


def test_the_curve_is_that_of_scikit_learn(cases):
    labels, told = cases
    observed, predicted = sklearn_curve(labels, told, n_bins=10, strategy="quantile")

    found = calibration_curve(labels, told, groups=10)

    assert [group.observed.value for group in found] == pytest.approx(observed)
    assert [group.predicted for group in found] == pytest.approx(predicted)
    assert sum(group.cases for group in found) == 400


def test_equal_probabilities_stay_in_one_group():
    labels = np.array([0, 1, 0, 1, 1, 1], dtype=bool)

    found = calibration_curve(labels, np.array([0.2] * 4 + [0.9] * 2), groups=5)

    assert [(group.cases, group.observed.value) for group in found] == [(4, 0.5), (2, 1.0)]


@pytest.mark.parametrize(
    ("probabilities", "reason"),
    [
        ([0.1, 0.2, 0.8, 0.9], "separate the classes"),
        ([0.5, 0.5, 0.5, 0.5], "all equal"),
        ([0.1, 0.2, 0.8, 1.9], "between 0 and 1"),
    ],
)
def test_what_has_no_slope_is_refused(probabilities, reason):
    labels = np.array([False, False, True, True])

    with pytest.raises(UnusableScores, match=reason):
        calibration(labels, np.array(probabilities))


def test_isotonic_regression_is_that_of_scikit_learn(cases):
    labels, told = cases
    scores = np.round(told, 2)
    rival = IsotonicRegression(out_of_bounds="clip").fit(scores, labels)
    asked = np.linspace(-0.5, 1.5, 50)

    found = isotonic(labels, scores)

    assert found.probability(asked) == pytest.approx(rival.predict(asked))


@pytest.mark.parametrize(
    ("scores", "probabilities"), [((1, 1), (0.1, 0.2)), ((1, 2), (0.3, 0.2)), ((1,), ()), ((), ())]
)
def test_a_curve_that_does_not_rise_is_none(scores, probabilities):
    with pytest.raises(ValueError, match="isotonic"):
        Isotonic(scores=scores, probabilities=probabilities)


def test_a_shift_of_the_prior_gives_back_what_oversampling_took():
    """Odds 1 at a prevalence of 1/2 are odds 1/9 at 1/10; and back."""
    shifted = prior_shift(np.array([0.5, 0.75]), seen=0.5, true=0.1)

    assert shifted == pytest.approx([0.1, 3 / 12])
    assert prior_shift(shifted, seen=0.1, true=0.5) == pytest.approx([0.5, 0.75])
    with pytest.raises(UnusableScores, match="prevalence"):
        prior_shift(shifted, seen=1.0, true=0.1)


def test_a_shift_of_the_prior_is_chosen_where_that_is_all_there_is():
    """Probabilities of a network trained with each positive ten times, exact but for that."""
    rng = np.random.default_rng(3)
    margins = rng.normal(size=3000) * 1.5 - 2.5
    true = 1 / (1 + np.exp(-margins))
    labels = rng.random(3000) < true
    prevalence = labels.mean()
    seen = 10 * prevalence / (10 * prevalence + 1 - prevalence)

    told = prior_shift(true, seen=prevalence, true=seen)
    found = chosen(labels, told, seen=seen)

    assert set(found.brier) == {"platt", "isotonic", "prior shift"}
    assert found.method == "prior shift"
    assert found.probability(told) == pytest.approx(true)


def test_a_curve_is_chosen_where_no_sigmoid_fits():
    """Risk jumps from 0.1 to 0.6 and stays."""
    rng = np.random.default_rng(4)
    scores = rng.uniform(-3, 3, 3000)
    labels = rng.random(3000) < np.where(scores > 0, 0.6, 0.1)

    found = chosen(labels, scores)

    assert found.method == "isotonic"
    assert found.probability(np.array([-2.0, 2.0])) == pytest.approx([0.1, 0.6], abs=0.05)
    assert chosen(labels, scores).brier == found.brier


def test_a_shift_needs_probabilities():
    labels = np.arange(20) < 10

    with pytest.raises(UnusableScores, match="between 0 and 1"):
        chosen(labels, np.arange(20.0), seen=0.5)


def test_net_benefit_is_that_of_dcurves(cases):
    labels, told = cases
    thresholds = [0.05, 0.1, 0.25, 0.5]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # dcurves assigns into a copy of a pandas frame
        table = dca(
            data=pd.DataFrame({"label": labels.astype(int), "told": told}),
            outcome="label",
            modelnames=["told"],
            thresholds=thresholds,
        )
    expected = table.set_index(["model", "threshold"])["net_benefit"]

    found = decision_curve(independent(labels, FEW), told, thresholds)

    for one in found:
        assert one.model.value == pytest.approx(expected["told", one.threshold])
        assert one.call_all == pytest.approx(expected["all", one.threshold])
        assert one.model.low < one.model.value < one.model.high
        assert one.advantage.value == pytest.approx(one.model.value - max(one.call_all, 0))


def test_net_benefit_by_hand():
    """Of 10 cases 2 true and 3 false are called at odds of 1 to 4: 0.2 - 0.3 / 4."""
    labels = np.arange(10) < 4
    told = np.array([0.9, 0.9, 0.2, 0.1, 0.3, 0.3, 0.3, 0.1, 0.1, 0.1])

    assert net_benefit(labels, told, 0.2) == pytest.approx(0.2 - 0.3 / 4)


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_nobody_acts_at_no_risk_or_at_certainty(threshold):
    labels = np.arange(10) < 4

    with pytest.raises(UnusableScores, match="thresholds"):
        decision_curve(independent(labels, FEW), np.full(10, 0.5), [threshold])


def test_nri_and_its_test_are_those_published_for_hdl():
    """Pencina 2008, Framingham: 183 events (29 up, 7 down), 3081 others (173 up, 174 down).

    NRI 0.121, z 3.616, p < 0.001.
    """
    found = Moves(
        events=183,
        events_up=29,
        events_down=7,
        non_events=3081,
        non_events_up=173,
        non_events_down=174,
    )

    assert found.nri == pytest.approx(0.121, abs=5e-4)
    assert found.z == pytest.approx(3.616, abs=5e-4)
    assert found.p < 0.001


def test_reclassification_by_hand():
    """Events .1 to .3 (up), .3 to .1 (down), .3 to .6 (up), .6 to .6; others .3 to .1, .1 to .1.

    NRI (2 - 1) / 4 + (1 - 0) / 2 = 0.75. At 0.2 exactly a risk is in the lower category.
    """
    labels = np.array([1, 1, 1, 1, 0, 0], dtype=bool)
    old = np.array([0.1, 0.3, 0.3, 0.6, 0.3, 0.1])
    new = np.array([0.3, 0.2, 0.6, 0.6, 0.1, 0.1])

    found = categorical(independent(labels, FEW), old, new, [0.2, 0.5])

    assert found.nri.value == pytest.approx(0.75)
    assert found.event_nri.value == pytest.approx(found.moves.event_nri) == pytest.approx(0.25)
    assert found.non_event_nri.value == pytest.approx(found.moves.non_event_nri)
    assert found.p == found.moves.p


def test_continuous_nri_and_idi_by_hand():
    """Events rise by .2, fall by .1; others fall by .1, rise by .2, stay.

    NRI (1 - 1) / 2 + (1 - 1) / 3 = 0. IDI (.2 - .1) / 2 - (.2 - .1) / 3.
    """
    labels = np.array([1, 1, 0, 0, 0], dtype=bool)
    old = np.array([0.5, 0.5, 0.5, 0.3, 0.3])
    new = np.array([0.7, 0.4, 0.4, 0.5, 0.3])
    sample = independent(labels, FEW)

    assert continuous(sample, old, new).nri.value == pytest.approx(0)
    assert idi(sample, old, new).value == pytest.approx(0.1 / 2 - 0.1 / 3)


def test_patients_who_are_drawn_whole_widen_the_interval():
    """The same cases, once each a patient, once ten copies of 40 patients."""
    rng = np.random.default_rng(5)
    labels = np.arange(400) < 200
    old = np.repeat(rng.random(40), 10)
    new = np.clip(old + np.repeat(rng.normal(size=40) * 0.1, 10), 0, 1)
    patients = np.repeat(np.arange(40), 10)

    alone = idi(independent(labels, FEW), old, new)
    whole = idi(Sample(labels=labels, patients=patients, resampling=FEW), old, new)

    assert whole.value == pytest.approx(alone.value)
    assert whole.high - whole.low > 2 * (alone.high - alone.low)


@pytest.mark.parametrize("thresholds", [[], [0.3, 0.1], [0.2, 0.2]])
def test_categories_must_ascend(thresholds):
    labels = np.arange(6) < 3

    with pytest.raises(UnusableScores, match="ascend"):
        categorical(independent(labels, FEW), np.full(6, 0.1), np.full(6, 0.3), thresholds)


def test_nothing_moved_is_no_evidence():
    still = Moves(
        events=3,
        events_up=0,
        events_down=0,
        non_events=3,
        non_events_up=0,
        non_events_down=0,
    )

    assert still.nri == 0
    assert np.isnan(still.p)


def test_the_false_discovery_rate_is_that_of_the_published_example():
    """Benjamini and Hochberg 1995, section 4: of 15 p the first four are discoveries at 0.05."""
    p = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459]
    p += [0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0000]

    found = benjamini_hochberg({str(n): value for n, value in enumerate(p)})

    assert [q <= 0.05 for q in found.values()] == [True] * 4 + [False] * 11
    assert found["3"] == pytest.approx(0.0095 * 15 / 4)


def test_an_unknown_p_is_not_counted():
    assert benjamini_hochberg({"a": 0.01, "b": 0.04})["a"] == pytest.approx(0.02)
    found = benjamini_hochberg({"a": 0.01, "b": float("nan"), "c": 0.04})
    assert found["a"] == pytest.approx(0.02)
    assert np.isnan(found["b"])
    assert benjamini_hochberg({}) == {}
