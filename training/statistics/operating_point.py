"""Where a score becomes a call, and how often the call is right."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import binomtest

from training.statistics.values import (
    CONFIDENCE,
    Floats,
    Interval,
    Labels,
    UnusableScores,
    require_scores,
)


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """How often a call was right and wrong."""

    true_positives: int
    false_negatives: int
    false_positives: int
    true_negatives: int

    @property
    def sensitivity(self) -> float:
        """Share of the positives that were called; NaN if there are none."""
        return _share(*self.parts["sensitivity"])

    @property
    def specificity(self) -> float:
        """Share of the negatives that were not called; NaN if there are none."""
        return _share(*self.parts["specificity"])

    @property
    def ppv(self) -> float:
        """Share of the called that are positive; NaN if none was called."""
        return _share(*self.parts["ppv"])

    @property
    def npv(self) -> float:
        """Share of the not called that are negative; NaN if all were called."""
        return _share(*self.parts["npv"])

    @property
    def accuracy(self) -> float:
        """Share of right calls."""
        return _share(*self.parts["accuracy"])

    @property
    def youden(self) -> float:
        """Sensitivity + specificity - 1 (Youden 1950)."""
        return self.sensitivity + self.specificity - 1

    @property
    def parts(self) -> dict[str, tuple[int, int]]:
        """How many of how many each rate is."""
        tp, fn = self.true_positives, self.false_negatives
        fp, tn = self.false_positives, self.true_negatives
        return {
            "sensitivity": (tp, tp + fn),
            "specificity": (tn, tn + fp),
            "ppv": (tp, tp + fp),
            "npv": (tn, tn + fn),
            "accuracy": (tp + tn, tp + fn + fp + tn),
        }

    def rates(self) -> dict[str, Interval]:
        """Return the five rates with exact intervals, right where each case is independent."""
        return {name: clopper_pearson(*part) for name, part in self.parts.items()}


def clopper_pearson(hits: int, of: int) -> Interval:
    """Return a share with its exact interval (Biometrika 1934;26:404-413): never too narrow."""
    return _proportion(hits, of, "exact")


def wilson(hits: int, of: int) -> Interval:
    """Return a share with Wilson's score interval (JASA 1927;22:209-212): right on average."""
    return _proportion(hits, of, "wilson")


def youden_cutoff(labels: Labels, scores: Floats) -> float:
    """Return the score above which sensitivity + specificity is greatest; of ties the lowest."""
    require_scores(labels, scores)
    candidates = np.unique(scores)
    positive, negative = np.sort(scores[labels]), np.sort(scores[~labels])
    sensitivity = 1.0 - np.searchsorted(positive, candidates, side="right") / len(positive)
    specificity = np.searchsorted(negative, candidates, side="right") / len(negative)
    return float(candidates[np.argmax(sensitivity + specificity)])


def confusion(labels: Labels, scores: Floats, cutoff: float) -> Confusion:
    """Count calls strictly above the cut-off against the labels."""
    return count(labels, scores > cutoff)


def count(labels: Labels, called: Labels) -> Confusion:
    """Count calls against the labels."""
    return Confusion(
        true_positives=int(np.sum(called & labels)),
        false_negatives=int(np.sum(~called & labels)),
        false_positives=int(np.sum(called & ~labels)),
        true_negatives=int(np.sum(~called & ~labels)),
    )


def high_risk(scores: Mapping[str, Floats], cutoffs: Mapping[str, float]) -> Labels:
    """Return who is at high risk: above the cut-off of any one of the models that have one."""
    if not cutoffs:
        raise UnusableScores("risk groups need a cut-off of at least one model")
    above: Labels = np.any([scores[name] > cutoff for name, cutoff in cutoffs.items()], axis=0)
    return above


def _share(hits: int, of: int) -> float:
    return hits / of if of else math.nan


def _proportion(hits: int, of: int, method: Literal["exact", "wilson"]) -> Interval:
    if of == 0:
        return Interval(value=math.nan, low=math.nan, high=math.nan)
    found = binomtest(hits, of).proportion_ci(CONFIDENCE, method=method)
    return Interval(value=hits / of, low=float(found.low), high=float(found.high))
