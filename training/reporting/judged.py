"""Puts one task's answers to ``training.statistics``, with what the bundle serves for its network.

Fusion is judged as it is served: by the card's calibration and cut-off. Every other model gets a
calibration that its validation cases choose and the cut-off that is best on its training cases.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from scipy.special import expit

from training.conformal import Conformal
from training.judging import (
    calibrators,
    conformal_sets,
    told_of_calibration,
    told_of_sets,
    youden_cutoffs,
)
from training.partition import Part
from training.reporting.answers import FUSION, TaskRun
from training.statistics.analysis import Questions, Told, analyse, attempt
from training.statistics.bootstrap import Resampling, Sample
from training.statistics.table import Table
from training.statistics.values import Floats, UnusableScores

BAYES = "bayes"
THRESHOLDS = tuple(round(0.02 * step, 2) for step in range(1, 31))
"""Of decision curves: fine enough for a line."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a user may choose.

    ``categories`` are thresholds of risk for NRI; without any it is the task's cut-off.
    """

    resampling: Resampling = field(default_factory=Resampling)
    categories: Sequence[float] = ()
    coverage: float = 0.9
    times: Sequence[float] = (1.0, 3.0, 5.0)
    """Years at which survival is told."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """Everything that one part of the cases tells of one task."""

    run: TaskRun
    part: Part
    table: Table
    sample: Sample
    probabilities: Mapping[str, Floats]
    cutoffs: Mapping[str, float]
    told: Told
    recalibration: Mapping[str, Any]
    """How each model but fusion and Bayes came to its probabilities."""
    sets: Any
    """What fusion's sets of answers did, or the reason why there are none."""
    categories: tuple[float, ...]

    @property
    def models(self) -> list[str]:
        """The models by name, fusion first."""
        return list(self.table.models)

    @property
    def rivals(self) -> list[str]:
        """All models but fusion."""
        return [name for name in self.table.models if name != FUSION]


def judge(run: TaskRun, part: Part, asked: Asked) -> Judged:
    """Answer all that the part's table can be asked."""
    table = run.tables[part]
    choices = {}
    if Part.VALIDATION in run.tables:
        choices = calibrators(table, run.tables[Part.VALIDATION], seed=asked.resampling.seed)
    for known in (FUSION, BAYES):
        choices.pop(known, None)
    probabilities = {
        name: choice.probability(table.models[name]) for name, choice in choices.items()
    }
    probabilities[FUSION] = run.probability(table.models[FUSION])
    if BAYES in table.models:
        # The chances that labels were drawn with: there is nothing to calibrate.
        probabilities[BAYES] = expit(table.models[BAYES])
    cutoffs = {}
    if Part.TRAINING in run.tables:
        cutoffs = youden_cutoffs(table, run.tables[Part.TRAINING])
    cutoffs[FUSION] = run.cutoff_margin
    categories = tuple(asked.categories) or (run.task.cutoff,)
    told = analyse(
        # Survival is told over all tasks together, see ``training.reporting.survival``.
        replace(table, times=None, events=None, treatment=None),
        Questions(
            reference=FUSION,
            cutoffs=cutoffs,
            probabilities=probabilities,
            categories=categories,
            thresholds=THRESHOLDS,
            resampling=asked.resampling,
        ),
    )
    return Judged(
        run=run,
        part=part,
        table=table,
        sample=Sample(labels=table.labels, patients=table.patients, resampling=asked.resampling),
        probabilities=probabilities,
        cutoffs=cutoffs,
        told=told,
        recalibration=told_of_calibration(choices),
        sets=attempt(partial(_sets, run, table, asked.coverage)),
        categories=categories,
    )


def _sets(run: TaskRun, table: Table, coverage: float) -> Told:
    """Judge the card's sets of answers; where it has none, such as validation gives."""
    if run.task.answers is None and Part.VALIDATION not in run.tables:
        raise UnusableScores("the card has none")
    if run.task.answers is None:
        return conformal_sets(table, run.tables[Part.VALIDATION], FUSION, coverage)
    served = Conformal(**vars(run.task.answers))
    return told_of_sets(served, run.probability(table.models[FUSION]), table.labels)
