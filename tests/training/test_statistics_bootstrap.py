"""Draws of patients, and statistics of cases that count more than once."""

import numpy as np
import pytest
from scipy.special import logit
from scipy.stats import bootstrap as scipy_bootstrap
from scipy.stats import t as student
from sklearn import metrics

from training.statistics import weighted
from training.statistics.bootstrap import Resampling, Sample, bootstrap, independent, jackknife
from training.statistics.operating_point import count
from training.statistics.values import UnusableScores


@pytest.fixture
def cases():
    rng = np.random.default_rng(0)
    labels = np.arange(40) < 12
    return labels, np.round(rng.normal(size=40) + labels, 1)


def drawn(sample):
    return np.concatenate(list(sample.draws()))


def test_a_draw_keeps_the_classes_and_is_the_same_for_the_same_seed(cases):
    labels, _ = cases
    sample = independent(labels, Resampling(replicates=300, seed=7))

    weights = drawn(sample)

    assert weights.shape == (300, 40)
    assert np.all(weights[:, labels].sum(axis=1) == 12)
    assert np.all(weights[:, ~labels].sum(axis=1) == 28)
    assert np.array_equal(weights, drawn(sample))
    assert not np.array_equal(weights, drawn(independent(labels, Resampling(replicates=300))))


def test_a_patient_is_drawn_with_all_cases():
    """Patients 0 and 1 have a positive case, 2 to 4 have none: as many of both in each draw."""
    labels = np.array([1, 0, 1, 0, 0, 0, 0, 0], dtype=bool)
    patients = np.array([0, 0, 1, 2, 2, 3, 4, 4])

    weights = drawn(Sample(labels=labels, patients=patients, resampling=Resampling(replicates=200)))

    assert np.all(weights[:, 0] == weights[:, 1])
    assert np.all(weights[:, 3] == weights[:, 4])
    assert np.all(weights[:, 0] + weights[:, 2] == 2)
    assert np.all(weights[:, 3] + weights[:, 5] + weights[:, 6] == 3)


def test_statistics_of_weights_are_those_of_cases_that_stand_there_as_often(cases):
    labels, scores = cases
    weights = drawn(independent(labels, Resampling(replicates=100)))
    statistics = {
        "auroc": weighted.auroc(labels, scores),
        "precision": weighted.average_precision(labels, scores),
        "rates": weighted.rates(labels, scores > 0.5),
        "means": weighted.means(scores[:, np.newaxis]),
    }
    found = {name: statistic(weights) for name, statistic in statistics.items()}

    for row, times in enumerate(weights.astype(int)):
        many, much = np.repeat(labels, times), np.repeat(scores, times)
        rates = count(many, much > 0.5).rates()
        assert found["auroc"][row, 0] == pytest.approx(metrics.roc_auc_score(many, much))
        assert found["precision"][row, 0] == pytest.approx(
            metrics.average_precision_score(many, much)
        )
        assert found["rates"][row] == pytest.approx([one.value for one in rates.values()])
        assert found["means"][row, 0] == pytest.approx(much.mean())


def test_class_means_are_added():
    """Positive 1, 3: mean 2; negative 10, 20, 60: mean 30."""
    labels = np.array([1, 1, 0, 0, 0], dtype=bool)
    statistic = weighted.class_means(labels, np.array([[1.0], [3], [10], [20], [60]]))

    assert statistic(np.ones((1, 5)))[0, 0] == 32


def test_the_interval_is_a_little_wider_than_that_of_scipy():
    """BCa of a mean of 300 exponentials, where Student's t and 300 / 299 widen it by 0.6 %."""
    values = np.random.default_rng(1).exponential(size=300)
    labels = np.repeat([True, False], 300)
    sample = independent(labels, Resampling(replicates=20_000))
    column = np.where(labels, np.concatenate([values, values]), 0.0)[:, np.newaxis]

    found = bootstrap(weighted.class_means(labels, column), sample)[0]

    expected = scipy_bootstrap(
        (values,), np.mean, n_resamples=20_000, rng=np.random.default_rng(2)
    ).confidence_interval
    assert found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(expected.low, abs=0.005)
    assert found.high == pytest.approx(expected.high, abs=0.005)


def test_the_jackknifes_interval_of_a_mean_is_students():
    """The textbook's: mean and t times s / sqrt n; the other class has no share in it."""
    values = np.random.default_rng(2).normal(size=12)
    labels = np.repeat([True, False], 12)
    column = np.where(labels, np.concatenate([values, values]), 0.0)[:, np.newaxis]
    reach = student.ppf(0.975, 11) * values.std(ddof=1) / np.sqrt(12)

    found = jackknife(weighted.class_means(labels, column), independent(labels, Resampling()))

    assert found.value == pytest.approx(values.mean())
    assert [found.low, found.high] == pytest.approx([found.value - reach, found.value + reach])


def test_a_share_has_its_interval_by_log_odds_and_none_at_the_ends(cases):
    labels, scores = cases
    sample = independent(labels, Resampling())

    found = jackknife(weighted.average_precision(labels, scores), sample, share=True)
    perfect = jackknife(
        weighted.average_precision(labels, labels.astype(float)), sample, share=True
    )

    assert 0 < found.low < found.value < found.high < 1
    assert logit(found.value) - logit(found.low) == pytest.approx(
        logit(found.high) - logit(found.value)
    )
    assert perfect.value == 1
    assert np.isnan([perfect.low, perfect.high]).all()


def test_an_undefined_number_has_no_bounds(cases):
    """None was called: PPV is no number, and neither are its bounds."""
    labels, _ = cases
    sample = independent(labels, Resampling(replicates=100))

    found = dict(
        zip(
            weighted.RATES,
            bootstrap(weighted.rates(labels, np.zeros(40, dtype=bool)), sample),
            strict=True,
        )
    )

    assert np.isnan([found["ppv"].value, found["ppv"].low, found["ppv"].high]).all()
    assert (found["specificity"].low, found["specificity"].high) == (1, 1)


def test_a_number_that_never_varies_has_itself_for_bounds():
    labels = np.arange(10) < 5
    sample = independent(labels, Resampling(replicates=100))

    found = bootstrap(weighted.auroc(labels, labels.astype(float)), sample)[0]

    assert (found.value, found.low, found.high) == (1, 1, 1)


def test_one_patient_of_a_class_cannot_be_drawn_from():
    with pytest.raises(UnusableScores, match="two patients of each class"):
        independent(np.array([True, False, False]), Resampling())


def test_too_few_replicates_are_refused():
    with pytest.raises(UnusableScores, match="100 replicates"):
        Resampling(replicates=20)
