"""Survival, held against the trial that every textbook computes and against statsmodels."""

import numpy as np
import pytest
from lifelines.datasets import load_leukemia
from statsmodels.duration.hazard_regression import PHReg
from statsmodels.duration.survfunc import survdiff

from training.statistics.survival import FollowUp, concordance, cox, kaplan_meier, log_rank_p
from training.statistics.values import UnusableScores


@pytest.fixture(scope="module")
def leukemia():
    """Freireich 1963: weeks in remission of 21 children on 6-MP and 21 on placebo."""
    table = load_leukemia()
    follow_up = FollowUp(times=table["t"].to_numpy(float), events=table["status"].to_numpy() > 0)
    return follow_up, table["Rx"].to_numpy() > 0


@pytest.fixture(scope="module")
def drawn():
    """200 cases with ties in time, two covariates."""
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=200), (rng.random(200) < 0.4).astype(float)
    death = rng.exponential(5 * np.exp(-0.7 * first - 0.5 * second))
    end = rng.uniform(1, 8, 200)
    times = np.ceil(4 * np.minimum(death, end)) / 4
    return FollowUp(times=times, events=death <= end), {"first": first, "second": second}


def test_remission_on_6mp_is_that_of_the_textbooks(leukemia):
    """Kaplan-Meier at 6, 7, 10, 13, 16, 22 and 23 weeks; median 23."""
    follow_up, placebo = leukemia

    found = kaplan_meier(follow_up.of(~placebo), [5, 6, 7, 10, 13, 16, 22, 23])

    assert [one.value for one in found.survival.values()] == pytest.approx(
        [1, 0.857, 0.807, 0.753, 0.690, 0.627, 0.538, 0.448], abs=5e-4
    )
    assert (found.cases, found.events, found.median) == (21, 9, 23)


def test_log_log_bounds_are_greenwoods():
    """Four cases, deaths at 1, 2, 3: at 2 half survive, and the sum of d / n(n - d) is 1/12 + 1/6.

    log(-log) has the SE of sqrt(1/4) / log 2; the bounds are 0.5 to the power of exp(-+1.96 SE).
    """
    follow_up = FollowUp(times=np.array([1.0, 2, 3, 4]), events=np.array([True, True, True, False]))
    error = np.sqrt(1 / 12 + 1 / 6) / np.log(2)

    found = kaplan_meier(follow_up, [2.0]).survival[2.0]

    assert found.value == pytest.approx(0.5)
    assert found.low == pytest.approx(0.5 ** np.exp(1.959964 * error))
    assert found.high == pytest.approx(0.5 ** np.exp(-1.959964 * error))


def test_log_rank_is_that_of_the_textbooks(leukemia):
    """Chi-square 16.79 with one degree of freedom: p 4.17e-5."""
    follow_up, placebo = leukemia

    assert log_rank_p(follow_up, placebo.astype(str)) == pytest.approx(4.17e-5, rel=2e-3)


def test_the_hazard_ratio_is_that_of_the_textbooks(leukemia):
    """Cox with Efron's ties: coefficient 1.572, SE 0.412, hazard ratio 4.82 (2.15 to 10.81)."""
    follow_up, placebo = leukemia

    found = cox(follow_up, {"placebo": placebo.astype(float)})["placebo"]

    assert [found.ratio.value, found.ratio.low, found.ratio.high] == pytest.approx(
        [4.82, 2.15, 10.81], abs=6e-3
    )
    assert found.proportional_p > 0.5


def test_cox_is_that_of_statsmodels(drawn):
    follow_up, covariates = drawn
    design = np.stack(list(covariates.values()), axis=1)
    rival = PHReg(follow_up.times, design, status=follow_up.events.astype(int), ties="efron").fit()

    found = cox(follow_up, covariates)

    assert [one.ratio.value for one in found.values()] == pytest.approx(
        np.exp(rival.params), rel=1e-5
    )
    assert [one.ratio.low for one in found.values()] == pytest.approx(
        np.exp(rival.conf_int()[:, 0]), rel=1e-4
    )
    assert [one.p for one in found.values()] == pytest.approx(rival.pvalues, rel=1e-3)


def test_a_covariate_may_be_called_time(drawn):
    follow_up, covariates = drawn

    named = cox(follow_up, {"time": covariates["first"], "event": covariates["second"]})

    assert list(named.values()) == list(cox(follow_up, covariates).values())


def test_log_rank_of_three_groups_is_that_of_statsmodels(drawn):
    follow_up, covariates = drawn
    groups = np.digitize(covariates["first"], [-0.5, 0.5]).astype(str)

    _, p = survdiff(follow_up.times, follow_up.events, groups)

    assert log_rank_p(follow_up, groups) == pytest.approx(p)


def test_concordance_counts_pairs():
    """Times 1, 2, 3, the second censored: 1-2 and 1-3 can be ordered; risks 3, 1, 4: 1 of 2."""
    follow_up = FollowUp(times=np.array([1.0, 2, 3]), events=np.array([True, False, True]))

    assert concordance(follow_up, np.array([3.0, 1, 4])) == 0.5


def test_concordance_of_cases_of_which_no_pair_can_be_ordered_is_not_known():
    watched = FollowUp(times=np.array([1.0, 2, 3]), events=np.zeros(3, dtype=bool))

    assert np.isnan(concordance(watched, np.array([3.0, 1, 4])))


def test_after_the_last_case_nothing_is_known_unless_all_have_died():
    times = np.array([1.0, 2, 3])
    watched = FollowUp(times=times, events=np.array([True, True, False]))
    gone = FollowUp(times=times, events=np.array([True, True, True]))

    assert np.isnan(kaplan_meier(watched, [4]).survival[4].value)
    assert kaplan_meier(watched, [0, 3]).survival[3].value == pytest.approx(1 / 3)
    assert kaplan_meier(watched, [0]).survival[0].value == 1
    assert kaplan_meier(gone, [4]).survival[4].value == 0
    assert np.isinf(kaplan_meier(watched.of(np.array([False, False, True])), [1]).median)


@pytest.mark.parametrize(
    ("times", "events", "reason"),
    [([1, 2], [1], "2 times for 1"), ([1, -2], [1, 1], "negative"), ([1, np.nan], [1, 1], "known")],
)
def test_follow_up_must_be_known(times, events, reason):
    with pytest.raises(UnusableScores, match=reason):
        FollowUp(times=np.array(times, float), events=np.array(events, bool))


def test_what_has_no_hazard_ratio_is_refused():
    follow_up = FollowUp(times=np.arange(1.0, 21), events=np.arange(20) < 10)
    separated = (np.arange(20) < 10).astype(float)

    with pytest.raises(UnusableScores, match="same in all cases"):
        cox(follow_up, {"one": np.ones(20)})
    with pytest.raises(UnusableScores, match="no end"):
        cox(follow_up, {"separated": separated})
    with pytest.raises(UnusableScores, match="two groups"):
        log_rank_p(follow_up, np.array(["a"] * 20))
    with pytest.raises(UnusableScores, match="needs cases"):
        kaplan_meier(follow_up.of(np.zeros(20, dtype=bool)), [1])
