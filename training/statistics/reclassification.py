"""Whether a new model moves cases the right way, compared with an old one.

* M. J. Pencina et al. Statistics in Medicine 2008;27:157-172 (categorical NRI, IDI).
* M. J. Pencina et al. Statistics in Medicine 2011;30:11-21 (continuous NRI, without categories).
* K. F. Kerr et al. Epidemiology 2014;25:114-121 (why the bootstrap, and why NRI stands second to
  AUROC and net benefit: a useless marker that is badly calibrated can gain).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from training.statistics import weighted
from training.statistics.bootstrap import Sample, Statistic, bootstrap
from training.statistics.values import (
    Floats,
    Interval,
    Labels,
    UnusableScores,
    require_probabilities,
)


@dataclass(frozen=True, kw_only=True)
class Moves:
    """How many cases of each class a new model put higher, and how many lower."""

    events: int
    events_up: int
    events_down: int
    non_events: int
    non_events_up: int
    non_events_down: int

    @property
    def event_nri(self) -> float:
        """Net share of the events that went up."""
        return (self.events_up - self.events_down) / self.events

    @property
    def non_event_nri(self) -> float:
        """Net share of the non-events that went down."""
        return (self.non_events_down - self.non_events_up) / self.non_events

    @property
    def nri(self) -> float:
        """Net reclassification improvement: a sum of two shares, -2 to 2."""
        return self.event_nri + self.non_event_nri

    @property
    def z(self) -> float:
        """NRI over its standard error if nothing improved (Pencina 2008, eq. 9); NaN unmoved."""
        variance = (self.events_up + self.events_down) / self.events**2
        variance += (self.non_events_up + self.non_events_down) / self.non_events**2
        return self.nri / math.sqrt(variance) if variance else math.nan

    @property
    def p(self) -> float:
        """Two-sided p of ``z``."""
        return float(2 * norm.sf(abs(self.z)))


@dataclass(frozen=True, kw_only=True)
class Reclassification:
    """A new model against an old one; intervals by bootstrap, ``p`` as published (``Moves.z``)."""

    nri: Interval
    event_nri: Interval
    non_event_nri: Interval
    moves: Moves
    p: float


def categorical(
    sample: Sample, old: Floats, new: Floats, thresholds: Sequence[float]
) -> Reclassification:
    """NRI by risk categories, as ``between_categories`` has them."""
    return _reclassified(sample, old, new, between_categories(old, new, thresholds))


def continuous(sample: Sample, old: Floats, new: Floats) -> Reclassification:
    """NRI in which any rise or fall of a risk is a move."""
    return _reclassified(sample, old, new, np.sign(new - old))


def idi(sample: Sample, old: Floats, new: Floats) -> Interval:
    """Integrated discrimination improvement: mean rise of events minus that of non-events."""
    _require(sample.labels, old, new)
    return bootstrap(idi_statistic(sample.labels, old, new), sample)[0]


def idi_statistic(labels: Labels, old: Floats, new: Floats) -> Statistic:
    """IDI, one number, of cases drawn again."""
    return weighted.class_means(labels, _signed(labels, new - old)[:, np.newaxis])


def nri_statistic(labels: Labels, direction: Floats) -> Statistic:
    """NRI, and what events and non-events bring to it, of cases drawn again."""
    right = _signed(labels, direction)
    columns = np.stack([right, np.where(labels, right, 0), np.where(labels, 0, right)], axis=1)
    return weighted.class_means(labels, columns)


def between_categories(old: Floats, new: Floats, thresholds: Sequence[float]) -> Floats:
    """Return -1, 0 or 1: whether a risk fell into a lower category, stayed, or rose.

    A risk strictly above a threshold is in the category above it.
    """
    if not thresholds or list(thresholds) != sorted(set(thresholds)):
        raise UnusableScores(f"thresholds must ascend, got {list(thresholds)}")
    edges = np.asarray(thresholds)
    before, after = (np.searchsorted(edges, risks, side="left") for risks in (old, new))
    direction: Floats = np.sign(after - before).astype(np.float64)
    return direction


def moves(labels: Labels, direction: Floats) -> Moves:
    """Count cases by the sign of ``direction``."""
    events, others = direction[labels], direction[~labels]
    return Moves(
        events=len(events),
        events_up=int(np.sum(events > 0)),
        events_down=int(np.sum(events < 0)),
        non_events=len(others),
        non_events_up=int(np.sum(others > 0)),
        non_events_down=int(np.sum(others < 0)),
    )


def _reclassified(sample: Sample, old: Floats, new: Floats, direction: Floats) -> Reclassification:
    labels = sample.labels
    _require(labels, old, new)
    nri, event, non_event = bootstrap(nri_statistic(labels, direction), sample)
    moved = moves(labels, direction)
    return Reclassification(
        nri=nri, event_nri=event, non_event_nri=non_event, moves=moved, p=moved.p
    )


def _signed(labels: Labels, rise: Floats) -> Floats:
    """Return what is right of a rise: itself for an event, its opposite for a non-event."""
    signed: Floats = np.where(labels, rise, -rise).astype(np.float64)
    return signed


def _require(labels: Labels, old: Floats, new: Floats) -> None:
    for risks in (old, new):
        require_probabilities(labels, risks)
