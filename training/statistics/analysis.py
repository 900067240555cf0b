"""Everything that can be told of one table of scores."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from training.statistics import reclassification, weighted
from training.statistics.bootstrap import Resampling, Sample, jackknife
from training.statistics.calibration import brier_interval, calibration
from training.statistics.correlation import top
from training.statistics.decision_curve import THRESHOLDS, decision_curve
from training.statistics.discrimination import auroc_difference, auroc_interval_logit
from training.statistics.multiplicity import benjamini_hochberg
from training.statistics.operating_point import count, high_risk
from training.statistics.outcome import survival
from training.statistics.rates import rates_of
from training.statistics.readers import agreement, compare_reader, mean_of_readers
from training.statistics.subgroups import subgroup_analysis
from training.statistics.table import Table
from training.statistics.values import Floats, Labels, UnusableScores

Told: TypeAlias = dict[str, Any]
"""Names, and what is told of each: numbers, intervals or the reason why there is nothing."""


@dataclass(frozen=True, kw_only=True)
class Questions:
    """What is asked of a table.

    ``reference`` is held against every other model, as the new one; ``cutoffs`` are frozen, chosen
    elsewhere; ``risk_models`` make the risk groups: high above any one's cut-off. ``probabilities``
    replace scores where probabilities are judged. ``categories`` are thresholds of risk for NRI.
    """

    reference: str
    cutoffs: Mapping[str, float] = field(default_factory=dict)
    risk_models: Sequence[str] = ()
    probabilities: Mapping[str, Floats] = field(default_factory=dict)
    categories: Sequence[float] = ()
    thresholds: Sequence[float] = THRESHOLDS
    times: Sequence[float] = ()
    resampling: Resampling = field(default_factory=Resampling)


def analyse(table: Table, asked: Questions) -> Told:
    """Answer all that the table has columns for; what cannot be answered tells its reason."""
    for name in (asked.reference, *asked.cutoffs, *asked.risk_models):
        if name not in table.models:
            raise UnusableScores(f"there is no model {name}; models are {list(table.models)}")
    sample = Sample(labels=table.labels, patients=table.patients, resampling=asked.resampling)
    told: Told = {
        "cases": len(table.labels),
        "patients": int(table.patients.max()) + 1,
        "positives": int(table.labels.sum()),
        "reference": asked.reference,
        "models": {name: _model(sample, table, asked, name) for name in table.models},
        "comparisons": _comparisons(sample, table, asked),
    }
    if table.subgroups:
        told["subgroups"] = _subgroups(sample, table, asked)
    if table.readers:
        told["readers"] = _readers(sample, table, asked)
    if any(table.features.values()):
        scores = table.models[asked.reference]
        told["features"] = {kind: top(scores, some) for kind, some in table.features.items()}
    if table.times is not None:
        told["survival"] = attempt(lambda: survival(table, _risk(table, asked), asked.times))
    return told


def attempt(answer: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever the answer is
    """Return an answer, or why there is none."""
    try:
        return answer()
    except UnusableScores as refusal:
        return {"reason": str(refusal)}


def _model(sample: Sample, table: Table, asked: Questions, name: str) -> Told:
    labels, scores = table.labels, table.models[name]
    told: Told = {
        "auroc": auroc_interval_logit(labels, scores, sample.clusters),
        "average_precision": jackknife(
            weighted.average_precision(labels, scores), sample, share=True
        ),
    }
    if name in asked.cutoffs:
        told["at_cutoff"] = _at_cutoff(sample, scores, asked.cutoffs[name])
    probabilities = _probabilities(table, asked, name)
    if probabilities is None:
        told["calibration"] = {"reason": "the scores are not probabilities"}
        return told
    told["calibration"] = attempt(
        lambda: calibration(labels, probabilities, patients=sample.clusters)
    )
    told["brier"] = brier_interval(sample, probabilities)
    told["decision_curve"] = decision_curve(sample, probabilities, asked.thresholds)
    return told


def _at_cutoff(sample: Sample, scores: Floats, cutoff: float) -> Told:
    called = scores > cutoff
    found = count(sample.labels, called)
    rates = rates_of(sample, called)
    return {"cutoff": cutoff, "counts": found, "youden": found.youden, **rates}


def _comparisons(sample: Sample, table: Table, asked: Questions) -> Told:
    """Hold the reference against each other model; p adjusted over all of these."""
    others = [name for name in table.models if name != asked.reference]
    new = table.models[asked.reference]
    differences = {
        name: auroc_difference(table.labels, new, table.models[name], sample.clusters)
        for name in others
    }
    q = benjamini_hochberg({name: found.p for name, found in differences.items()})
    return {
        name: {
            "auroc": differences[name],
            "auroc_q": q[name],
            "average_precision": jackknife(
                weighted.difference(
                    weighted.average_precision(table.labels, new),
                    weighted.average_precision(table.labels, table.models[name]),
                ),
                sample,
            ),
            **_reclassified(sample, table, asked, name),
        }
        for name in others
    }


def _reclassified(sample: Sample, table: Table, asked: Questions, name: str) -> Told:
    new, old = (_probabilities(table, asked, model) for model in (asked.reference, name))
    if new is None or old is None:
        return {"reclassification": {"reason": "the scores are not probabilities"}}
    told: Told = {
        "idi": reclassification.idi(sample, old, new),
        "nri_continuous": reclassification.continuous(sample, old, new),
    }
    if asked.categories:
        told["nri"] = reclassification.categorical(sample, old, new, asked.categories)
    return told


def _subgroups(sample: Sample, table: Table, asked: Questions) -> Told:
    scores, cutoff = table.models[asked.reference], asked.cutoffs.get(asked.reference)
    found = {
        name: subgroup_analysis(sample, scores, groups, cutoff=cutoff)
        for name, groups in table.subgroups.items()
    }
    p = {
        name: np.nan if one.heterogeneity_p is None else one.heterogeneity_p
        for name, one in found.items()
    }
    return {**found, "heterogeneity_q": benjamini_hochberg(p)}


def _readers(sample: Sample, table: Table, asked: Questions) -> Told:
    scores, cutoff = table.models[asked.reference], asked.cutoffs.get(asked.reference)
    each = {
        name: compare_reader(sample, calls, scores, cutoff=cutoff)
        for name, calls in table.readers.items()
    }
    groups: dict[str, dict[str, Labels]] = {}
    for name, calls in table.readers.items():
        groups.setdefault(name.partition("/")[0], {})[name] = calls
    p = {name: one.auroc_of_model_minus_reader.p for name, one in each.items()}
    return {
        "each": each,
        "auroc_q": benjamini_hochberg(p),
        "groups": {name: mean_of_readers(sample, some) for name, some in groups.items()},
        "kappa": agreement(table.readers),
    }


def _risk(table: Table, asked: Questions) -> Labels:
    models = asked.risk_models or [asked.reference]
    missing = [name for name in models if name not in asked.cutoffs]
    if missing:
        raise UnusableScores(f"risk groups need cut-offs of {missing}")
    return high_risk(table.models, {name: asked.cutoffs[name] for name in models})


def _probabilities(table: Table, asked: Questions, name: str) -> Floats | None:
    if name in asked.probabilities:
        return asked.probabilities[name]
    scores = table.models[name]
    return scores if scores.min() >= 0 and scores.max() <= 1 else None
