"""Readers, subgroups and features."""

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.inter_rater import cohens_kappa

from training.statistics.bootstrap import Resampling, Sample, independent
from training.statistics.correlation import correlations, top
from training.statistics.discrimination import auroc_difference, auroc_interval_logit
from training.statistics.operating_point import count
from training.statistics.readers import (
    agreement,
    compare_reader,
    kappa,
    mcnemar_p,
    mean_of_readers,
)
from training.statistics.subgroups import subgroup_analysis
from training.statistics.values import UnusableScores

FEW = Resampling(replicates=200)


@pytest.fixture(scope="module")
def read():
    """120 cases, a model's scores, and the calls of two readers."""
    rng = np.random.default_rng(0)
    labels = np.arange(120) < 40
    scores = rng.normal(size=120) + 1.5 * labels
    calls = {
        name: rng.random(120) < np.where(labels, hit, alarm)
        for name, hit, alarm in (("senior/a", 0.7, 0.2), ("senior/b", 0.6, 0.3))
    }
    return independent(labels, FEW), scores, calls


def test_a_readers_area_is_half_of_sensitivity_and_specificity(read):
    sample, scores, calls = read
    mine = calls["senior/a"]

    found = compare_reader(sample, mine, scores, cutoff=0.7)

    counts = count(sample.labels, mine)
    assert found.counts == counts
    assert found.rates == counts.rates()
    assert found.auroc.value == pytest.approx((counts.sensitivity + counts.specificity) / 2)
    assert found.auroc_of_model_minus_reader == auroc_difference(
        sample.labels, scores, mine.astype(float)
    )
    assert found.sensitivity_p == mcnemar_p((scores > 0.7)[:40], mine[:40])
    assert found.specificity_p == mcnemar_p((scores > 0.7)[40:], mine[40:])


def test_mcnemar_is_that_of_statsmodels(read):
    _, scores, calls = read
    one, other = scores > 0.5, calls["senior/b"]
    table = [[np.sum((one == a) & (other == b)) for b in (True, False)] for a in (True, False)]

    assert mcnemar_p(one, other) == pytest.approx(mcnemar(table, exact=True).pvalue)
    assert mcnemar_p(one, one) == 1


def test_mcnemar_by_hand():
    """Six cases called by the first alone, none by the second alone: 2 / 2 ** 6."""
    first = np.arange(20) < 10

    assert mcnemar_p(first, np.arange(20) < 4) == pytest.approx(2 / 2**6)


def test_kappa_is_that_of_scikit_learn_and_statsmodels(read):
    _, _, calls = read
    one, other = calls["senior/a"], calls["senior/b"]
    table = [[np.sum((one == a) & (other == b)) for b in (False, True)] for a in (False, True)]
    rival = cohens_kappa(table)

    found = kappa(one, other)

    assert found.value == pytest.approx(cohen_kappa_score(one, other))
    assert [found.low, found.high] == pytest.approx([rival.kappa_low, rival.kappa_upp])
    assert agreement(calls) == {("senior/a", "senior/b"): found}


def test_readers_who_both_call_all_agree_without_telling_anything():
    everyone = np.ones(10, dtype=bool)

    assert np.isnan(kappa(everyone, everyone).value)


def test_the_mean_of_readers_is_that_of_their_rates(read):
    sample, _, calls = read
    each = [count(sample.labels, some).rates() for some in calls.values()]

    found = mean_of_readers(sample, calls)

    for name, one in found.items():
        assert one.value == pytest.approx(np.mean([rates[name].value for rates in each]))
        assert one.low < one.value < one.high
    with pytest.raises(UnusableScores, match="no readers"):
        mean_of_readers(sample, {})


def test_a_patients_cases_are_not_taken_for_independent(read):
    """Two copies of each case: bootstrap instead of exact intervals, and no McNemar."""
    sample, scores, calls = read
    twice = Sample(
        labels=np.repeat(sample.labels, 2),
        patients=np.repeat(sample.patients, 2),
        resampling=FEW,
    )
    mine, much = np.repeat(calls["senior/a"], 2), np.repeat(scores, 2)
    once = compare_reader(sample, calls["senior/a"], scores, cutoff=0.7)

    found = compare_reader(twice, mine, much, cutoff=0.7)

    exact = count(twice.labels, mine).rates()["specificity"]
    assert found.sensitivity_p is found.specificity_p is None
    assert found.rates["specificity"].low < exact.low
    assert found.auroc.low == pytest.approx(once.auroc.low)


def test_subgroups_are_judged_by_themselves(read):
    sample, scores, _ = read
    groups = np.where(np.arange(120) % 2 == 0, "f", "m")
    women = groups == "f"

    found = subgroup_analysis(sample, scores, groups, cutoff=0.7)

    part = found.parts["f"]
    assert (part.cases, part.positives) == (60, 20)
    assert part.auroc == auroc_interval_logit(sample.labels[women], scores[women])
    assert part.counts == count(sample.labels[women], scores[women] > 0.7)
    assert part.rates == part.counts.rates()
    assert 0 < found.heterogeneity_p < 1


def test_a_subgroup_without_both_classes_has_counts_alone(read):
    """Among the first 40, all positive, there is no AUROC; the rest has one, and no rival."""
    sample, scores, _ = read
    groups = np.array(["early"] * 40 + ["late"] * 70 + [""] * 10)
    groups[38:40] = "late"

    found = subgroup_analysis(sample, scores, groups, cutoff=None)

    assert list(found.parts) == ["early", "late"]
    assert found.parts["early"].auroc is None
    assert found.parts["early"].counts is found.parts["early"].rates is None
    assert found.parts["late"].auroc is not None
    assert found.heterogeneity_p is None


def test_a_subgroup_in_perfect_order_cannot_be_weighed():
    labels = np.tile([True, True, False, False], 2)
    scores = np.array([4.0, 3, 2, 1, 4, 1, 3, 2])
    groups = np.repeat(["a", "b"], 4)

    found = subgroup_analysis(independent(labels, FEW), scores, groups, cutoff=None)

    assert found.parts["a"].auroc.value == 1
    assert found.heterogeneity_p is None


def test_subgroups_of_other_cases_are_refused(read):
    sample, scores, _ = read

    with pytest.raises(UnusableScores, match="3 groups"):
        subgroup_analysis(sample, scores, np.array(["a", "b", "c"]), cutoff=None)


def test_features_stand_by_strength_and_p_is_adjusted_for_all():
    rng = np.random.default_rng(1)
    scores = rng.normal(size=200)
    features = {f"noise {n}": rng.normal(size=200) for n in range(18)}
    features["strong"] = -scores + rng.normal(size=200) * 0.1
    features["constant"] = np.ones(200)
    features["sparse"] = np.where(np.arange(200) < 100, scores, np.nan)

    found = top(scores, features)

    assert [row.feature for row in found[:2]] == ["sparse", "strong"]
    assert (found[0].rho.value, found[0].cases) == (pytest.approx(1), 100)
    assert found[1].rho.value == pytest.approx(spearmanr(scores, features["strong"]).statistic)
    assert found[1].rho.low < found[1].rho.value < found[1].rho.high < 0
    assert len(found) == 10
    assert all(row.q >= row.p for row in found)
    assert correlations(scores, features)[-1].feature == "constant"
    assert np.isnan(correlations(scores, features)[-1].q)


def test_a_feature_of_other_cases_is_refused():
    with pytest.raises(UnusableScores, match="3 values"):
        correlations(np.zeros(4), {"a": np.zeros(3)})
