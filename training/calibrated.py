"""Turns a network's margins into a task of the card: probabilities, cut-off and sets of answers."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from inference.card import AnswerSets, Calibration, CalibrationMethod, Coverage, Possible, Task
from training.conformal import conform
from training.recipe import FitRecipe, TaskRecipe
from training.statistics import platt, youden_cutoff
from training.statistics.recalibration import Recalibration, Way, centred_isotonic, choice_of
from training.statistics.values import Floats, Labels, UnusableScores, logit

COVERAGE = 0.9
"""What sets of answers promise for each class."""
Fit: TypeAlias = Callable[[Labels, Floats], Calibration]


@dataclass(frozen=True, kw_only=True, eq=False)
class Scored:
    """Cases of one part with what a network gave them: logit 1 - logit 0 of each."""

    labels: Labels
    margins: Floats


def calibrated(asked: TaskRecipe, training: Scored, validation: Scored, *, seen: float) -> Task:
    """Return the task with all that is fixed before the test set is looked at.

    Calibration is chosen on validation and fitted there; the cut-off is the greatest Youden index
    of the training scores, carried over to probabilities; sets of answers are conformal on
    validation, and absent where it has too few cases to promise ``COVERAGE``. ``seen`` is the share
    of positives that the network was shown (``share_seen``).
    """
    calibration = chosen_calibration(validation, seen=seen)
    cutoff = calibration.probability(youden_cutoff(training.labels, training.margins))
    return Task(
        name=asked.name,
        meaning=asked.meaning,
        onnx=f"{asked.name}.onnx",
        # Few cases that are parted perfectly have a cut-off of 0 or 1 to six digits.
        cutoff=min(max(round(cutoff, 6), 1e-6), 1 - 1e-6),
        calibration=calibration,
        answers=answer_sets(validation.labels, probabilities(calibration, validation.margins)),
    )


def chosen_calibration(cases: Scored, *, seen: float) -> Calibration:
    """Return the simplest of prior shift, Platt and isotonic that is not clearly beaten.

    By five-fold cross-validation, as ``training.statistics.recalibration`` says. With fewer than
    five cases of a class there is nothing to choose by, and Platt's two numbers are fitted.
    """
    fits: dict[CalibrationMethod, Fit] = {
        CalibrationMethod.PRIOR_SHIFT: lambda labels, _: _shifted(labels, seen=seen),
        CalibrationMethod.PLATT: platt,
        CalibrationMethod.ISOTONIC: _isotonic,
    }
    try:
        method, _ = choice_of(
            cases.labels, cases.margins, {str(name): _way(fit) for name, fit in fits.items()}
        )
    except UnusableScores:
        method = CalibrationMethod.PLATT
    return fits[CalibrationMethod(method)](cases.labels, cases.margins)


def answer_sets(labels: Labels, told: Floats) -> AnswerSets | None:
    """Return conformal sets on calibrated probabilities; None where there are too few cases.

    Bounds are rounded outwards, so that rounding takes no case out of its set.
    """
    try:
        found = conform(labels, told, coverage=COVERAGE)
    except UnusableScores:
        return None
    return AnswerSets(
        coverage=COVERAGE,
        positive_from=max(math.floor(found.positive_from * 1e6), 1) / 1e6,
        negative_to=min(math.ceil(found.negative_to * 1e6), 999_999) / 1e6,
        positives=found.positives,
        negatives=found.negatives,
    )


def coverage_on(task: Task, cases: Scored) -> Coverage | None:
    """Return what the task's sets do on cases that fixed none of them; None without sets."""
    if task.answers is None:
        return None
    told = probabilities(task.calibration, cases.margins)
    sets = np.asarray([task.answers.possible(one) for one in told])
    unsure = sets == Possible.BOTH
    shares = {
        "of_positives": ((sets == Possible.POSITIVE) | unsure)[cases.labels],
        "of_negatives": ((sets == Possible.NEGATIVE) | unsure)[~cases.labels],
        "unsure": unsure,
        "neither": sets == Possible.NEITHER,
    }
    return Coverage(
        task=task.name, **{name: round(float(some.mean()), 4) for name, some in shares.items()}
    )


def probabilities(calibration: Calibration, margins: Floats) -> Floats:
    """Return what serving tells for each margin."""
    told: Floats = np.asarray([calibration.probability(float(one)) for one in margins])
    return told


def share_seen(fit: FitRecipe, labels: Labels) -> float:
    """Return the share of positives as the loss counted them, ``labels`` being those of training.

    It is what cases were drawn at, or their prevalence where each came once, with the odds
    multiplied by the weight of a positive case.
    """
    drawn = float(labels.mean()) if fit.positive_share is None else fit.positive_share
    odds = drawn / (1.0 - drawn) * fit.positive_weight
    return odds / (1.0 + odds)


def _way(fit: Fit) -> Way:
    def fitted(labels: Labels, margins: Floats) -> Recalibration:
        calibration = fit(labels, margins)
        return lambda new: probabilities(calibration, new)

    return fitted


def _shifted(labels: Labels, *, seen: float) -> Calibration:
    """Move every logit from the prevalence that was seen to that of ``labels``."""
    true, before = logit(np.asarray([labels.mean(), seen]))
    return Calibration(
        slope=1.0,
        intercept=round(float(true - before), 6),
        method=CalibrationMethod.PRIOR_SHIFT,
    )


def _isotonic(labels: Labels, margins: Floats) -> Calibration:
    found = centred_isotonic(labels, margins)
    return Calibration(
        slope=1.0,
        intercept=0.0,
        method=CalibrationMethod.ISOTONIC,
        points=tuple(zip(found.scores, found.probabilities, strict=True)),
    )
