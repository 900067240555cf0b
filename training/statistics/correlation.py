"""Which features go with a score, by rank.

* C. Spearman. Am J Psychol 1904;15:72-101.
* D. G. Bonett, T. A. Wright. Psychometrika 2000;65:23-28 (the interval).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr

from training.statistics.discrimination import REACH
from training.statistics.multiplicity import benjamini_hochberg
from training.statistics.values import Floats, Interval, UnusableScores


@dataclass(frozen=True, kw_only=True)
class Correlation:
    """Spearman's rho of a feature with the score; ``q`` is p adjusted for all that were tried."""

    feature: str
    cases: int
    rho: Interval
    p: float
    q: float


def correlations(scores: Floats, features: Mapping[str, Floats]) -> tuple[Correlation, ...]:
    """Return all features by falling strength; those that never vary come last, without rho.

    Cases in which a feature is not known are left out of that feature alone; four are needed.
    """
    found = {name: _spearman(scores, values) for name, values in features.items()}
    q = benjamini_hochberg({name: p for name, (_, _, p) in found.items()})
    rows = [
        Correlation(feature=name, cases=cases, rho=rho, p=p, q=q[name])
        for name, (cases, rho, p) in found.items()
    ]
    return tuple(sorted(rows, key=lambda row: -_strength(row)))


def top(scores: Floats, features: Mapping[str, Floats], *, n: int = 10) -> tuple[Correlation, ...]:
    """Return the ``n`` features that go most with the score, p adjusted for all of them."""
    return tuple(row for row in correlations(scores, features) if _strength(row) >= 0)[:n]


def _strength(row: Correlation) -> float:
    return -1.0 if math.isnan(row.rho.value) else abs(row.rho.value)


def _spearman(scores: Floats, values: Floats) -> tuple[int, Interval, float]:
    if len(scores) != len(values):
        raise UnusableScores(f"{len(values)} values do not match {len(scores)} scores")
    known = np.isfinite(values) & np.isfinite(scores)
    cases = int(known.sum())
    if cases < 4 or np.ptp(values[known]) == 0 or np.ptp(scores[known]) == 0:
        return cases, Interval(value=math.nan, low=math.nan, high=math.nan), math.nan
    rho, p = (float(number) for number in spearmanr(scores[known], values[known]))
    inside = min(max(rho, -1 + 1e-12), 1 - 1e-12)
    reach = REACH * math.sqrt((1 + rho**2 / 2) / (cases - 3))
    low, high = (math.tanh(math.atanh(inside) + sign * reach) for sign in (-1, 1))
    return cases, Interval(value=rho, low=low, high=high), p
