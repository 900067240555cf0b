import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom
from sklearn.metrics import roc_auc_score
from statsmodels.stats.proportion import proportion_confint

from training.statistics import (
    Confusion,
    UnusableScores,
    auroc,
    auroc_difference_p,
    auroc_interval,
    confusion,
    delong,
    high_risk,
    platt,
    youden_cutoff,
)
from training.statistics.operating_point import clopper_pearson, wilson


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
    ("counts", "printed"),
    [
        ((44, 5, 24, 310), (0.898, 0.928, 0.647, 0.984, 0.924)),
        ((26, 3, 56, 298), (0.897, 0.842, 0.317, 0.990, 0.846)),
        ((28, 12, 30, 285), (0.700, 0.905, 0.483, 0.960, 0.882)),
        ((30, 5, 60, 260), (0.857, 0.813, 0.333, 0.981, 0.817)),
        ((92, 24, 65, 818), (0.793, 0.926, 0.586, 0.971, 0.911)),
        ((70, 14, 157, 758), (0.833, 0.828, 0.308, 0.982, 0.829)),
        ((68, 6, 88, 204), (0.919, 0.699, 0.436, 0.971, 0.743)),
    ],
)
def test_rates_are_those_published_for_dlnms(counts, printed):
    """Nature Communications 2023;14:7513: validation, external, prospective N1 and N2, biopsy."""
    tp, fn, fp, tn = counts
    found = Confusion(true_positives=tp, false_negatives=fn, false_positives=fp, true_negatives=tn)

    rates = [found.sensitivity, found.specificity, found.ppv, found.npv, found.accuracy]
    # 0.8125 and 0.8275 lie between two numbers of three digits; both are right.
    assert rates == pytest.approx(printed, abs=5.01e-4)
    assert [rate.value for rate in found.rates().values()] == rates
    assert found.youden == found.sensitivity + found.specificity - 1


@pytest.mark.parametrize("method", [clopper_pearson, wilson])
@pytest.mark.parametrize(("hits", "of"), [(0, 10), (10, 10), (3, 7), (44, 49), (310, 334)])
def test_intervals_of_shares_are_those_of_statsmodels(method, hits, of):
    name = {"clopper_pearson": "beta", "wilson": "wilson"}[method.__name__]

    found = method(hits, of)

    assert [found.low, found.high] == pytest.approx(proportion_confint(hits, of, method=name))
    assert found.value == hits / of


def test_an_exact_interval_leaves_two_and_a_half_percent_on_either_side():
    """Clopper and Pearson's own definition, for 7 of 20."""
    found = clopper_pearson(7, 20)

    assert binom.sf(6, 20, found.low) == pytest.approx(0.025)
    assert binom.cdf(7, 20, found.high) == pytest.approx(0.025)


def test_rates_of_nothing_are_not_numbers():
    nobody = Confusion(true_positives=0, false_negatives=0, false_positives=0, true_negatives=0)

    assert all(np.isnan([r.value, r.low, r.high]).all() for r in nobody.rates().values())


def test_high_risk_is_above_either_cut_off():
    """The published rule: N1 > 0.362 or N2 > 0.356, strictly."""
    scores = {"n1": np.array([0.362, 0.37, 0.1, 0.0]), "n2": np.array([0.356, 0.0, 0.36, 0.1])}

    found = high_risk(scores, {"n1": 0.362, "n2": 0.356})

    assert found.tolist() == [False, True, True, False]


def test_risk_groups_need_a_cut_off():
    with pytest.raises(UnusableScores, match="cut-off"):
        high_risk({"n1": np.zeros(3)}, {})


def test_a_cut_off_cannot_be_chosen_from_one_class():
    with pytest.raises(UnusableScores, match="0 negative"):
        youden_cutoff(*arrays([1, 1], [1, 2]))


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
