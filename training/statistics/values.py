"""What the statistics are given and give back, and what they refuse."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Labels: TypeAlias = NDArray[np.bool_]
Patients: TypeAlias = NDArray[np.intp]
"""Whose each case is, numbered from 0."""

CONFIDENCE = 0.95
"""Of every interval."""


class UnusableScores(ValueError):
    """These cases cannot answer the question that was asked of them."""


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate with its 95 % confidence interval; bounds that cannot be known are NaN."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A difference with its 95 % confidence interval and the two-sided p of there being none."""

    value: float
    low: float
    high: float
    p: float


def require_scores(labels: Labels, scores: Floats, *, each: int = 1) -> None:
    """Refuse scores that do not match the labels, are not finite, or lack ``each`` of a class."""
    if labels.ndim != 1 or scores.shape[-1] != len(labels):
        raise UnusableScores(f"{scores.shape[-1]} scores do not match {len(labels)} labels")
    missing = int(np.sum(~np.isfinite(scores)))
    if missing:
        raise UnusableScores(f"{missing} scores are missing or infinite")
    positives = int(np.sum(labels))
    negatives = len(labels) - positives
    if min(positives, negatives) < each:
        raise UnusableScores(
            f"each class needs at least {each}, got {positives} positive, {negatives} negative"
        )


def require_probabilities(labels: Labels, probabilities: Floats) -> None:
    """Refuse what ``require_scores`` does, and numbers outside 0 to 1."""
    require_scores(labels, probabilities)
    if probabilities.min() < 0 or probabilities.max() > 1:
        raise UnusableScores(
            f"probabilities must lie between 0 and 1, got {probabilities.min():g} "
            f"to {probabilities.max():g}"
        )


def logit(probabilities: Floats) -> Floats:
    """Return log odds; 0 and 1 are taken for the nearest number inside, so all are finite."""
    inside = np.clip(probabilities, 1e-12, 1 - 1e-12)
    odds: Floats = np.log(inside) - np.log1p(-inside)
    return odds
