"""Intervals by drawing patients again: stratified, and whole patients at a time.

A draw is a row of weights, how often each case was drawn. A statistic maps ``(r, n)`` weights to
``(r, k)`` numbers, so that thousands of draws are a few operations on arrays.

* B. Efron, R. J. Tibshirani. An Introduction to the Bootstrap. 1993, chapters 13 and 14.
* C. A. Field, A. H. Welsh. JRSS B 2007;69:369-390 (clusters are drawn whole).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from training.statistics.values import (
    CONFIDENCE,
    Floats,
    Interval,
    Labels,
    Patients,
    UnusableScores,
)

Statistic: TypeAlias = Callable[[Floats], Floats]
"""Maps ``(r, n)`` weights of the cases to ``(r, k)`` numbers."""
AT_ONCE = 2_000_000
"""Weights held at one time, 16 MB."""


@dataclass(frozen=True, kw_only=True)
class Resampling:
    """How patients are drawn; the same seed gives the same draws."""

    replicates: int = 10_000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.replicates < 100:
            raise UnusableScores(f"100 replicates or more are needed, got {self.replicates}")


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Cases, whose they are (``patients``, numbered from 0), and what is drawn from them.

    A patient is drawn from among those who have a positive case, or among those who have none; so
    each draw has as many of both as the sample has.
    """

    labels: Labels
    patients: Patients
    resampling: Resampling = field(default_factory=Resampling)

    def __post_init__(self) -> None:
        for stratum in self._strata():
            if len(stratum) < 2:
                raise UnusableScores("two patients of each class are needed to draw from")

    @property
    def clusters(self) -> Patients | None:
        """Whose the cases are, where any patient has several; else None."""
        return self.patients if np.bincount(self.patients).max() > 1 else None

    def draws(self) -> Iterator[Floats]:
        """Yield all draws, some at a time."""
        rng = np.random.default_rng(self.resampling.seed)
        left = self.resampling.replicates
        rows = max(1, AT_ONCE // len(self.labels))
        while left:
            some = min(rows, left)
            left -= some
            yield self._drawn(rng, some)

    def without_each(self) -> Floats:
        """Return one row for each patient, in which that patient's cases weigh nothing."""
        everyone = np.arange(self.patients.max() + 1)
        weights: Floats = (everyone[:, np.newaxis] != self.patients).astype(np.float64)
        return weights

    def _strata(self) -> list[NDArray[np.intp]]:
        positive = np.bincount(self.patients, weights=self.labels) > 0
        return [np.flatnonzero(positive), np.flatnonzero(~positive)]

    def _drawn(self, rng: np.random.Generator, rows: int) -> Floats:
        weights: Floats = np.zeros((rows, int(self.patients.max()) + 1))
        for stratum in self._strata():
            size = len(stratum)
            drawn = rng.integers(0, size, (rows, size)) + size * np.arange(rows)[:, np.newaxis]
            counts = np.bincount(drawn.ravel(), minlength=rows * size)
            weights[:, stratum] = counts.reshape(rows, size)
        of_cases: Floats = weights[:, self.patients]
        return of_cases


def independent(labels: Labels, resampling: Resampling) -> Sample:
    """Return cases of which each is a patient of its own."""
    return Sample(labels=labels, patients=np.arange(len(labels)), resampling=resampling)


def bootstrap(statistic: Statistic, sample: Sample) -> tuple[Interval, ...]:
    """Return each number of a statistic with its bias-corrected and accelerated interval (BCa)."""
    found = np.concatenate([statistic(weights) for weights in sample.draws()])
    values = statistic(np.ones((1, len(sample.labels))))[0]
    left_out = statistic(sample.without_each())
    return tuple(
        _bca(float(value), drawn, without)
        for value, drawn, without in zip(values, found.T, left_out.T, strict=True)
    )


def _bca(value: float, drawn: Floats, without: Floats) -> Interval:
    """Leave out draws in which the number is undefined; without 95 % of them there is no bound."""
    defined = drawn[np.isfinite(drawn)]
    if not np.isfinite(value) or len(defined) < 0.95 * len(drawn):
        return Interval(value=value, low=np.nan, high=np.nan)
    # Draws equal to the value count half: discrete numbers would be taken for biased otherwise.
    tolerance = 1e-12 * max(1.0, abs(value))
    below = np.mean(defined < value - tolerance) + 0.5 * np.mean(
        np.abs(defined - value) <= tolerance
    )
    if not 0 < below < 1:
        low, high = np.quantile(defined, [0.5 - CONFIDENCE / 2, 0.5 + CONFIDENCE / 2])
        return Interval(value=value, low=float(low), high=float(high))
    bias = norm.ppf(below)
    reach = norm.ppf([0.5 - CONFIDENCE / 2, 0.5 + CONFIDENCE / 2])
    moved = norm.cdf(bias + (bias + reach) / (1 - _acceleration(without) * (bias + reach)))
    low, high = np.quantile(defined, moved)
    return Interval(value=value, low=float(low), high=float(high))


def _acceleration(without: Floats) -> float:
    """Return the skewness of the jackknife, a sixth of it (Efron 1987, eq. 6.6)."""
    apart = np.nanmean(without) - without
    apart = apart[np.isfinite(apart)]
    spread = np.sum(apart**2)
    return float(np.sum(apart**3) / (6 * spread**1.5)) if spread > 0 else 0.0
