"""The same question of each part of the cases, and whether the answers differ."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.statistics.bootstrap import Sample
from training.statistics.discrimination import auroc_heterogeneity_p, auroc_interval_logit
from training.statistics.operating_point import Confusion, confusion
from training.statistics.values import (
    Floats,
    Interval,
    Labels,
    Patients,
    UnusableScores,
    require_scores,
)


@dataclass(frozen=True, kw_only=True)
class Subgroup:
    """One part of the cases.

    ``auroc`` is absent where a class has fewer than two patients, ``rates`` where a patient has
    several cases: exact intervals would be too narrow.
    """

    cases: int
    positives: int
    auroc: Interval | None
    counts: Confusion | None
    rates: dict[str, Interval] | None


@dataclass(frozen=True, kw_only=True)
class SubgroupAnalysis:
    """All parts, and Cochran's Q over those that have an AUROC; no p if fewer than two have."""

    parts: dict[str, Subgroup]
    heterogeneity_p: float | None


def subgroup_analysis(
    sample: Sample, scores: Floats, groups: NDArray[np.str_], *, cutoff: float | None
) -> SubgroupAnalysis:
    """Judge scores in each group. A case whose group is unknown (empty) is in none."""
    require_scores(sample.labels, scores)
    if len(groups) != len(sample.labels):
        raise UnusableScores(f"{len(groups)} groups do not match {len(sample.labels)} labels")
    clusters = sample.clusters
    each = {
        str(name): (
            sample.labels[groups == name],
            scores[groups == name],
            None if clusters is None else clusters[groups == name],
        )
        for name in np.unique(groups)
        if name
    }
    parts = {name: _subgroup(*part, cutoff) for name, part in each.items()}
    judged = [each[name] for name, part in parts.items() if part.auroc is not None]
    return SubgroupAnalysis(parts=parts, heterogeneity_p=_heterogeneity(judged))


def _subgroup(
    labels: Labels, scores: Floats, patients: Patients | None, cutoff: float | None
) -> Subgroup:
    counts = None if cutoff is None else confusion(labels, scores, cutoff)
    try:
        found = auroc_interval_logit(labels, scores, patients)
    except UnusableScores:
        found = None
    return Subgroup(
        cases=len(labels),
        positives=int(labels.sum()),
        auroc=found,
        counts=counts,
        rates=None if counts is None or patients is not None else counts.rates(),
    )


def _heterogeneity(samples: list[tuple[Labels, Floats, Patients | None]]) -> float | None:
    if len(samples) < 2:
        return None
    try:
        return auroc_heterogeneity_p(samples)
    except UnusableScores:
        return None
