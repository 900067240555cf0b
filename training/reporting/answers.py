"""Reads what a run left: a bundle, its answers, and where they are given cohort and logs."""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference import bundle as bundles
from inference.bundle import Bundle
from inference.card import Task
from inference.codec import Malformed, canonical, digest, encode
from training import patients, scores
from training.partition import Part
from training.patients import PatientCohort
from training.scores import CASES, COVARIATES, Answers
from training.statistics import table as tables
from training.statistics.table import Table
from training.statistics.values import Floats, UnusableScores

FUSION = "fusion"
KINDS = ("positive-right", "negative-right", "positive-wrong", "negative-wrong")


@dataclass(frozen=True, kw_only=True, eq=False)
class Extremes:
    """The cases that fusion told best and worst, in the order of the file."""

    planes: NDArray[np.float16]
    """``(case, modality, plane, row, column)``, SUVbw and HU."""
    case: NDArray[np.str_]
    kind: NDArray[np.str_]
    margin: Floats


@dataclass(frozen=True, kw_only=True)
class Traits:
    """What is known of one case; numbers are as they were measured, not their logarithms."""

    covariates: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, eq=False)
class TaskRun:
    """One task: its entry in the card, and what every model said of every case."""

    task: Task
    tables: Mapping[Part, Table]
    """Training, validation, test, and external where it is there; of an evaluation that alone."""
    extremes: Extremes | None

    @property
    def part(self) -> Part:
        """The part that is judged: the test of the bundle's own run, or what an evaluation saw."""
        return Part.TEST if Part.TEST in self.tables else Part.EXTERNAL

    def probability(self, margins: Floats) -> Floats:
        """Return what the bundle tells for the margins of its network."""
        calibrated = [self.task.calibration.probability(float(one)) for one in margins]
        return np.asarray(calibrated, dtype=np.float64)

    @property
    def cutoff_margin(self) -> float:
        """The greatest margin that was seen and is not called: just those above it are."""
        margins = np.unique(np.concatenate([one.models[FUSION] for one in self.tables.values()]))
        low = margins[self.probability(margins) <= self.task.cutoff]
        return float(low.max()) if len(low) else float(margins.min()) - 1.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """Everything that a report tells of."""

    bundle: Bundle
    answers: Answers
    tasks: tuple[TaskRun, ...]
    traits: Mapping[Part, Sequence[Traits]]
    """Of the cases of each part; empty where the answers do not tell."""
    cohort: PatientCohort | None = None
    runs: Path | None = None

    @property
    def on_phantoms(self) -> bool:
        """Whether no patient was seen."""
        return self.answers.source == "phantoms"

    @property
    def part(self) -> Part:
        """The part that is judged."""
        return self.tasks[0].part

    @property
    def own(self) -> bool:
        """Whether these are answers of the run that made the bundle, and of no evaluation."""
        return self.part is Part.TEST


def read_run(bundle_path: Path, folder: Path, cohort: Path | None, runs: Path | None) -> Run:
    """Read a run whose parts belong together.

    ``UnusableScores`` names what does not: answers of another bundle, a task without its tables,
    tables whose models differ, a cohort that is not the one of the answers.
    """
    bundle = bundles.load(bundle_path)
    try:
        answers = scores.read(folder)
    except (UnicodeDecodeError, Malformed) as error:
        raise UnusableScores(f"{folder / scores.FILE}: {error}") from error
    if answers.bundle_digest not in _digests(bundle):
        raise UnusableScores(
            f"the answers are those of the bundle {answers.bundle_digest}, not of {bundle.digest}"
        )
    names = tuple(task.name for task in bundle.tasks)
    if answers.tasks != names:
        raise UnusableScores(f"answers of {list(answers.tasks)} for a bundle of {list(names)}")
    return Run(
        bundle=bundle,
        answers=answers,
        tasks=tuple(_task(task, folder / task.name, answers) for task in bundle.tasks),
        traits=_traits(folder / COVARIATES),
        cohort=None if cohort is None else _cohort(cohort, answers),
        runs=runs,
    )


def _digests(bundle: Bundle) -> tuple[str, str]:
    """Return the bundle's digest now, and as it was before records of parity were added."""
    return bundle.digest, digest(canonical(encode(replace(bundle.card, parity=()))))


def _task(task: Task, folder: Path, answers: Answers) -> TaskRun:
    evaluated = set(answers.cases) == {Part.EXTERNAL}
    parts: list[Part] = [] if evaluated else [Part.TRAINING, Part.VALIDATION, Part.TEST]
    if (folder / f"{Part.EXTERNAL}.csv").exists():
        parts.append(Part.EXTERNAL)
    found = {part: tables.read(folder / f"{part}.csv") for part in parts}
    if not found:
        raise UnusableScores(f"{folder}: there is no table of the evaluation")
    models = list(found[Part.EXTERNAL if evaluated else Part.TEST].models)
    if evaluated and models != [FUSION]:
        raise UnusableScores(f"{folder}: an evaluation is of {FUSION} alone; models are {models}")
    if FUSION not in models:
        raise UnusableScores(f"{folder}: no column {FUSION}; models are {models}")
    for part, one in found.items():
        if list(one.models) != models:
            raise UnusableScores(f"{folder}: {part} has {list(one.models)}, test {models}")
    return TaskRun(task=task, tables=found, extremes=_extremes(folder / CASES))


def _traits(path: Path) -> Mapping[Part, Sequence[Traits]]:
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    try:
        parts = [Part(row.pop("part")) for row in rows]
        told = [dict(_trait(*one) for one in row.items() if _tells(*one)) for row in rows]
    except (KeyError, TypeError, ValueError) as error:
        raise UnusableScores(f"{path}: {error}") from error
    seen: dict[str, set[str]] = {}
    for name, value in (one for row in told for one in row.items()):
        seen.setdefault(name, set()).add(value)
    found: dict[Part, list[Traits]] = {}
    for part, row in zip(parts, told, strict=True):
        named = {name: _named(value, seen[name]) for name, value in row.items()}
        found.setdefault(part, []).append(Traits(covariates=named))
    return found


def _tells(name: str, text: str) -> bool:
    return name != "case" and bool(text)


def _trait(name: str, text: str) -> tuple[str, str]:
    """Undo the logarithm that the clinical model wants."""
    plain = name.removeprefix("log_")
    value = float(text)
    return plain.replace("_", " "), f"{math.exp(value) if plain != name else value:.6g}"


def _named(value: str, every: set[str]) -> str:
    """Call 1 yes and 0 no where there is nothing else."""
    return {"0": "no", "1": "yes"}[value] if every <= {"0", "1"} else value


def _extremes(path: Path) -> Extremes | None:
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as held:
            return Extremes(
                planes=held["planes"],
                case=held["case"],
                kind=held["kind"],
                margin=held["margin"].astype(np.float64),
            )
    except (KeyError, ValueError) as error:
        raise UnusableScores(f"{path} is not a file of cases: {error}") from error


def _cohort(folder: Path, answers: Answers) -> PatientCohort:
    found = patients.load(folder)
    if answers.cohort_digest != found.digest:
        told = answers.cohort_digest or "phantoms that the recipe draws"
        raise UnusableScores(f"{folder} is {found.digest}, but the answers are of {told}")
    return found
