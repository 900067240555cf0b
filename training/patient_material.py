"""What a cohort of patients gives to train and test on, in the parts that it was split into."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from inference.table import rows
from training.checkpoint import identity_of
from training.cohort import Cohort, require_both_classes
from training.enrolment import Coding, Enrolled, codings, columns_of, covariates_of
from training.feeding import fitted_inputs
from training.images import Drawing, Floats, gathered, open_images, save_images, spread, unit_inputs
from training.known import marks_of
from training.labels import NodalClass, labels
from training.material import Material, Origin, Resources
from training.outcomes import CohortUnusable, number
from training.partition import Part
from training.patients import PatientCohort, load
from training.preparing import Patient, Preparation, Prepared, prepare
from training.progress import Track
from training.recipe import Recipe, RecipeUnusable, Unlocated

TRUTH = "labels.csv"
"""Beside the case folders of a cohort of phantoms: the chances that labels were drawn with."""
_POOL = (Part.TRAINING, Part.VALIDATION)


@dataclass(frozen=True, kw_only=True)
class Patients:
    """Where a cohort that ``petct-train cohort`` made and its case folders lie."""

    cohort: Path
    cases: Path


@dataclass(frozen=True, kw_only=True)
class _Known:
    """What is known of patients beside their images."""

    tasks: tuple[str, ...]
    coded: tuple[Coding, ...]
    chances: Mapping[str, Sequence[float]]
    """By patient, of each task; empty where labels were not drawn."""


def patient_material(
    recipe: Recipe, patients: Patients, resources: Resources, track: Track
) -> Material:
    """Find, measure and cut out the primary tumour of every patient of a cohort.

    Parts are the cohort's. A patient in whom no lesion is found is left out of training and
    validation, counted and named; in the test it ends the run, unless the recipe says otherwise.
    Raises ``CohortUnusable``, or ``RecipeUnusable`` where the recipe is not for patients.
    """
    asked, tasks = recipe.enrolment, tuple(task.name for task in recipe.tasks)
    require_tasks(tasks)
    cohort = load(patients.cohort, split_digest=asked.split_digest)
    drawing = _drawing(recipe)
    way = Preparation(drawing=drawing, rules=asked.lesion, cache=resources.folder / "cases")
    everybody = _prepared(cohort, patients.cases, way, resources, track)
    without = _without_lesion(cohort, everybody)
    _require_lesions(without, asked.unlocated_in_test)
    enrolled = [one for one in everybody if one.prepared.located]
    known = _Known(
        tasks=tasks,
        coded=codings(asked.clinical_columns, enrolled),
        chances=_chances(patients.cases / TRUTH, tasks),
    )
    origin = Origin(
        source="patients",
        name=cohort.name,
        digest=cohort.digest,
        split_digest=cohort.split_digest,
        without_lesion=without,
        marks=marks_of(cohort),
    )
    found = _parted(enrolled, drawing, known, origin, resources)
    for part in (*_POOL, Part.TEST):
        group = found.groups[part]
        require_both_classes(group.cohort.labels[group.indices], tasks, part)
    unmoved = found.pool.images.planes[found.training]
    return replace(found, inputs=fitted_inputs(unmoved, drawing.inputs))


def _parted(
    enrolled: Sequence[Enrolled],
    drawing: Drawing,
    known: _Known,
    origin: Origin,
    resources: Resources,
) -> Material:
    """Return patients with their images by part, the inputs without normalisers yet."""
    of_parts = {part: [one for one in enrolled if one.member.part is part] for part in Part}
    pooled = [one for one in enrolled if one.member.part in _POOL]
    pool, folder = _cohort(pooled, drawing, known, resources)
    still = replace(drawing, variants=0)
    test, _ = _cohort(of_parts[Part.TEST], still, known, resources)
    outside = of_parts[Part.EXTERNAL]
    training, validation = (
        np.flatnonzero([one.member.part is part for one in pooled]) for part in _POOL
    )
    return Material(
        inputs=drawing.inputs,
        pool=pool,
        pool_folder=folder,
        training=training,
        validation=validation,
        test=test,
        external=_cohort(outside, still, known, resources)[0] if outside else None,
        origin=origin,
    )


def _drawing(recipe: Recipe) -> Drawing:
    return Drawing(
        inputs=unit_inputs(recipe.inputs),
        augmentation=recipe.augmentation,
        variants=recipe.augmentation.variants,
        volumetric=any(model.volumetric for model in recipe.rivals),
    )


def _prepared(
    cohort: PatientCohort,
    cases: Path,
    moved: Preparation,
    resources: Resources,
    track: Track,
) -> list[Enrolled]:
    """Return every member with what came out of the case, in the cohort's order."""
    still = replace(moved, drawing=replace(moved.drawing, variants=0))
    given = [
        (
            Patient(folder=cases / one.patient, digest=one.case_digest),
            moved if one.part in _POOL else still,
        )
        for one in cohort.members
    ]
    found = []
    if resources.world.leads_its_host:
        with track.stage("finding lesions", len(given)) as advance:
            for one in spread(_one, given, resources.processes, chunk=1):
                found.append(one)
                advance("")
    resources.world.wait()
    found = resources.world.led(found)
    return [
        Enrolled(member=member, prepared=one)
        for member, one in zip(cohort.members, found, strict=True)
    ]


def _one(given: tuple[Patient, Preparation]) -> Prepared:
    return prepare(*given)


def _cohort(
    enrolled: Sequence[Enrolled], drawing: Drawing, known: _Known, resources: Resources
) -> tuple[Cohort, Path]:
    """Join patients, and return the folder of their images too."""
    folder = _images(enrolled, drawing, resources)
    names, covariates = covariates_of(enrolled, known.coded)
    patients = tuple(one.member.patient for one in enrolled)
    truth = [[labels(one.member.nodal)[task] for task in known.tasks] for one in enrolled]
    cohort = Cohort(
        cases=patients,
        images=open_images(folder),
        covariates=covariates,
        covariate_names=names,
        labels=np.asarray(truth, dtype=np.bool_).reshape(len(enrolled), len(known.tasks)),
        risks=_risks(patients, known.chances),
        columns=columns_of(enrolled, names, covariates),
    )
    return cohort, folder


def _images(enrolled: Sequence[Enrolled], drawing: Drawing, resources: Resources) -> Path:
    """Return the folder of the images of these patients, which is named for what they are."""
    parts = [one.prepared.path.stem for one in enrolled]
    folder = resources.folder / identity_of(parts)[:24]
    if resources.world.leads_its_host and not folder.exists():
        views = (one.prepared.views() for one in enrolled)
        save_images(gathered(views, len(enrolled), drawing), folder)
    resources.world.wait()
    return folder


def _without_lesion(
    cohort: PatientCohort, everybody: Sequence[Enrolled]
) -> Mapping[str, tuple[str, ...]]:
    lost = [one.member for one in everybody if not one.prepared.located]
    parts = [part for part in Part if cohort.of(part)]
    return {part.value: tuple(one.patient for one in lost if one.part is part) for part in parts}


def _require_lesions(without: Mapping[str, Sequence[str]], rule: Unlocated) -> None:
    lost = {part: without.get(part, ()) for part in (Part.TEST.value, Part.EXTERNAL.value)}
    if rule is Unlocated.REFUSE and any(lost.values()):
        told = "; ".join(f"{part}: {', '.join(names)}" for part, names in lost.items() if names)
        raise CohortUnusable(
            f"no lesion is found in patients who were chosen to test on ({told}): the node would "
            "predict nothing for them. Draw their tumours, or say leave_out at "
            "patients.unlocated_in_test, which the answers then tell"
        )


def require_tasks(tasks: Sequence[str]) -> None:
    """Raise ``RecipeUnusable`` where a cohort has no labels of a task."""
    known = labels(NodalClass.N0)
    for task in tasks:
        if task not in known:
            raise RecipeUnusable(f"a cohort has no labels of {task!r}, only {', '.join(known)}")


def _chances(path: Path, tasks: Sequence[str]) -> Mapping[str, Sequence[float]]:
    """Return the chances that labels were drawn with, where a table tells all of them."""
    columns = [f"{task}_risk" for task in tasks]
    if not path.is_file():
        return {}
    found = {}
    for _, row in rows(path):
        chances = [number(row.get(name, "")) for name in columns]
        known = [chance for chance in chances if chance is not None]
        if len(known) == len(columns):
            found[row.get("case", "")] = known
    return found


def _risks(patients: Sequence[str], chances: Mapping[str, Sequence[float]]) -> Floats | None:
    if not all(name in chances for name in patients):
        return None
    risks: Floats = np.asarray([chances[name] for name in patients], dtype=np.float64)
    return risks
