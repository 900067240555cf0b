"""AUROC, its tests and average precision, held against the literature and other programs."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from MLstatkit import Delong_test
from scipy.optimize import brentq
from scipy.special import logit
from scipy.stats import brunnermunzel, chi2
from scipy.stats import t as student
from sklearn import metrics

from training.statistics.discrimination import (
    auroc,
    auroc_difference,
    auroc_difference_reported,
    auroc_difference_unpaired,
    auroc_heterogeneity_p,
    auroc_interval,
    auroc_interval_logit,
    average_precision,
    delong,
)
from training.statistics.values import Interval, UnusableScores

OVARIAN = """
3.0 5.8 10 0  3.2 6.3 5 1  3.9 6.8 3 1  2.8 4.8 6 0  3.2 5.8 3 1  0.9 4.0 5 0  2.5 5.7 8 0
1.6 5.6  5 1  3.8 5.7 5 1  3.7 6.7 6 1  3.2 5.4 4 1  3.8 6.6 6 1  4.1 6.6 5 1  3.6 5.7 5 1
4.3 7.0  4 1  3.6 6.7 4 0  2.3 4.4 6 1  4.2 7.6 4 0  4.0 6.6 6 0  3.5 5.8 6 1  3.8 6.8 7 1
3.0 4.7  8 0  4.5 7.4 5 1  3.7 7.4 5 1  3.1 6.6 6 1  4.1 8.2 6 1  4.3 7.0 5 1  4.3 6.5 4 1
3.2 5.1  5 1  2.6 4.7 6 1  3.3 6.8 6 0  1.7 4.0 7 0  3.7 6.1 5 1  3.3 6.3 7 1  4.2 7.7 6 1
3.5 6.2  5 1  2.9 5.7 9 0  2.1 4.8 7 1  2.8 6.2 8 0  4.0 7.0 7 1  3.3 5.7 6 1  3.7 6.9 5 1
3.6 6.6  5 1
"""
"""Albumin, total protein, K-G score (low is good) and whether surgery helped: the patients of
DeLong, DeLong and Clarke-Pearson (1988) without missing values, as SAS/STAT prints them."""


@pytest.fixture(scope="module")
def ovarian():
    albumin, protein, kg, helped = np.array(OVARIAN.split(), dtype=float).reshape(-1, 4).T
    return helped > 0, {"albumin": albumin, "protein": protein, "kg": -kg}


def drawn(seed, cases=80, *, ties=False):
    rng = np.random.default_rng(seed)
    labels = np.arange(cases) < cases // 3
    scores = rng.normal(size=(2, cases)) + labels * np.array([[1.5], [0.7]])
    return labels, np.round(scores, 0 if ties else 9)


@pytest.mark.parametrize(
    ("test", "area", "error", "low", "high"),
    [
        ("albumin", 0.7366, 0.0927, 0.5549, 0.9182),
        ("kg", 0.7258, 0.1028, 0.5243, 0.9273),
        ("protein", 0.6478, 0.1000, 0.4518, 0.8439),
    ],
)
def test_areas_of_delongs_own_patients_are_those_that_sas_prints(
    ovarian, test, area, error, low, high
):
    """PROC LOGISTIC, example "Comparing Receiver Operating Characteristic Curves"."""
    labels, scores = ovarian

    found = auroc_interval(labels, scores[test])

    assert [found.value, found.low, found.high] == pytest.approx([area, low, high], abs=5e-5)
    assert np.sqrt(delong(labels, scores[test][np.newaxis])[1][0, 0]) == pytest.approx(
        error, abs=5e-5
    )


def test_differences_of_delongs_own_patients_are_those_that_sas_prints(ovarian):
    """Contrasts with the K-G score: 0.0108 (p 0.9102) and -0.0780 (p 0.4561)."""
    labels, scores = ovarian

    albumin = auroc_difference(labels, scores["albumin"], scores["kg"])
    protein = auroc_difference(labels, scores["protein"], scores["kg"])

    assert list(vars(albumin).values()) == pytest.approx(
        [0.0108, -0.1761, 0.1976, 0.9102], abs=5e-5
    )
    assert list(vars(protein).values()) == pytest.approx(
        [-0.0780, -0.2830, 0.1271, 0.4561], abs=5e-5
    )


def test_the_joint_contrast_of_delongs_own_patients_is_that_of_sas(ovarian):
    """Chi-square 2.5340 with two degrees of freedom, p 0.2817: the whole covariance counts."""
    labels, scores = ovarian
    values, covariance = delong(labels, np.stack(list(scores.values())))
    contrast = np.array([[1, 0, -1], [0, 1, -1]])
    apart = contrast @ values

    found = apart @ np.linalg.solve(contrast @ covariance @ contrast.T, apart)

    assert found == pytest.approx(2.5340, abs=5e-5)
    assert chi2.sf(found, 2) == pytest.approx(0.2817, abs=5e-5)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_delong_is_that_of_mlstatkit(seed, ties):
    labels, (first, second) = drawn(seed, ties=ties)
    _, p, low_high, _, area, _, told = Delong_test(labels.astype(int), first, second)

    found, interval = auroc_difference(labels, first, second), auroc_interval(labels, first)

    assert told["method"] == "delong"
    assert found.p == pytest.approx(p, abs=1e-9)
    assert [interval.value, interval.low, interval.high] == pytest.approx(
        [area, *low_high], abs=1e-9
    )


def test_delong_is_the_covariance_of_all_pairs():
    """The definition, by two loops: psi of each pair, its means by row and by column."""
    labels, scores = drawn(3, cases=24, ties=True)
    values, covariance = delong(labels, scores)

    psi = np.array(
        [
            [[(x > y) + 0.5 * (x == y) for y in some[~labels]] for x in some[labels]]
            for some in scores
        ]
    )
    expected = np.cov(psi.mean(axis=2)) / psi.shape[1] + np.cov(psi.mean(axis=1)) / psi.shape[2]

    assert values == pytest.approx(psi.mean(axis=(1, 2)))
    assert covariance == pytest.approx(expected)


def test_scores_of_different_cases_differ_with_the_sum_of_their_variances():
    first, second = drawn(1), drawn(2)
    one = (first[0], first[1][0])
    two = (second[0], second[1][1])

    found = auroc_difference_unpaired(one, two)

    variances = [delong(labels, scores[np.newaxis])[1][0, 0] for labels, scores in (one, two)]
    assert found.value == pytest.approx(auroc(*one) - auroc(*two))
    assert (found.high - found.low) / 2 == pytest.approx(1.959964 * np.sqrt(sum(variances)))


def test_two_samples_are_as_heterogeneous_as_they_differ():
    """Cochran's Q of two is the square of their z, so that p is the same."""
    first, second = drawn(1), drawn(2)
    one, two = (first[0], first[1][0]), (second[0], second[1][1])

    p = auroc_heterogeneity_p([(*one, None), (*two, None)])

    assert p == pytest.approx(auroc_difference_unpaired(one, two).p)


def test_patients_with_one_case_each_change_nothing():
    labels, scores = drawn(4, ties=True)

    plain, by_patients = delong(labels, scores), delong(labels, scores, np.arange(80))

    assert by_patients[0] == pytest.approx(plain[0])
    assert by_patients[1] == pytest.approx(plain[1])


def test_a_case_that_stands_there_three_times_tells_nothing_new():
    """Three copies of each patient: the variance of one each, but for the m of m - 1."""
    labels, scores = drawn(5)
    patients = np.repeat(np.arange(80), 3)

    _, once = delong(labels, scores)
    _, thrice = delong(np.repeat(labels, 3), np.repeat(scores, 3, axis=1), patients)

    assert thrice == pytest.approx(once)


def test_a_patient_may_have_cases_of_both_classes():
    """Obuchowski 1997 by hand. Placements less 0.75: positives .25, -.25; negatives -.25, .25.

    Patient 0 has the positive of 1.0 (4 beats 3 and 1) and the negative of 1 - 1/2 (3 loses one of
    two): the variance of 0.125 is joined by 2 * 2 (of 2 - 1) * (.25 * -.25) * 2 / (2 * 2) = -0.125.
    """
    labels = np.array([True, True, False, False])
    scores = np.array([[4.0, 2.0, 3.0, 1.0]])

    _, covariance = delong(labels, scores, np.array([0, 1, 0, 1]))

    assert covariance[0, 0] == pytest.approx(0.125 - 0.125)


def test_the_area_is_that_of_the_example_of_hanley_and_mcneil():
    """Radiology 1982;143:29-36, table I: 109 CTs rated 1 to 5, area 0.893."""
    normal, abnormal = [33, 6, 6, 11, 2], [3, 2, 2, 11, 33]
    ratings = np.concatenate([np.repeat(np.arange(1.0, 6), some) for some in (normal, abnormal)])

    assert auroc(np.arange(109) >= 58, ratings) == pytest.approx(0.893, abs=5e-4)


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 9)), min_size=4, max_size=60).filter(
        lambda pairs: 1 <= sum(label for label, _ in pairs) <= len(pairs) - 1
    )
)
def test_average_precision_is_that_of_scikit_learn(pairs):
    labels, scores = (np.array(some) for some in zip(*pairs, strict=True))

    found = average_precision(labels, scores.astype(float))

    assert found == pytest.approx(metrics.average_precision_score(labels, scores))


def test_the_interval_by_log_odds_has_the_freedom_of_brunner_and_munzel():
    """SciPy's test of AUROC 0.5 has the same variance and freedom, so its p says how wide it is."""
    labels, (scores, _) = drawn(7, cases=30, ties=True)
    value, (variance,) = auroc(labels, scores), delong(labels, scores[np.newaxis])[1][0]
    rival = brunnermunzel(scores[~labels], scores[labels])

    found = auroc_interval_logit(labels, scores)

    t = (logit(found.high) - logit(value)) * value * (1 - value) / np.sqrt(variance)
    freedom = brentq(lambda free: 2 * student.sf(abs(rival.statistic), free) - rival.pvalue, 2, 99)
    assert student.sf(t, freedom) == pytest.approx(0.025, abs=1e-6)
    assert logit(value) - logit(found.low) == pytest.approx(logit(found.high) - logit(value))
    assert found == auroc_interval_logit(labels, scores, np.arange(30))


def test_where_all_are_in_order_no_bound_is_known():
    labels = np.arange(10) < 5

    found = auroc_interval_logit(labels, labels.astype(float))

    assert found.value == 1
    assert np.isnan([found.low, found.high]).all()


def test_average_precision_of_binary_calls_draws_no_straight_line():
    """116 of 999 positive; 50 of them called, and 80 others: 50/116 * 50/130 + 66/116 * 116/999.

    A line from (0, 1) over (recall .43, precision .38) would give about .46.
    """
    labels = np.arange(999) < 116
    calls = np.where(labels, np.arange(999) < 50, np.arange(999) < 116 + 80).astype(float)

    found = average_precision(labels, calls)

    assert found == pytest.approx(50 / 116 * 50 / 130 + 66 / 116 * 116 / 999)
    assert found < 0.24


def test_equal_orders_do_not_differ_and_opposite_ones_surely_do():
    labels = np.arange(10) < 5
    perfect = np.where(labels, 2.0, 1.0)

    assert auroc_difference(labels, perfect, perfect * 3).p == 1
    assert auroc_difference(labels, perfect, -perfect).p == 0
    assert auroc_difference(labels, perfect, -perfect).value == 1


@pytest.mark.parametrize(
    ("labels", "scores", "reason"),
    [
        ([1, 1, 0, 0], [1, 2, np.nan, 4], "1 scores are missing"),
        ([1, 1, 0, 0], [1, 2, 3, np.inf], "1 scores are missing"),
        ([1, 1, 0, 0], [1, 2, 3], "3 scores do not match 4 labels"),
        ([1, 1, 1, 1], [1, 2, 3, 4], "4 positive, 0 negative"),
        ([1, 0, 0, 0], [1, 2, 3, 4], "1 positive, 3 negative"),
    ],
)
def test_what_cannot_be_judged_is_refused_in_words(labels, scores, reason):
    with pytest.raises(UnusableScores, match=reason):
        auroc_interval(np.array(labels, dtype=bool), np.array(scores, dtype=float))


def test_one_patient_alone_has_no_variance():
    labels = np.array([True, True, False, False])

    with pytest.raises(UnusableScores, match="two patients"):
        auroc_interval(labels, np.array([4.0, 2, 3, 1]), np.array([0, 0, 1, 2]))


def test_an_area_without_variance_cannot_be_weighed():
    labels = np.array([True, True, False, False])
    sample = (labels, np.array([4.0, 3, 2, 1]), None)

    with pytest.raises(UnusableScores, match="weighed"):
        auroc_heterogeneity_p([sample, sample])


def test_the_difference_from_a_reported_auroc_is_that_of_its_scores():
    """What a card holds of a test set is enough for DeLong's test against other cases."""
    rng = np.random.default_rng(3)
    labels = np.arange(80) < 30
    ours, theirs = (rng.normal(size=80) + apart * labels for apart in (0.5, 1.0))

    told = auroc_difference_reported((labels, ours), auroc_interval(labels, theirs))
    full = auroc_difference_unpaired((labels, ours), (labels, theirs))

    assert vars(told) == pytest.approx(vars(full))


def test_a_reported_interval_that_was_cut_off_at_one_is_read_from_its_other_half():
    """0.9, from 0.8 on: an error of 0.1 / 1.96 beside that of these cases."""
    rng = np.random.default_rng(3)
    labels = np.arange(80) < 30
    scores = rng.normal(size=80) + labels
    mine = auroc_interval(labels, scores)

    told = auroc_difference_reported(
        (labels, scores), Interval(value=0.9, low=0.8, high=0.9 + 0.05)
    )

    assert told.value == pytest.approx(mine.value - 0.9)
    assert told.high - told.value == pytest.approx(math.hypot(mine.high - mine.value, 0.1))
