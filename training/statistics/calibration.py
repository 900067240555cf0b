"""How well probabilities agree with how often it happened.

* G. W. Brier. Monthly Weather Review 1950;78:1-3.
* D. R. Cox. Biometrika 1958;45:562-565 (slope and intercept).
* B. Van Calster et al. J Clin Epidemiol 2016;74:167-176 and BMC Medicine 2019;17:230: mean
  (intercept), weak (slope) and moderate calibration (the curve).
"""

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import norm
from statsmodels.genmod.families import Binomial
from statsmodels.genmod.generalized_linear_model import GLM
from statsmodels.tools.sm_exceptions import PerfectSeparationError, PerfectSeparationWarning

from training.statistics import weighted
from training.statistics.bootstrap import Sample, bootstrap
from training.statistics.operating_point import wilson
from training.statistics.values import (
    CONFIDENCE,
    Floats,
    Interval,
    Labels,
    Patients,
    UnusableScores,
    logit,
    require_probabilities,
)


@dataclass(frozen=True, kw_only=True)
class Group:
    """Cases of like probability: how many, their mean probability, and how often it happened."""

    cases: int
    predicted: float
    observed: Interval


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Agreement of probabilities with what happened.

    ``slope`` is 1 and ``intercept`` 0 for perfect agreement: a slope below 1 tells of extremes
    that are too extreme, an intercept (at slope 1) above 0 of risks that are too low on the whole.
    ``brier_skill`` is the share of the Brier score of always telling the prevalence that is saved.
    """

    slope: Interval
    intercept: Interval
    brier: float
    brier_skill: float
    observed_to_expected: float
    curve: tuple[Group, ...]


def calibration(
    labels: Labels,
    probabilities: Floats,
    *,
    groups: int = 10,
    patients: Patients | None = None,
) -> Fit:
    """Judge probabilities; those that are all equal, or separate the classes, are refused.

    With ``patients`` slope and intercept have intervals robust to several cases of one patient.
    """
    require_probabilities(labels, probabilities)
    if np.ptp(probabilities) == 0:
        raise UnusableScores("probabilities that are all equal have no calibration slope")
    margins = logit(probabilities)
    prevalence, score = float(labels.mean()), brier(labels, probabilities)
    return Fit(
        slope=_slope(labels, margins, patients),
        intercept=_intercept(labels, margins, patients),
        brier=score,
        brier_skill=1 - score / (prevalence * (1 - prevalence)),
        observed_to_expected=prevalence / float(probabilities.mean()),
        curve=calibration_curve(labels, probabilities, groups=groups),
    )


def brier(labels: Labels, probabilities: Floats) -> float:
    """Mean squared distance of probabilities from what happened; 0 is perfect."""
    require_probabilities(labels, probabilities)
    return float(np.mean((probabilities - labels) ** 2))


def brier_interval(sample: Sample, probabilities: Floats) -> Interval:
    """Brier score with its bootstrap interval."""
    require_probabilities(sample.labels, probabilities)
    apart = (probabilities - sample.labels) ** 2
    return bootstrap(weighted.means(apart[:, np.newaxis]), sample)[0]


def calibration_curve(labels: Labels, probabilities: Floats, *, groups: int) -> tuple[Group, ...]:
    """Return groups of about equally many cases, equal probabilities in one, by rising risk."""
    edges = np.unique(np.quantile(probabilities, np.linspace(0, 1, groups + 1)[1:-1]))
    place = np.searchsorted(edges, probabilities, side="left")
    return tuple(
        Group(
            cases=int(np.sum(mine)),
            predicted=float(probabilities[mine].mean()),
            observed=wilson(int(labels[mine].sum()), int(np.sum(mine))),
        )
        for mine in (place == number for number in np.unique(place))
    )


def _slope(labels: Labels, margins: Floats, patients: Patients | None) -> Interval:
    design = np.stack([np.ones_like(margins), margins], axis=1)
    return _wald(GLM(labels.astype(float), design, family=Binomial()), patients)


def _intercept(labels: Labels, margins: Floats, patients: Patients | None) -> Interval:
    design = np.ones((len(margins), 1))
    return _wald(GLM(labels.astype(float), design, family=Binomial(), offset=margins), patients)


def _covariance(patients: Patients | None) -> dict[str, Any]:
    if patients is None:
        return {}
    return {"cov_type": "cluster", "cov_kwds": {"groups": patients}}


def _wald(model: GLM, patients: Patients | None) -> Interval:
    """Return the last coefficient of a logistic model with its Wald interval."""
    try:
        # A step of the fit may overshoot; one that does not come back does not converge.
        with warnings.catch_warnings(), np.errstate(over="ignore"):
            warnings.simplefilter("error", PerfectSeparationWarning)
            fit = model.fit(**_covariance(patients))
    except (PerfectSeparationError, PerfectSeparationWarning):
        raise UnusableScores("the probabilities separate the classes: no finite slope") from None
    value, error = float(fit.params[-1]), float(fit.bse[-1])
    if not fit.converged or not math.isfinite(error):
        raise UnusableScores("the calibration slope could not be fitted")
    reach = float(norm.ppf(0.5 + CONFIDENCE / 2)) * error
    return Interval(value=value, low=value - reach, high=value + reach)
