"""Who lives how long, by risk group and by treatment, computed by lifelines.

* E. L. Kaplan, P. Meier. JASA 1958;53:457-481; intervals: Kalbfleisch and Prentice's log-log.
* N. Mantel. Cancer Chemotherapy Reports 1966;50:163-170 (log-rank).
* D. R. Cox. JRSS B 1972;34:187-220; ties after Efron.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from lifelines import CoxPHFitter, KaplanMeierFitter
from lifelines.exceptions import ConvergenceError, ConvergenceWarning
from lifelines.statistics import multivariate_logrank_test, proportional_hazard_test
from lifelines.utils import concordance_index
from numpy.typing import NDArray

from training.statistics.values import CONFIDENCE, Floats, Interval, Labels, UnusableScores


@dataclass(frozen=True, kw_only=True)
class FollowUp:
    """How long each case was watched, and whether the event ended it; else it is censored."""

    times: Floats
    events: Labels

    def __post_init__(self) -> None:
        if len(self.times) != len(self.events):
            raise UnusableScores(f"{len(self.times)} times for {len(self.events)} events")
        if not np.all(np.isfinite(self.times)) or np.any(self.times < 0):
            raise UnusableScores("times must be known and not negative")

    def of(self, some: Labels) -> "FollowUp":
        """Return the follow-up of some of the cases."""
        return FollowUp(times=self.times[some], events=self.events[some])


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Kaplan-Meier of one group: ``survival`` by time asked; ``median`` infinite if not reached."""

    cases: int
    events: int
    median: float
    survival: Mapping[float, Interval]


@dataclass(frozen=True, kw_only=True)
class Hazard:
    """One covariate of a Cox model; ``proportional_p`` is small where its ratio changes in time."""

    ratio: Interval
    p: float
    proportional_p: float


def kaplan_meier(follow_up: FollowUp, at: Sequence[float]) -> Curve:
    """Return survival at the times asked; after the last case watched it is not known (NaN)."""
    if not len(follow_up.times):
        raise UnusableScores("a survival curve needs cases")
    fitter = KaplanMeierFitter(alpha=1 - CONFIDENCE)
    fitter.fit(follow_up.times, follow_up.events)
    bounds = fitter.confidence_interval_survival_function_
    survival = {}
    for time in at:
        # The curve is a staircase: what holds at a time was settled at the last step before it.
        step = bounds.index.searchsorted(time, side="right") - 1
        known = time <= follow_up.times.max() or fitter.survival_function_.iloc[-1, 0] == 0
        low, high = bounds.iloc[step] if known else (math.nan, math.nan)
        value = float(fitter.predict(time)) if known else math.nan
        survival[time] = Interval(value=value, low=float(low), high=float(high))
    return Curve(
        cases=len(follow_up.times),
        events=int(follow_up.events.sum()),
        median=float(fitter.median_survival_time_),
        survival=survival,
    )


def log_rank_p(follow_up: FollowUp, groups: NDArray[np.str_]) -> float:
    """P that all groups live equally long; two groups with a case each and one event are needed."""
    if len(np.unique(groups)) < 2 or not follow_up.events.any():
        raise UnusableScores("log-rank needs two groups and an event")
    found = multivariate_logrank_test(follow_up.times, groups, follow_up.events)
    return float(found.p_value)


def cox(follow_up: FollowUp, covariates: Mapping[str, Floats]) -> dict[str, Hazard]:
    """Return the hazard ratio of each covariate, the others held; refused if it has no end.

    A covariate that never varies, or a group without any event, has no finite ratio.
    """
    for name, values in covariates.items():
        if len(np.unique(values)) < 2:
            raise UnusableScores(f"{name} is the same in all cases: it has no hazard ratio")
    # Numbered, since a covariate may well be called time or event.
    table = pd.DataFrame({str(n): values for n, values in enumerate(covariates.values())})
    table = table.assign(time=follow_up.times, event=follow_up.events)
    fitter = CoxPHFitter(alpha=1 - CONFIDENCE)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", ConvergenceWarning)
            fitter.fit(table, "time", "event")
    except (ConvergenceError, ConvergenceWarning):
        raise UnusableScores("a hazard ratio has no end: a group without events?") from None
    proportional = proportional_hazard_test(fitter, table, time_transform="rank").summary["p"]
    summary = fitter.summary
    return {
        name: Hazard(
            ratio=Interval(
                value=float(summary.loc[str(n), "exp(coef)"]),
                low=float(summary.loc[str(n), "exp(coef) lower 95%"]),
                high=float(summary.loc[str(n), "exp(coef) upper 95%"]),
            ),
            p=float(summary.loc[str(n), "p"]),
            proportional_p=float(proportional.loc[str(n)]),
        )
        for n, name in enumerate(covariates)
    }


def concordance(follow_up: FollowUp, risk: Floats) -> float:
    """Harrell's C: share of pairs that can be ordered in which the higher risk fails first.

    NaN where no pair can be ordered: without an event, or with the first after all were watched.
    """
    try:
        return float(concordance_index(follow_up.times, -risk, follow_up.events))
    except ZeroDivisionError:
        return math.nan
