"""How well scores tell two classes apart: AUROC with DeLong's variance, cut-off, calibration."""

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.stats import norm, rankdata

from inference.card import Calibration

Floats: TypeAlias = NDArray[np.float64]
Labels: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate with its 95 % confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """How often a call was right and wrong."""

    true_positives: int
    false_negatives: int
    false_positives: int
    true_negatives: int

    @property
    def sensitivity(self) -> float:
        """Share of the positives that were called."""
        return self.true_positives / (self.true_positives + self.false_negatives)

    @property
    def specificity(self) -> float:
        """Share of the negatives that were not called."""
        return self.true_negatives / (self.true_negatives + self.false_positives)


def auroc(labels: Labels, scores: Floats) -> float:
    """Probability that a positive case scores above a negative one; a tie counts half."""
    value: float = delong(labels, scores[np.newaxis])[0][0]
    return float(value)


def auroc_interval(labels: Labels, scores: Floats) -> Interval:
    """AUROC with the normal interval of DeLong's variance, kept within 0 and 1."""
    values, covariance = delong(labels, scores[np.newaxis])
    reach = float(norm.ppf(0.975)) * math.sqrt(covariance[0, 0])
    value = float(values[0])
    return Interval(value=value, low=max(value - reach, 0.0), high=min(value + reach, 1.0))


def auroc_difference_p(labels: Labels, first: Floats, second: Floats) -> float:
    """Two-sided p of DeLong's test that two scores of the same cases have equal AUROC."""
    values, covariance = delong(labels, np.stack([first, second]))
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    if variance <= 0:
        return 1.0
    return float(2 * norm.sf(abs(values[0] - values[1]) / math.sqrt(variance)))


def delong(labels: Labels, scores: Floats) -> tuple[Floats, Floats]:
    """AUROCs of ``(k, n)`` scores and their covariance (DeLong 1988, by ranks: Sun and Xu 2014).

    Both classes must hold at least two cases.
    """
    positive, negative = scores[:, labels], scores[:, ~labels]
    m, n = positive.shape[1], negative.shape[1]
    if min(m, n) < 2:
        raise ValueError(f"AUROC needs two cases of each class, got {m} positive, {n} negative")
    together = rankdata(np.concatenate([positive, negative], axis=1), axis=1)
    of_positive = (together[:, :m] - rankdata(positive, axis=1)) / n
    of_negative = 1.0 - (together[:, m:] - rankdata(negative, axis=1)) / m
    values: Floats = of_positive.mean(axis=1)
    covariance: Floats = np.atleast_2d(np.cov(of_positive)) / m
    return values, covariance + np.atleast_2d(np.cov(of_negative)) / n


def youden_cutoff(labels: Labels, scores: Floats) -> float:
    """Return the score above which sensitivity + specificity is greatest; of ties the lowest."""
    candidates = np.unique(scores)
    positive, negative = np.sort(scores[labels]), np.sort(scores[~labels])
    sensitivity = 1.0 - np.searchsorted(positive, candidates, side="right") / len(positive)
    specificity = np.searchsorted(negative, candidates, side="right") / len(negative)
    return float(candidates[np.argmax(sensitivity + specificity)])


def confusion(labels: Labels, scores: Floats, cutoff: float) -> Confusion:
    """Count calls strictly above the cut-off against the labels."""
    called = scores > cutoff
    return Confusion(
        true_positives=int(np.sum(called & labels)),
        false_negatives=int(np.sum(~called & labels)),
        false_positives=int(np.sum(called & ~labels)),
        true_negatives=int(np.sum(~called & ~labels)),
    )


def platt(labels: Labels, margins: Floats) -> Calibration:
    """Fit sigmoid(slope * margin + intercept) by greatest likelihood.

    The slope is kept above 0.01, so that calibration never turns the order over.
    """
    signs = np.where(labels, 1.0, -1.0)

    def loss(parameters: Floats) -> float:
        score = parameters[0] * margins + parameters[1]
        return float(np.logaddexp(0.0, -signs * score).mean())

    found = minimize(loss, np.array([1.0, 0.0]), bounds=[(0.01, 100.0), (-50.0, 50.0)])
    slope, intercept = (round(float(value), 6) for value in found.x)
    return Calibration(slope=slope, intercept=intercept)
