"""Statistics of cases that count more than once, for the bootstrap."""

import numpy as np

from training.statistics.bootstrap import Statistic
from training.statistics.operating_point import Confusion
from training.statistics.values import Floats, Labels

RATES = tuple(
    Confusion(true_positives=0, false_negatives=0, false_positives=0, true_negatives=0).parts
)
"""The names of ``rates``' numbers, in their order."""


def auroc(labels: Labels, scores: Floats) -> Statistic:
    """AUROC, one number: a pair counts as often as its two cases together."""
    order = np.argsort(scores, kind="stable")
    ordered, positive = scores[order], labels[order]
    first = np.searchsorted(ordered, ordered[positive], side="left")
    past = np.searchsorted(ordered, ordered[positive], side="right")

    def statistic(weights: Floats) -> Floats:
        mine = weights[:, order]
        negatives = np.zeros((len(mine), mine.shape[1] + 1))
        np.cumsum(np.where(positive, 0.0, mine), axis=1, out=negatives[:, 1:])
        mine = mine[:, positive]
        right = (mine * (negatives[:, first] + negatives[:, past])).sum(axis=1) / 2
        return _over(right, mine.sum(axis=1) * negatives[:, -1])[:, np.newaxis]

    return statistic


def average_precision(labels: Labels, scores: Floats) -> Statistic:
    """Average precision, one number."""
    order = np.argsort(-scores, kind="stable")
    positive = labels[order]
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, [True]))

    def statistic(weights: Floats) -> Floats:
        mine = weights[:, order]
        called = np.cumsum(mine, axis=1)[:, ends]
        hits = np.cumsum(np.where(positive, mine, 0.0), axis=1)[:, ends]
        steps = np.diff(hits, axis=1, prepend=0.0)
        precision = np.divide(hits, called, out=np.zeros_like(hits), where=called > 0)
        return _over((steps * precision).sum(axis=1), hits[:, -1])[:, np.newaxis]

    return statistic


def rates(labels: Labels, called: Labels) -> Statistic:
    """Sensitivity, specificity, PPV, NPV and accuracy of calls, as ``RATES`` names them."""
    cells = [called & labels, ~called & labels, called & ~labels, ~called & ~labels]
    counts = np.stack(cells, axis=1).astype(np.float64)

    def statistic(weights: Floats) -> Floats:
        tp, fn, fp, tn = (weights @ counts).T
        parts = [(tp, tp + fn), (tn, tn + fp), (tp, tp + fp), (tn, tn + fn)]
        parts.append((tp + tn, tp + fn + fp + tn))
        return np.stack([_over(*part) for part in parts], axis=1)

    return statistic


def means(columns: Floats) -> Statistic:
    """Return the mean of each column of ``(n, k)``."""

    def statistic(weights: Floats) -> Floats:
        found: Floats = (weights @ columns) / weights.sum(axis=1, keepdims=True)
        return found

    return statistic


def class_means(labels: Labels, columns: Floats) -> Statistic:
    """Mean of each column among the positive plus that of each among the negative, summed.

    Columns of ``(n, k)`` must be signed as they are to be added: NRI and IDI are such sums.
    """

    def statistic(weights: Floats) -> Floats:
        found: Floats = sum(
            _over(weights[:, some] @ columns[some], weights[:, some].sum(axis=1, keepdims=True))
            for some in (labels, ~labels)
        )  # type: ignore[assignment]  # sum() begins with the whole number 0
        return found

    return statistic


def difference(first: Statistic, second: Statistic) -> Statistic:
    """First minus second, of the same draws."""
    return lambda weights: first(weights) - second(weights)


def _over(part: Floats, whole: Floats) -> Floats:
    """Divide; NaN where there is nothing to divide by."""
    whole = np.broadcast_to(whole, part.shape)
    ratio: Floats = np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
    return ratio
