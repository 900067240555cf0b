import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from training.statistics import (
    Confusion,
    auroc,
    auroc_difference_p,
    auroc_interval,
    confusion,
    delong,
    platt,
    youden_cutoff,
)


def arrays(labels, scores):
    return np.array(labels, dtype=bool), np.array(scores, dtype=float)


def test_auroc_is_the_share_of_pairs_in_the_right_order_and_a_tie_counts_half():
    """Positives 3, 1; negatives 2, 1, 0: right are 3>2, 3>1, 3>0, 1>0; one tie. 4.5 of 6."""
    labels, scores = arrays([1, 1, 0, 0, 0], [3, 1, 2, 1, 0])

    assert auroc(labels, scores) == pytest.approx(4.5 / 6)


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 9)), min_size=6, max_size=60).filter(
        lambda pairs: 2 <= sum(label for label, _ in pairs) <= len(pairs) - 2
    )
)
def test_auroc_is_that_of_scikit_learn(pairs):
    labels, scores = arrays(*zip(*pairs, strict=True))

    assert auroc(labels, scores) == pytest.approx(roc_auc_score(labels, scores))


def test_delongs_variance_is_that_of_the_placements():
    """Placements of positives 1, 0.5 (variance 1/8); of negatives 0.5, 1 (variance 1/8)."""
    labels, scores = arrays([1, 1, 0, 0], [4, 2, 3, 1])

    values, covariance = delong(labels, scores[np.newaxis])

    assert values[0] == 0.75
    assert covariance[0, 0] == pytest.approx(0.125 / 2 + 0.125 / 2)


def test_an_interval_holds_the_value_and_stays_within_0_and_1():
    labels, scores = arrays([1] * 5 + [0] * 5, [9, 8, 7, 6, 2, 5, 4, 3, 1, 0])

    found = auroc_interval(labels, scores)

    assert 0 <= found.low < found.value == auroc(labels, scores) < found.high <= 1


def test_ninety_five_of_a_hundred_intervals_hold_the_truth():
    """Normal scores one SD apart: AUROC = Phi(1 / sqrt 2) = 0.7602."""
    rng = np.random.default_rng(0)
    labels = np.arange(200) < 60
    hits = 0
    for _ in range(400):
        found = auroc_interval(labels, rng.normal(size=200) + labels)
        hits += found.low <= 0.7602 <= found.high

    assert 0.92 <= hits / 400 <= 0.98


def test_a_score_does_not_differ_from_itself_and_noise_differs_from_a_good_one():
    rng = np.random.default_rng(1)
    labels = rng.random(300) < 0.3
    good = rng.normal(size=300) + 2 * labels

    assert auroc_difference_p(labels, good, good) == 1.0
    assert auroc_difference_p(labels, good, rng.normal(size=300)) < 1e-6


def test_auroc_needs_two_cases_of_each_class():
    with pytest.raises(ValueError, match="1 positive"):
        auroc(*arrays([1, 0, 0], [1, 2, 3]))


def test_the_cut_off_is_the_highest_youden_and_of_ties_the_lowest():
    """Above 1: sensitivity 1, specificity 2/3. Above 2: 1/2 and 1. Above 3: 0. So 1 wins."""
    assert youden_cutoff(*arrays([1, 1, 0, 0, 0], [3, 2, 2, 1, 0])) == 1.0
    # Above 1 (1/2 + 1) and above 0 (1 + 1/2) are equal: the lower one is taken.
    assert youden_cutoff(*arrays([1, 1, 0, 0], [2, 1, 1, 0])) == 0.0


@pytest.mark.parametrize(
    ("counts", "sensitivity", "specificity"),
    [
        ((44, 5, 24, 310), 0.898, 0.928),
        ((26, 3, 56, 298), 0.897, 0.842),
        ((28, 12, 30, 285), 0.700, 0.905),
        ((92, 24, 65, 818), 0.793, 0.926),
    ],
)
def test_rates_are_those_published_for_dlnms(counts, sensitivity, specificity):
    tp, fn, fp, tn = counts
    found = Confusion(true_positives=tp, false_negatives=fn, false_positives=fp, true_negatives=tn)

    assert found.sensitivity == pytest.approx(sensitivity, abs=5e-4)
    assert found.specificity == pytest.approx(specificity, abs=5e-4)


def test_a_score_at_the_cut_off_is_not_called():
    found = confusion(*arrays([1, 1, 0, 0], [0.5, 0.6, 0.5, 0.6]), cutoff=0.5)

    assert vars(found) == {
        "true_positives": 1,
        "false_negatives": 1,
        "false_positives": 1,
        "true_negatives": 1,
    }


def test_calibration_finds_the_sigmoid_that_labels_were_drawn_from():
    rng = np.random.default_rng(2)
    margins = rng.normal(size=20000) * 2
    labels = rng.random(20000) < 1 / (1 + np.exp(-(0.7 * margins - 1.2)))

    found = platt(labels, margins)

    assert found.slope == pytest.approx(0.7, abs=0.05)
    assert found.intercept == pytest.approx(-1.2, abs=0.05)


def test_calibration_never_turns_the_order_over():
    assert platt(*arrays([1, 1, 0, 0], [-2, -1, 1, 2])).slope > 0
