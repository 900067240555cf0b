"""Sets of answers, and how often they hold the truth."""

import numpy as np
import pytest
from scipy.stats import beta

from training.conformal import conform, coverage_of, spread
from training.statistics.values import UnusableScores


def test_thresholds_by_hand():
    """Of 9 + 1 cases 80 % are 8: the eighth of nine positives from above, negatives from below."""
    labels = np.repeat([True, False], 9)
    scores = np.concatenate([np.arange(11.0, 20), np.arange(1.0, 10)])

    found = conform(labels, scores, coverage=0.8)

    assert (found.positive_from, found.negative_to) == (12, 8)
    assert (found.positives, found.negatives) == (9, 9)
    assert found.sets(np.array([7.0, 10, 12])).tolist() == [
        [True, False],
        [False, False],
        [False, True],
    ]


def test_scores_that_overlap_leave_both_answers():
    labels = np.repeat([True, False], 9)
    scores = np.concatenate([np.arange(4.0, 13), np.arange(1.0, 10)])

    found = conform(labels, scores, coverage=0.8)

    assert found.sets(np.array([5.0, 8, 9])).tolist() == [
        [True, True],
        [True, True],
        [False, True],
    ]


def test_coverage_is_counted_by_class():
    sets = np.array([[1, 1], [0, 1], [1, 0], [1, 0], [0, 0]], dtype=bool)
    labels = np.array([1, 1, 1, 0, 0], dtype=bool)

    found = coverage_of(sets, labels)

    assert found.of_positives == pytest.approx(2 / 3)
    assert found.of_negatives == 0.5
    assert (found.sure, found.unsure, found.empty) == (0.6, 0.2, 0.2)
    assert np.isnan(coverage_of(sets, np.zeros(5, dtype=bool)).of_positives)


@pytest.mark.parametrize(("cases", "coverage"), [(40, 0.9), (99, 0.95)])
def test_what_was_promised_is_held_for_each_class_and_its_spread_is_beta(cases, coverage):
    """2,000 calibration sets of normal scores, whose coverage of new cases is known exactly.

    Its mean is ceil((n + 1) coverage) / (n + 1), whatever the law of the scores.
    """
    rng = np.random.default_rng(0)
    labels = np.repeat([True, False], [cases, 3 * cases])
    held = []
    for _ in range(2000):
        found = conform(labels, rng.exponential(size=4 * cases) + labels, coverage=coverage)
        held.append(np.exp(-max(found.positive_from - 1, 0)))
    rank = np.ceil(round((cases + 1) * coverage, 9))
    law = beta(rank, cases + 1 - rank)
    low, high = spread(cases, coverage)

    assert law.mean() >= coverage
    assert np.mean(held) == pytest.approx(law.mean(), abs=4 * law.std() / np.sqrt(2000))
    assert np.mean((np.array(held) >= low) & (np.array(held) <= high)) == pytest.approx(
        0.95, abs=0.02
    )


def test_nineteen_cases_a_class_can_promise_95_percent_and_eighteen_cannot():
    labels = np.repeat([True, False], 19)
    scores = np.arange(38.0)

    # Of 19 the strangest must stay inside: 20 * 0.95 = 19.
    assert conform(labels, scores, coverage=0.95).positive_from == 0
    with pytest.raises(UnusableScores, match="18 cases of a class are too few"):
        conform(labels[1:], scores[1:], coverage=0.95)


@pytest.mark.parametrize("coverage", [0.0, 1.0])
def test_certainty_cannot_be_promised(coverage):
    with pytest.raises(UnusableScores, match="between 0 and 1"):
        conform(np.array([True, False]), np.array([1.0, 0.0]), coverage=coverage)
