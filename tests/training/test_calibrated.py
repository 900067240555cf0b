"""From margins to a task of the card: calibration, cut-off and sets of answers."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit

from inference.card import AnswerSets, Calibration, CalibrationMethod, Possible, Task
from inference.codec import decode, encode
from training.calibrated import (
    Scored,
    answer_sets,
    calibrated,
    chosen_calibration,
    coverage_on,
    probabilities,
    share_seen,
)
from training.recipe import FitRecipe, Optimiser, Risk, TaskRecipe
from training.statistics import confusion, youden_cutoff
from training.statistics.recalibration import centred_isotonic

ASKED = TaskRecipe(
    name="occult_n1",
    meaning="Occult N1 metastasis",
    risk=Risk(
        intercept=0,
        uptake=1,
        heterogeneity=0,
        solidity=0,
        spiculation=0,
        texture=0,
        size=0,
    ),
)


def drawn(seed, probability, cases=2000):
    """Margins evenly from -4 to 4, labels with the probability that a function gives them."""
    rng = np.random.default_rng(seed)
    margins = rng.uniform(-4, 4, cases)
    return Scored(labels=rng.random(cases) < probability(margins), margins=margins)


def test_scores_that_are_right_but_for_the_prevalence_need_one_number():
    """Shown half and half where a tenth of the odds are true: log(1/10) is to be added."""
    cases = drawn(1, lambda m: expit(m - np.log(10)), cases=20_000)
    seen = float(expit(np.log(10) + np.log(cases.labels.mean() / (1 - cases.labels.mean()))))

    found = chosen_calibration(cases, seen=seen)

    assert found.method is CalibrationMethod.PRIOR_SHIFT
    assert found.slope == 1
    assert found.intercept == pytest.approx(-np.log(10), abs=1e-5)


def test_timid_scores_need_a_slope():
    """The focal loss leaves logits too near to nought: here half of what they should be."""
    found = chosen_calibration(drawn(2, lambda m: expit(2 * m - 1)), seen=0.5)

    assert found.method is CalibrationMethod.PLATT
    assert found.slope == pytest.approx(2, rel=0.15)


def test_scores_that_bend_need_a_curve():
    """No sigmoid climbs to a half, rests there, and climbs on."""
    found = chosen_calibration(drawn(3, lambda m: np.where(abs(m) < 2, 0.5, m > 0)), seen=0.5)

    assert found.method is CalibrationMethod.ISOTONIC
    assert found.probability(0.0) == pytest.approx(0.5, abs=0.05)
    assert found.probability(-3.0) < 0.05
    assert found.probability(3.0) > 0.95


def test_with_few_cases_there_is_nothing_to_choose_by():
    cases = Scored(labels=np.array([0, 0, 1, 1], bool), margins=np.array([-1.0, 0.5, 0.2, 2]))

    assert chosen_calibration(cases, seen=0.5).method is CalibrationMethod.PLATT


@pytest.mark.parametrize("cut", [-1.0, 1.0])
def test_few_cases_that_are_parted_perfectly_still_have_a_cutoff_on_the_card(cut):
    """Their curve is all but a step at 0, so that a cut-off of -1 or 1 lies at its ends."""
    labels = np.array([0, 0, 1, 1], bool)
    apart = Scored(labels=labels, margins=np.array([-0.2, -0.1, 0.1, 0.2]))
    training = Scored(labels=labels, margins=np.array([cut - 1, cut - 1e-9, cut + 1e-9, cut + 1]))

    task = calibrated(ASKED, training, apart, seen=0.5)

    assert 0 < task.cutoff < 1
    assert (task.cutoff > 0.5) == (cut > 0)


def test_the_centred_curve_by_hand():
    """Levels are 0 (at 0), 1/3 (at 1, 2, 3) and 1 (at 4 and 6): one knot each, in their middles."""
    labels = np.array([0, 1, 0, 0, 1, 1], bool)

    found = centred_isotonic(labels, np.array([0.0, 1, 2, 3, 4, 6]))

    assert found.scores == pytest.approx((0, 2, 5))
    assert found.probabilities == pytest.approx((1 / 12, 1 / 3, 11 / 12))


def test_a_card_reads_the_curve_off_as_straight_lines():
    calibration = Calibration(
        slope=1.0,
        intercept=0.0,
        method=CalibrationMethod.ISOTONIC,
        points=((0.0, 0.1), (2.0, 0.3), (5.0, 0.9)),
    )

    told = probabilities(calibration, np.array([-9.0, 0, 1, 2, 3, 5, 9]))

    assert told == pytest.approx([0.1, 0.1, 0.2, 0.3, 0.5, 0.9, 0.9])
    assert decode(Calibration, encode(calibration)) == calibration


@pytest.mark.parametrize(
    ("points", "told"),
    [
        ((), "needs points"),
        (((0.0, 0.5), (1.0, 0.5)), "must rise"),
        (((1.0, 0.4), (0.0, 0.5)), "must rise"),
        (((0.0, 0.0), (1.0, 0.5)), "between 0 and 1"),
    ],
)
def test_a_curve_that_does_not_rise_is_refused(points, told):
    with pytest.raises(ValueError, match=told):
        Calibration(slope=1.0, intercept=0.0, method=CalibrationMethod.ISOTONIC, points=points)


def test_a_calibration_from_before_there_was_a_choice_is_platts():
    found = decode(Calibration, {"slope": 2.0, "intercept": -1.0})

    assert found.method is CalibrationMethod.PLATT
    assert encode(found) == {"slope": 2.0, "intercept": -1.0}


@pytest.mark.parametrize(
    "truth",
    [lambda m: expit(2 * m - 1), lambda m: np.where(abs(m) < 2, 0.4, m > 0)],
    ids=["sigmoid", "stairs"],
)
def test_calls_are_those_of_the_cutoff_on_margins_whatever_the_calibration(truth):
    """The cut-off is found on training margins; carried over, it parts the same cases."""
    training, validation, test = (drawn(seed, truth) for seed in (4, 5, 6))

    task = calibrated(ASKED, training, validation, seen=0.5)

    on_margins = youden_cutoff(training.labels, training.margins)
    told = probabilities(task.calibration, test.margins)
    by_margin = confusion(test.labels, test.margins, on_margins)
    by_card = confusion(test.labels, told, task.cutoff)
    parted = abs(by_margin.true_positives - by_card.true_positives)
    assert parted <= 1  # the card rounds the cut-off to six decimals


def test_the_test_set_changes_nothing_in_the_task():
    """Cut-off from training alone, calibration and sets from validation alone."""
    training, validation = (drawn(seed, expit, cases=400) for seed in (7, 8))
    task = calibrated(ASKED, training, validation, seen=0.5)

    other_training = replace(training, margins=training.margins + 1)
    moved = calibrated(ASKED, other_training, validation, seen=0.5)

    assert (moved.calibration, moved.answers) == (task.calibration, task.answers)
    assert moved.cutoff > task.cutoff


def test_sets_keep_their_promise_on_new_cases():
    """900 of 1000 a class, within three standard errors of calibration and test together."""
    training, validation, test = (drawn(seed, expit, cases=4000) for seed in (9, 10, 11))
    task = calibrated(ASKED, training, validation, seen=0.5)

    found = coverage_on(task, test)

    assert found is not None
    error = (0.9 * 0.1 * 2 / 2000) ** 0.5
    assert found.of_positives == pytest.approx(0.9, abs=3 * error)
    assert found.of_negatives == pytest.approx(0.9, abs=3 * error)
    assert 0 < found.unsure < 1


def test_sets_by_hand():
    """Of nine cases a class 90 % need all nine: the least positive and the greatest negative."""
    labels = np.repeat([True, False], 9)
    told = np.concatenate([np.linspace(0.3, 0.9, 9), np.linspace(0.1, 0.6, 9)])

    found = answer_sets(labels, told)

    assert found == AnswerSets(
        coverage=0.9, positive_from=0.3, negative_to=0.6, positives=9, negatives=9
    )
    assert [found.possible(p) for p in (0.29, 0.3, 0.6, 0.61)] == [
        Possible.NEGATIVE,
        Possible.BOTH,
        Possible.BOTH,
        Possible.POSITIVE,
    ]


def test_sets_that_do_not_meet_leave_neither_answer_between_them():
    sets = AnswerSets(coverage=0.9, positive_from=0.7, negative_to=0.2, positives=9, negatives=9)

    assert sets.possible(0.5) is Possible.NEITHER


def test_too_few_cases_promise_nothing_and_so_nothing_is_held_to_it():
    labels = np.repeat([True, False], 8)
    cases = Scored(labels=labels, margins=np.linspace(2, -2, 16))

    task = calibrated(ASKED, cases, cases, seen=0.5)

    assert answer_sets(labels, np.linspace(0.1, 0.9, 16)) is None
    assert task.answers is None
    assert coverage_on(task, cases) is None


def test_a_task_without_sets_is_spelt_as_before_there_were_any():
    """Else the digest of every bundle that was ever made would change."""
    cases = Scored(labels=np.repeat([True, False], 8), margins=np.linspace(2, -2, 16))
    calibration = Calibration(slope=2.0, intercept=-1.0)
    task = replace(calibrated(ASKED, cases, cases, seen=0.5), calibration=calibration)

    told = encode(task)

    assert "answers" not in told
    assert told["calibration"] == {"slope": 2.0, "intercept": -1.0}
    assert decode(Task, told) == task


@pytest.mark.parametrize(
    ("share", "weight", "seen"), [(None, 1.0, 0.25), (0.5, 1.0, 0.5), (0.5, 3.0, 0.75)]
)
def test_what_the_loss_counted_is_the_share_that_was_seen(share, weight, seen):
    fit = FitRecipe(
        optimiser=Optimiser.ADAMW,
        epochs=1,
        patience=1,
        batch=2,
        learning_rate=0.1,
        momentum=0.9,
        weight_decay=0.0,
        warm_up_epochs=0,
        gradient_norm=1.0,
        focal_gamma=0.0,
        auxiliary_weight=0.0,
        positive_share=share,
        positive_weight=weight,
    )

    assert share_seen(fit, np.array([True, False, False, False])) == pytest.approx(seen)
