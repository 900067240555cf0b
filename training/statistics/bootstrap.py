"""Intervals by drawing patients again, or leaving them out: by class, and whole patients.

A draw is a row of weights, how often each case was drawn. A statistic maps ``(r, n)`` weights to
``(r, k)`` numbers, so that thousands of draws are a few operations on arrays.

* B. Efron, R. J. Tibshirani. An Introduction to the Bootstrap. 1993, chapters 13 and 14.
* B. Efron, C. Stein. Annals of Statistics 1981;9:586-596 (the jackknife).
* B. Efron. JASA 1987;82:171-185 (BCa).
* T. C. Hesterberg. The American Statistician 2015;69:371-386 (few cases).
* C. A. Field, A. H. Welsh. JRSS B 2007;69:369-390 (clusters are drawn whole).
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from scipy.special import expit
from scipy.stats import norm
from scipy.stats import t as student

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
REACH = float(norm.ppf(0.5 + CONFIDENCE / 2))
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
        for stratum in self.strata:
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

    def without_each(self) -> Iterator[Floats]:
        """Yield one row for each patient, in which that patient's cases weigh nothing."""
        everyone = np.arange(self.patients.max() + 1)
        rows = max(1, AT_ONCE // len(self.labels))
        for start in range(0, len(everyone), rows):
            some = everyone[start : start + rows, np.newaxis]
            yield (some != self.patients).astype(np.float64)

    @property
    def strata(self) -> list[Patients]:
        """Patients who have a positive case, and those who have none."""
        positive = np.bincount(self.patients, weights=self.labels) > 0
        return [np.flatnonzero(positive), np.flatnonzero(~positive)]

    def _drawn(self, rng: np.random.Generator, rows: int) -> Floats:
        weights: Floats = np.zeros((rows, int(self.patients.max()) + 1))
        for stratum in self.strata:
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
    """Return each number of a statistic with its interval.

    It is Efron's bias-corrected and accelerated one (BCa), whose normal quantiles are exchanged for
    Student's and widened for what drawing from few patients leaves out (Hesterberg 2015).
    """
    found = np.concatenate([statistic(weights) for weights in sample.draws()])
    return tuple(
        _bca(value, drawn, shape)
        for (value, shape), drawn in zip(_shapes(statistic, sample), found.T, strict=True)
    )


def jackknife(statistic: Statistic, sample: Sample, *, share: bool = False) -> Interval:
    """Return a statistic's only number with Student's interval of the jackknife's variance.

    That variance is never too small on average (Efron and Stein 1981), which counts where draws
    with copies bend a number, as average precision. A ``share`` has its interval on the scale of
    log odds; at 0 or 1, or without variance, its bounds cannot be known.
    """
    ((value, shape),) = _shapes(statistic, sample)
    if not share:
        reach = shape.quantile * shape.error
        return Interval(value=value, low=value - reach, high=value + reach)
    if not 0 < value < 1 or shape.error == 0:
        return Interval(value=value, low=math.nan, high=math.nan)
    reach = shape.quantile * shape.error / (value * (1 - value))
    centre = math.log(value / (1 - value))
    low, high = (float(expit(centre + sign * reach)) for sign in (-1, 1))
    return Interval(value=value, low=low, high=high)


@dataclass(frozen=True, kw_only=True)
class _Shape:
    """What leaving out one patient after another tells of a number.

    ``error`` is the jackknife's standard error and ``quantile`` how many of them an interval
    reaches; ``reach`` is how many of the draws' standard errors that is.
    """

    acceleration: float
    error: float
    quantile: float
    reach: float


def _shapes(statistic: Statistic, sample: Sample) -> list[tuple[float, _Shape]]:
    """Return each number of a statistic, and what leaving out patients tells of it."""
    values = statistic(np.ones((1, len(sample.labels))))[0]
    left_out = np.concatenate([statistic(weights) for weights in sample.without_each()])
    return [
        (float(value), _shape(without, sample.strata))
        for value, without in zip(values, left_out.T, strict=True)
    ]


def _shape(without: Floats, strata: list[Patients]) -> _Shape:
    """Take patients without whom the number is undefined for ones without influence.

    Degrees of freedom are Satterthwaite's over the strata, each of which has a share in the
    variance; the share of n patients is (n - 1) / n too small in the draws.
    """
    known = np.isfinite(without)
    apart = np.where(known, np.mean(without[known]) - without, 0.0) if known.any() else without * 0
    sizes = np.array([len(stratum) for stratum in strata])
    shares = np.array([np.sum(apart[stratum] ** 2) for stratum in strata]) * (sizes - 1) / sizes
    variance = float(shares.sum())
    if variance <= 0:
        return _Shape(acceleration=0.0, error=0.0, quantile=REACH, reach=REACH)
    freedom = variance**2 / np.sum(shares**2 / (sizes - 1))
    quantile = float(student.ppf(0.5 + CONFIDENCE / 2, freedom))
    return _Shape(
        # A sixth of the skewness (Efron 1987, eq. 6.6).
        acceleration=float(np.sum(apart**3) / (6 * np.sum(apart**2) ** 1.5)),
        error=math.sqrt(variance),
        quantile=quantile,
        reach=quantile * math.sqrt(variance / np.sum(shares * (sizes - 1) / sizes)),
    )


def _bca(value: float, drawn: Floats, shape: _Shape) -> Interval:
    """Leave out draws in which the number is undefined; without 95 % of them there is no bound."""
    defined = drawn[np.isfinite(drawn)]
    if not np.isfinite(value) or len(defined) < 0.95 * len(drawn):
        return Interval(value=value, low=np.nan, high=np.nan)
    # Draws equal to the value count half: discrete numbers would be taken for biased otherwise.
    same = np.abs(defined - value) <= 1e-12 * max(1.0, abs(value))
    below = np.mean((defined < value) & ~same) + 0.5 * np.mean(same)
    # Where all draws lie on one side the bias has no end: take it for the greatest that shows.
    edge = 0.5 / len(defined)
    bias = norm.ppf(np.clip(below, edge, 1 - edge))
    reach = bias + np.array([-shape.reach, shape.reach])
    moved = norm.cdf(bias + reach / (1 - shape.acceleration * reach))
    low, high = np.quantile(defined, moved)
    return Interval(value=value, low=float(low), high=float(high))
