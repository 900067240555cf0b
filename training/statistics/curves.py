"""The curves that a figure shows, point by point, and how sure they are.

B. Efron, R. J. Tibshirani. An Introduction to the Bootstrap. 1993 (the band, of each point alone).
"""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from training.statistics.bootstrap import Sample, Statistic, bootstrap
from training.statistics.values import Floats, Interval, Labels, require_scores

Points: TypeAlias = tuple[Floats, Floats]
"""Places along a curve: the horizontal, then the vertical coordinates."""


def roc_points(labels: Labels, scores: Floats) -> Points:
    """Return 1 - specificity and sensitivity from (0, 0) to (1, 1), tied scores in one step.

    Points that lie on the straight line between their neighbours are left out.
    """
    hits, false_alarms = _counts(labels, scores)
    turns = np.ones(len(hits), dtype=np.bool_)
    rise, run = np.diff(hits), np.diff(false_alarms)
    turns[1:-1] = rise[1:] * run[:-1] != rise[:-1] * run[1:]
    return false_alarms[turns] / false_alarms[-1], hits[turns] / hits[-1]


def precision_recall_points(labels: Labels, scores: Floats) -> Points:
    """Return recall and precision at each score, from the highest on; between them are steps.

    The area below these steps, each as high as the precision at its right end, is the average
    precision.
    """
    hits, false_alarms = _counts(labels, scores)
    reached = np.append(np.diff(hits) > 0, [True])[:-1]
    found, wrong = hits[1:][reached], false_alarms[1:][reached]
    return found / hits[-1], found / (found + wrong)


def sensitivity_band(
    sample: Sample, scores: Floats, false_positive_rates: Sequence[float]
) -> tuple[Interval, ...]:
    """Return the sensitivity where at most these shares of negatives are called, by bootstrap."""
    require_scores(sample.labels, scores)
    statistic = sensitivity_statistic(sample.labels, scores, false_positive_rates)
    return bootstrap(statistic, sample)


def sensitivity_statistic(
    labels: Labels, scores: Floats, false_positive_rates: Sequence[float]
) -> Statistic:
    """Sensitivity at each false-positive rate, of cases drawn again."""
    order = np.argsort(-scores, kind="stable")
    positive = labels[order]
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, [True]))
    asked = np.asarray(false_positive_rates)

    def statistic(weights: Floats) -> Floats:
        mine = weights[:, order]
        hits = np.cumsum(np.where(positive, mine, 0.0), axis=1)[:, ends]
        wrong = np.cumsum(np.where(positive, 0.0, mine), axis=1)[:, ends]
        # Rounding must not take a step away that ends exactly at the rate asked for.
        most = asked * wrong[:, -1:] * (1 + 1e-12)
        place = np.stack(
            [np.searchsorted(row, m, side="right") for row, m in zip(wrong, most, strict=True)]
        )
        reached = np.take_along_axis(np.pad(hits, ((0, 0), (1, 0))), place, axis=1)
        found: Floats = reached / hits[:, -1:]
        return found

    return statistic


def _counts(labels: Labels, scores: Floats) -> Points:
    """Return how many positives and how many negatives are called, from none to all."""
    require_scores(labels, scores)
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, [True]))
    hits = np.cumsum(labels[order])[ends].astype(np.float64)
    return np.append([0.0], hits), np.append([0.0], ends + 1 - hits)
