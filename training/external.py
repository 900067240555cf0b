"""Evaluates a bundle on a cohort of patients that others gathered; nothing is fitted to them."""

import csv
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from uuid import uuid4

import numpy as np

from inference import bundle as bundles
from inference.bundle import Bundle
from inference.card import Task
from inference.lesion import LesionRules
from training import scores as tables
from training.cohort import Cohort, require_both_classes, whole
from training.enrolment import columns_of, covariates_of
from training.images import Floats, Images, spread
from training.known import require_unseen
from training.labels import labels
from training.outcomes import CohortUnusable
from training.partition import Part
from training.patient_material import Patients, require_tasks
from training.patients import Member, PatientCohort
from training.patients import load as load_cohort
from training.preparing import Patient
from training.progress import Track
from training.reporting.answers import read_run
from training.reporting.evaluation import as_json, judged_tasks, markdown
from training.reporting.judged import Asked
from training.scores import Answers, Scores
from training.served import Asking, Served, opened, serve
from training.statistics.bootstrap import Resampling
from training.statistics_command import plain

PATIENTS = "patients.csv"
NUMBERS = "evaluation.json"
REPORT = "evaluation.md"
COVERED, MARKED = "covered", "marked"


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Which bundle is asked about whom."""

    bundle: Path
    patients: Patients
    rules: LesionRules = field(default_factory=LesionRules)
    parts: tuple[Part, ...] = tuple(Part)
    """Of the cohort's split; all of it where the bundle has seen none of the patients."""
    resampling: Resampling = field(default_factory=Resampling)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Asked:
    """A member of the cohort, and what the bundle says."""

    member: Member
    served: Served

    @property
    def measured(self) -> Floats:
        return self.served.measured


@dataclass(frozen=True, kw_only=True)
class _Way:
    """What the answers tell of how patients were chosen."""

    parts: tuple[str, ...]
    unseen: str


def evaluate_patients(asked: Evaluation, out: Path, *, processes: int, track: Track) -> str:
    """Write answers, numbers and a report to ``out``, a new folder, and return the report.

    Refused are patients whom the bundle was fitted on, tasks that the cohort does not answer or
    knows one answer to only, and cases that are not as they were (``CohortUnusable``,
    ``RecipeUnusable``); networks that do not take the inputs of their card (``BundleUnusable``).
    """
    if out.exists():
        raise FileExistsError(f"{out} is there already")
    bundle = bundles.load(asked.bundle)
    tasks = tuple(task.name for task in bundle.tasks)
    require_tasks(tasks)
    cohort = load_cohort(asked.patients.cohort)
    members = tuple(one for one in cohort.members if one.part in asked.parts)
    require_both_classes(_labels(members, tasks), tasks, f"cohort {cohort.name}")
    unseen = require_unseen(bundle, members)
    opened(asked.bundle)  # whoever has networks that cannot run learns it at once
    everybody = _served(members, asked, processes, track)
    part_folder = out.with_name(f".{out.name}.{uuid4().hex}.part")
    parts = () if set(asked.parts) == set(Part) else tuple(map(str, asked.parts))
    _write_answers(part_folder, bundle, cohort, everybody, _Way(parts=parts, unseen=unseen))
    told = _judge(part_folder, asked, cohort)
    part_folder.rename(out)
    return told


def _served(
    members: Sequence[Member], asked: Evaluation, processes: int, track: Track
) -> tuple[_Asked, ...]:
    ask = partial(serve, asking=Asking(bundle=asked.bundle, rules=asked.rules))
    given = [
        Patient(folder=asked.patients.cases / one.patient, digest=one.case_digest)
        for one in members
    ]
    absent = [patient.folder for patient in given if not patient.folder.is_dir()]
    if absent:
        raise CohortUnusable(f"{absent[0]}: the case of a member of the cohort is not there")
    found = []
    with track.stage("asking the bundle", len(given)) as advance:
        for one in spread(ask, given, processes, chunk=1):
            found.append(one)
            advance("")
    return tuple(
        _Asked(member=member, served=one) for member, one in zip(members, found, strict=True)
    )


def _write_answers(
    folder: Path,
    bundle: Bundle,
    cohort: PatientCohort,
    everybody: Sequence[_Asked],
    way: _Way,
) -> None:
    """Write tables of those who have a prediction, and a line on everybody."""
    tasks = tuple(task.name for task in bundle.tasks)
    given = [one for one in everybody if one.served.margins]
    if not given:
        codes = Counter(code for one in everybody for code in one.served.reasons)
        told = ", ".join(f"{code} {count}" for code, count in codes.most_common())
        raise CohortUnusable(f"the bundle predicts nothing of any patient: {told}")
    part = Part.EXTERNAL
    group = whole(_cohort(given, tasks))
    margins = np.asarray([one.served.margins for one in given], dtype=np.float64)
    scores = [
        {part: Scores(group=group, labels=group.labels(at), models={"fusion": margins[:, at]})}
        for at in range(len(tasks))
    ]
    nowhere, withheld = _lost(everybody)
    codes = Counter(code for one in given for code in one.served.reasons)
    answers = Answers(
        recipe=bundle.card.name,
        version=bundle.card.version,
        seed=None,
        bundle_digest=bundle.digest,
        source="patients",
        cohort=cohort.name,
        cohort_digest=cohort.digest,
        split_digest=cohort.split_digest,
        tasks=tasks,
        models=("fusion",),
        cases={part.value: len(given)},
        positives={
            task: {part.value: int(one[part].labels.sum())}
            for task, one in zip(tasks, scores, strict=True)
        },
        without_lesion={part.value: nowhere},
        withheld={part.value: withheld},
        marked=dict(sorted(codes.items())),
        parts=way.parts,
        unseen=way.unseen,
    )
    tables.write(folder, answers, scores)
    with (folder / PATIENTS).open("x", newline="", encoding="utf-8") as file:
        lines = [_line(one, bundle.tasks) for one in everybody]
        writer = csv.DictWriter(file, fieldnames=list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)


def _judge(folder: Path, asked: Evaluation, cohort: PatientCohort) -> str:
    """Write what the answers in a folder tell, and return it in words."""
    run = read_run(asked.bundle, folder, None, None)
    verdicts = judged_tasks(run, Asked(resampling=asked.resampling))
    numbers = json.dumps(plain(as_json(run, verdicts)), indent=2, allow_nan=False)
    (folder / NUMBERS).write_text(numbers + "\n", encoding="utf-8")
    told = markdown(run, cohort, verdicts)
    (folder / REPORT).write_text(told, encoding="utf-8")
    return told


def _labels(members: Sequence[Member], tasks: Sequence[str]) -> np.ndarray:
    truth = [[labels(one.nodal)[task] for task in tasks] for one in members]
    return np.asarray(truth, dtype=np.bool_).reshape(len(members), len(tasks))


def _cohort(given: Sequence[_Asked], tasks: Sequence[str]) -> Cohort:
    names, covariates = covariates_of(given)
    planes = np.stack([one.served.planes for one in given if one.served.planes is not None])
    columns = columns_of(given, names, covariates)
    columns["subgroup:card"] = tuple(MARKED if one.served.reasons else COVERED for one in given)
    return Cohort(
        cases=tuple(one.member.patient for one in given),
        images=Images(
            planes=planes,
            moved=np.empty((len(given), 0, *planes.shape[1:]), np.float16),
            suv_max=np.exp(covariates[:, names.index("log_suv_max")]),
        ),
        covariates=covariates,
        covariate_names=names,
        labels=_labels([one.member for one in given], tasks),
        columns=columns,
    )


def _lost(everybody: Sequence[_Asked]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return in whom no lesion is found, and whose prediction is withheld."""
    without = [one for one in everybody if not one.served.margins]
    nowhere, withheld = (
        tuple(one.member.patient for one in without if bool(len(one.measured)) is found)
        for found in (False, True)
    )
    return nowhere, withheld


def _line(one: _Asked, tasks: Sequence[Task]) -> dict[str, object]:
    """Return all that is told of one patient; cells of predictions that are not there are empty."""
    truth, served = labels(one.member.nodal), one.served
    line: dict[str, object] = {
        "patient": one.member.patient,
        "centre": one.member.centre,
        "part": one.member.part.value,
        "predicted": int(bool(served.margins)),
        "risk": served.risk or "",
        "reasons": " ".join(served.reasons),
    }
    for task in tasks:
        line[f"{task.name}_label"] = int(truth[task.name])
        line |= dict.fromkeys(f"{task.name}_{column}" for column in _TOLD)
    for margin, told in zip(served.margins, served.predictions, strict=True):
        cells: list[object] = [margin, told.probability, told.cutoff, int(told.high)]
        cells += [told.possible, told.distance, told.distance_max]
        line |= {f"{told.task}_{name}": cell for name, cell in zip(_TOLD, cells, strict=True)}
    return line


_TOLD = ("margin", "probability", "cutoff", "high", "possible", "distance", "distance_max")
