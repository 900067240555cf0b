"""Curves point by point, held against scikit-learn and worked out by hand."""

import numpy as np
import pytest
from sklearn import metrics

from training.statistics.bootstrap import Resampling, independent
from training.statistics.curves import (
    precision_recall_points,
    roc_points,
    sensitivity_band,
    sensitivity_statistic,
)
from training.statistics.discrimination import auroc, average_precision


def drawn(*, ties):
    rng = np.random.default_rng(3)
    labels = np.arange(200) < 60
    scores = rng.normal(size=200) + labels
    return labels, np.round(scores, 0 if ties else 9)


@pytest.mark.parametrize("ties", [False, True])
def test_an_roc_curve_is_that_of_scikit_learn_and_its_area_the_auroc(ties):
    labels, scores = drawn(ties=ties)

    across, up = roc_points(labels, scores)

    false, true, _ = metrics.roc_curve(labels, scores, drop_intermediate=False)
    every = set(zip(false.round(9).tolist(), true.round(9).tolist(), strict=True))
    assert set(zip(across.round(9).tolist(), up.round(9).tolist(), strict=True)) <= every
    assert np.trapezoid(up, across) == pytest.approx(auroc(labels, scores))


@pytest.mark.parametrize("ties", [False, True])
def test_the_area_below_the_steps_of_precision_is_the_average_precision(ties):
    labels, scores = drawn(ties=ties)

    recall, precision = precision_recall_points(labels, scores)

    area = np.sum(np.diff(recall, prepend=0) * precision)
    assert area == pytest.approx(average_precision(labels, scores))
    assert recall[-1] == 1


def test_points_of_four_cases_are_those_worked_out_by_hand():
    """Called in the order +, -, +, -: precision is 1 at the first positive, 2/3 at the second."""
    labels = np.array([True, False, True, False])
    scores = np.array([4.0, 3.0, 2.0, 1.0])

    assert [one.tolist() for one in roc_points(labels, scores)] == [
        [0, 0, 0.5, 0.5, 1],
        [0, 0.5, 0.5, 1, 1],
    ]
    assert [one.tolist() for one in precision_recall_points(labels, scores)] == [
        [0.5, 1],
        [1, pytest.approx(2 / 3)],
    ]


def test_sensitivity_at_a_rate_is_that_of_the_highest_score_that_keeps_it():
    """Of four negatives one may be called at 0.25: then the first and the third case are found."""
    labels = np.array([True, False, True, False, True, False, False])
    scores = np.arange(7, 0, -1.0)

    found = sensitivity_statistic(labels, scores, [0.0, 0.25, 0.5, 1.0])(np.ones((1, 7)))

    assert found[0] == pytest.approx([1 / 3, 2 / 3, 1, 1])


def test_sensitivity_of_weighted_cases_is_that_of_cases_that_stand_there_as_often():
    labels, scores = drawn(ties=False)
    weights = np.random.default_rng(0).integers(1, 4, len(labels))
    rates = [0.05, 0.3, 0.7]

    weighed = sensitivity_statistic(labels, scores, rates)(weights[np.newaxis].astype(float))

    many, of_many = np.repeat(labels, weights), np.repeat(scores, weights)
    assert weighed == pytest.approx(
        sensitivity_statistic(many, of_many, rates)(np.ones((1, len(many))))
    )


def test_a_band_holds_the_curve():
    labels, scores = drawn(ties=False)
    rates = [0.1, 0.3, 0.5]

    band = sensitivity_band(independent(labels, Resampling(replicates=400)), scores, rates)

    across, up = roc_points(labels, scores)
    for rate, one in zip(rates, band, strict=True):
        assert one.low < one.value < one.high
        assert one.value == pytest.approx(up[across <= rate + 1e-12].max())
