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
from training.statistics.bootstrap import Sample, bootstrap
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
    """A new model against an old one; intervals by bootstrap."""

    nri: Interval
    event_nri: Interval
    non_event_nri: Interval
    moves: Moves


def categorical(
    sample: Sample, old: Floats, new: Floats, thresholds: Sequence[float]
) -> Reclassification:
    """NRI by risk categories; a risk strictly above a threshold is in the category above it."""
    if not thresholds or list(thresholds) != sorted(set(thresholds)):
        raise UnusableScores(f"thresholds must ascend, got {list(thresholds)}")
    edges = np.asarray(thresholds)
    ranks = [np.searchsorted(edges, risks, side="left") for risks in (old, new)]
    return _reclassified(sample, old, new, np.sign(ranks[1] - ranks[0]))


def continuous(sample: Sample, old: Floats, new: Floats) -> Reclassification:
    """NRI in which any rise or fall of a risk is a move."""
    return _reclassified(sample, old, new, np.sign(new - old))


def idi(sample: Sample, old: Floats, new: Floats) -> Interval:
    """Integrated discrimination improvement: mean rise of events minus that of non-events."""
    _require(sample.labels, old, new)
    rise = _signed(sample.labels, new - old)
    return bootstrap(weighted.class_means(sample.labels, rise[:, np.newaxis]), sample)[0]


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
    right = _signed(labels, direction)
    columns = np.stack([right, np.where(labels, right, 0), np.where(labels, 0, right)], axis=1)
    nri, event, non_event = bootstrap(weighted.class_means(labels, columns), sample)
    return Reclassification(
        nri=nri, event_nri=event, non_event_nri=non_event, moves=moves(labels, direction)
    )


def _signed(labels: Labels, rise: Floats) -> Floats:
    """Return what is right of a rise: itself for an event, its opposite for a non-event."""
    signed: Floats = np.where(labels, rise, -rise).astype(np.float64)
    return signed


def _require(labels: Labels, old: Floats, new: Floats) -> None:
    for risks in (old, new):
        require_probabilities(labels, risks)
