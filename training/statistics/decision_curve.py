"""What calling by a risk is worth, at each risk from which a person would act.

A. J. Vickers, E. B. Elkin. Medical Decision Making 2006;26:565-574.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.statistics import weighted
from training.statistics.bootstrap import Sample, Statistic, bootstrap
from training.statistics.values import (
    Floats,
    Interval,
    Labels,
    UnusableScores,
    require_probabilities,
)

THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 11))


@dataclass(frozen=True, kw_only=True)
class NetBenefit:
    """True positives a case, less the false ones at the odds of ``threshold``.

    ``advantage`` is over the better of calling all and calling none; to call none is worth 0.
    """

    threshold: float
    model: Interval
    call_all: float
    advantage: Interval


def decision_curve(
    sample: Sample, probabilities: Floats, thresholds: Sequence[float] = THRESHOLDS
) -> tuple[NetBenefit, ...]:
    """Return the net benefit at each threshold, with bootstrap intervals at this prevalence."""
    labels = sample.labels
    require_probabilities(labels, probabilities)
    statistic = net_benefit_statistic(labels, probabilities, _checked(thresholds))
    everyone = [float(_worth(labels, np.ones_like(labels), t).mean()) for t in thresholds]
    found = bootstrap(statistic, sample)
    return tuple(
        NetBenefit(
            threshold=t, model=model, call_all=call_all, advantage=_advantage(model, call_all)
        )
        for t, model, call_all in zip(thresholds, found, everyone, strict=True)
    )


def net_benefit_statistic(
    labels: Labels, probabilities: Floats, thresholds: Sequence[float]
) -> Statistic:
    """Net benefit at each threshold, of cases drawn again."""
    worth = [_worth(labels, probabilities > threshold, threshold) for threshold in thresholds]
    return weighted.means(np.stack(worth, axis=1))


def net_benefit(labels: Labels, probabilities: Floats, threshold: float) -> float:
    """Return TP/n - FP/n * t/(1 - t) of calling risks strictly above the threshold t."""
    require_probabilities(labels, probabilities)
    return float(_worth(labels, probabilities > threshold, *_checked([threshold])).mean())


def _worth(labels: Labels, called: Labels, threshold: float) -> Floats:
    """Return what the call of each case is worth."""
    worth: Floats = np.where(labels, 1.0, -threshold / (1 - threshold)) * called
    return worth


def _advantage(model: Interval, call_all: float) -> Interval:
    # Draws keep the prevalence, so that what calling all is worth does not vary between them.
    least = max(call_all, 0.0)
    return Interval(value=model.value - least, low=model.low - least, high=model.high - least)


def _checked(thresholds: Sequence[float]) -> Sequence[float]:
    if not all(0 < threshold < 1 for threshold in thresholds):
        raise UnusableScores(f"thresholds lie between 0 and 1, got {list(thresholds)}")
    return thresholds
