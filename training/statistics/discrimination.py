"""How well scores put positive cases before negative ones.

* E. R. DeLong, D. M. DeLong, D. L. Clarke-Pearson. Biometrics 1988;44:837-845.
* X. Sun, W. Xu. IEEE Signal Processing Letters 2014;21:1389-1393 (the same by ranks).
* N. A. Obuchowski. Biometrics 1997;53:567-578 (several cases of one patient).
* E. Brunner, U. Munzel. Biometrical Journal 2000;42:17-25.
* M. Pauly, T. Asendorf, F. Konietschke. Statistical Methods in Medical Research 2016;25:2319-2334.
* J. A. Hanley, B. J. McNeil. Radiology 1982;143:29-36 (what the area means).
"""

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from scipy.special import expit
from scipy.stats import chi2, norm, rankdata
from scipy.stats import t as student

from training.statistics.values import (
    CONFIDENCE,
    Difference,
    Floats,
    Interval,
    Labels,
    Patients,
    UnusableScores,
    require_scores,
)

Estimates: TypeAlias = tuple[Floats, Floats]
"""Values, and their covariance."""
REACH = float(norm.ppf(0.5 + CONFIDENCE / 2))
"""Standard errors from an estimate to the end of its normal interval."""


def auroc(labels: Labels, scores: Floats) -> float:
    """Probability that a positive case scores above a negative one; a tie counts half."""
    value: float = delong(labels, scores[np.newaxis])[0][0]
    return float(value)


def auroc_interval(labels: Labels, scores: Floats, patients: Patients | None = None) -> Interval:
    """AUROC with the normal interval of DeLong's variance, kept within 0 and 1.

    This is what is published and what other programs print; see ``auroc_interval_logit``.
    """
    values, covariance = delong(labels, scores[np.newaxis], patients)
    reach = REACH * math.sqrt(covariance[0, 0])
    value = float(values[0])
    return Interval(value=value, low=max(value - reach, 0.0), high=min(value + reach, 1.0))


def auroc_interval_logit(
    labels: Labels, scores: Floats, patients: Patients | None = None
) -> Interval:
    """AUROC with an interval of DeLong's variance on the scale of log odds, by Student's t.

    It holds the truth as often as it says where ``auroc_interval`` does not: with few cases of a
    class or a high AUROC (Pauly, Asendorf and Konietschke 2016). Degrees of freedom are those of
    Brunner and Munzel. Where all cases are in the right order the bounds cannot be known.
    """
    values, covariance = delong(labels, scores[np.newaxis], patients)
    value, variance = float(values[0]), float(covariance[0, 0])
    if not 0 < value < 1 or variance <= 0:
        return Interval(value=value, low=math.nan, high=math.nan)
    t = student.ppf(0.5 + CONFIDENCE / 2, _freedom(labels, scores, patients))
    reach = float(t) * math.sqrt(variance) / (value * (1 - value))
    centre = math.log(value / (1 - value))
    low, high = (float(expit(centre + sign * reach)) for sign in (-1, 1))
    return Interval(value=value, low=low, high=high)


def _freedom(labels: Labels, scores: Floats, patients: Patients | None) -> float:
    """Degrees of freedom of DeLong's variance after Satterthwaite, counting patients."""
    mine = np.arange(len(labels)) if patients is None else patients
    values, of_positive, of_negative = _placements(labels, scores[np.newaxis])
    parts = []
    for placements, some in ((of_positive, mine[labels]), (of_negative, mine[~labels])):
        share = _share(_summed(placements, values, some, mine), some)[0, 0]
        parts.append((float(share), len(np.unique(some)) - 1))
    return sum(share for share, _ in parts) ** 2 / sum(share**2 / free for share, free in parts)


def auroc_difference(
    labels: Labels, first: Floats, second: Floats, patients: Patients | None = None
) -> Difference:
    """First minus second AUROC of the same cases, by DeLong's covariance."""
    values, covariance = delong(labels, np.stack([first, second]), patients)
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    return _difference(float(values[0] - values[1]), float(variance))


def auroc_difference_p(labels: Labels, first: Floats, second: Floats) -> float:
    """Two-sided p of DeLong's test that two scores of the same cases have equal AUROC."""
    return auroc_difference(labels, first, second).p


def auroc_difference_unpaired(
    first: tuple[Labels, Floats], second: tuple[Labels, Floats]
) -> Difference:
    """First minus second AUROC of different cases, each given as labels and scores."""
    (one, one_variance), (two, two_variance) = (
        _with_variance(labels, scores, None) for labels, scores in (first, second)
    )
    return _difference(one - two, one_variance + two_variance)


def auroc_difference_reported(first: tuple[Labels, Floats], reported: Interval) -> Difference:
    """First minus an AUROC of other cases that is known by ``auroc_interval`` alone.

    The standard error is read off the longer half of that interval: the other may have been cut
    off at 0 or 1.
    """
    value, variance = _with_variance(*first, None)
    reach = max(reported.high - reported.value, reported.value - reported.low)
    return _difference(value - reported.value, variance + (reach / REACH) ** 2)


def auroc_heterogeneity_p(samples: Sequence[tuple[Labels, Floats, Patients | None]]) -> float:
    """P of Cochran's Q that the AUROCs of samples without common patients are all equal.

    A sample whose AUROC has no variance (all in the right order) is refused: it has no weight.
    """
    values, variances = np.array([_with_variance(*sample) for sample in samples]).T
    if variances.min() <= 0:
        raise UnusableScores("an AUROC without variance cannot be weighed against others")
    weights = 1 / variances
    centre = np.sum(weights * values) / weights.sum()
    return float(chi2.sf(np.sum(weights * (values - centre) ** 2), len(values) - 1))


def delong(labels: Labels, scores: Floats, patients: Patients | None = None) -> Estimates:
    """AUROCs of ``(k, n)`` scores and their covariance (DeLong 1988, by ranks: Sun and Xu 2014).

    Both classes must hold at least two cases, of two patients. With ``patients`` (numbered) the
    cases of one patient need not be independent (Obuchowski 1997); without, each is a patient.
    """
    values, of_positive, of_negative = _placements(labels, scores)
    m, n = of_positive.shape[1], of_negative.shape[1]
    if patients is None:
        covariance: Floats = np.atleast_2d(np.cov(of_positive)) / m
        return values, covariance + np.atleast_2d(np.cov(of_negative)) / n
    first = _summed(of_positive, values, patients[labels], patients)
    second = _summed(of_negative, values, patients[~labels], patients)
    both = first @ second.T
    everyone = len(np.unique(patients))
    crossed = (both + both.T) * everyone / ((everyone - 1) * m * n)
    return values, _share(first, patients[labels]) + _share(second, patients[~labels]) + crossed


def _placements(labels: Labels, scores: Floats) -> tuple[Floats, Floats, Floats]:
    """Return AUROCs, and for each case the share of the other class that it is right against."""
    require_scores(labels, scores, each=2)
    positive, negative = scores[:, labels], scores[:, ~labels]
    m, n = positive.shape[1], negative.shape[1]
    together = rankdata(np.concatenate([positive, negative], axis=1), axis=1)
    of_positive: Floats = (together[:, :m] - rankdata(positive, axis=1)) / n
    of_negative: Floats = 1.0 - (together[:, m:] - rankdata(negative, axis=1)) / m
    return of_positive.mean(axis=1), of_positive, of_negative


def _summed(placements: Floats, values: Floats, mine: Patients, patients: Patients) -> Floats:
    """Sum one class's placements, less the AUROC, over the cases of each patient."""
    if len(np.unique(mine)) < 2:
        raise UnusableScores("each class needs cases of at least two patients")
    apart = placements - values[:, np.newaxis]
    width = int(patients.max()) + 1
    sums: Floats = np.stack([np.bincount(mine, row, minlength=width) for row in apart])
    return sums


def _share(sums: Floats, mine: Patients) -> Floats:
    """Return what one class brings to the covariance."""
    own = len(np.unique(mine))
    share: Floats = sums @ sums.T * (own / (own - 1) / len(mine) ** 2)
    return share


def average_precision(labels: Labels, scores: Floats) -> float:
    """AUPRC as average precision: precision summed over steps of recall, ties taken together.

    Nothing is drawn between the steps: a straight line from (recall 0, precision 1), as some
    programs have it, gives binary calls an area of half their recall whatever their precision.
    """
    require_scores(labels, scores)
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, [True]))
    hits = np.cumsum(labels[order])[ends]
    steps = np.diff(hits, prepend=0) / labels.sum()
    return float(np.sum(steps * hits / (ends + 1)))


def _with_variance(
    labels: Labels, scores: Floats, patients: Patients | None
) -> tuple[float, float]:
    values, covariance = delong(labels, scores[np.newaxis], patients)
    return float(values[0]), float(covariance[0, 0])


def _difference(value: float, variance: float) -> Difference:
    """Test a difference; without variance, as of scores in the same order, p is 1 or 0."""
    if variance <= 1e-18:
        return Difference(value=value, low=value, high=value, p=float(abs(value) < 1e-9))
    error = math.sqrt(variance)
    reach = REACH * error
    p = float(2 * norm.sf(abs(value) / error))
    return Difference(value=value, low=value - reach, high=value + reach, p=p)
