"""Readers' calls: against the truth, against a model and against each other.

* Q. McNemar. Psychometrika 1947;12:153-157 (here exact).
* J. Cohen. Educational and Psychological Measurement 1960;20:37-46 (kappa).
* J. L. Fleiss, J. Cohen, B. S. Everitt. Psychological Bulletin 1969;72:323-327 (its variance).

Readers are taken as they are: intervals speak of other patients read by these same readers.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.stats import binomtest

from training.statistics import weighted
from training.statistics.bootstrap import Sample, bootstrap
from training.statistics.discrimination import REACH, auroc_difference, auroc_interval_logit
from training.statistics.operating_point import Confusion, count
from training.statistics.rates import rates_of
from training.statistics.values import (
    Difference,
    Floats,
    Interval,
    Labels,
    UnusableScores,
    require_scores,
)


@dataclass(frozen=True, kw_only=True)
class ReaderComparison:
    """One reader against a model.

    A binary reader's AUROC is half of sensitivity + specificity: a model with a curve has the
    advantage of its curve, so that sensitivity and specificity at the cut-off are told as well.
    """

    counts: Confusion
    rates: dict[str, Interval]
    auroc: Interval
    auroc_of_model_minus_reader: Difference
    sensitivity_p: float | None
    specificity_p: float | None


def compare_reader(
    sample: Sample, calls: Labels, scores: Floats, *, cutoff: float | None
) -> ReaderComparison:
    """Compare on the same cases; without a cut-off of the model only by AUROC.

    Where a patient has several cases McNemar's p are absent: they would take them for independent.
    """
    labels, patients = sample.labels, sample.clusters
    require_scores(labels, scores, each=2)
    read = calls.astype(np.float64)
    ps: list[float | None] = [None, None]
    if cutoff is not None and patients is None:
        called = scores > cutoff
        ps = [mcnemar_p(called[some], calls[some]) for some in (labels, ~labels)]
    return ReaderComparison(
        counts=count(labels, calls),
        rates=rates_of(sample, calls),
        auroc=auroc_interval_logit(labels, read, patients),
        auroc_of_model_minus_reader=auroc_difference(labels, scores, read, patients),
        sensitivity_p=ps[0],
        specificity_p=ps[1],
    )


def mcnemar_p(first: Labels, second: Labels) -> float:
    """Exact two-sided p that two kinds of call are made equally often, of the same cases.

    Each case must be a patient of its own.
    """
    only_first, only_second = int(np.sum(first & ~second)), int(np.sum(~first & second))
    apart = only_first + only_second
    return float(binomtest(only_first, apart).pvalue) if apart else 1.0


def mean_of_readers(sample: Sample, readers: Mapping[str, Labels]) -> dict[str, Interval]:
    """Return the readers' mean sensitivity, specificity, PPV, NPV and accuracy, by bootstrap."""
    if not readers:
        raise UnusableScores("there are no readers")
    each = [weighted.rates(sample.labels, calls) for calls in readers.values()]

    def statistic(weights: Floats) -> Floats:
        mean: Floats = np.mean([of_one(weights) for of_one in each], axis=0)
        return mean

    return dict(zip(weighted.RATES, bootstrap(statistic, sample), strict=True))


def kappa(first: Labels, second: Labels) -> Interval:
    """Cohen's kappa of two readers with Fleiss's large-sample interval, kept within -1 and 1.

    Two readers who both call all cases, or none, agree without telling anything: NaN.
    """
    table = np.array(
        [[np.sum((first == a) & (second == b)) for b in (False, True)] for a in (False, True)]
    ) / len(first)
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    agreed, expected = float(np.trace(table)), float(rows @ columns)
    if expected == 1:
        return Interval(value=math.nan, low=math.nan, high=math.nan)
    value = (agreed - expected) / (1 - expected)
    on = sum(
        table[i, i] * (1 - (rows[i] + columns[i]) * (1 - value)) ** 2 for i in range(len(table))
    )
    off = sum(
        table[i, j] * (columns[i] + rows[j]) ** 2 for i in range(2) for j in range(2) if i != j
    )
    variance = on + (1 - value) ** 2 * off - (value - expected * (1 - value)) ** 2
    reach = REACH * math.sqrt(max(variance, 0.0) / len(first)) / (1 - expected)
    return Interval(value=value, low=max(value - reach, -1.0), high=min(value + reach, 1.0))


def agreement(readers: Mapping[str, Labels]) -> dict[tuple[str, str], Interval]:
    """Return kappa of each pair of readers."""
    return {
        (one, other): kappa(readers[one], readers[other]) for one, other in combinations(readers, 2)
    }
