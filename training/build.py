"""A whole run: draw, train, compare, calibrate and write the bundle with what it is worth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from torch import nn

from inference import bundle as bundles
from inference.bundle import Bundle
from inference.card import SCHEMA, AtCutoff, Auroc, Card, Coverage, Task
from training import known
from training import scores as tables
from training.calibrated import Scored, calibrated, coverage_on, share_seen
from training.cohort import Labels
from training.export import to_onnx
from training.familiar import learnt
from training.images import Floats
from training.learning import learned
from training.material import Material, Resources, material
from training.partition import Part
from training.patient_material import Patients, patient_material
from training.progress import Track
from training.recipe import FitRecipe, Recipe, TaskRecipe
from training.scores import Answers, Scores
from training.statistics import (
    auroc_difference_p,
    auroc_interval,
    confusion,
)

ARCHITECTURE = (
    "DLNMS, 2.5D: two 2D ResNet-18 of widths {widths}, no weights shared, feature maps "
    "concatenated, maximum and mean pooled, two dense layers; auxiliary heads not exported; "
    "saliency: HiResCAM of both stems before their pooling; features: mean and maximum of the maps "
    "of both stems and of both first stages"
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Answer:
    """What a run gives for one task."""

    task: Task
    files: Mapping[str, bytes]
    performance: tuple[Auroc, ...]
    at_cutoff: AtCutoff
    coverage: Coverage | None


def build(
    recipe: Recipe,
    out: Path,
    resources: Resources,
    track: Track,
    *,
    patients: Patients | None = None,
    answers: Path | None = None,
) -> Bundle | None:
    """Train and test everything in the recipe and write its bundle to ``out``, which is new.

    Cases are the recipe's phantoms, or ``patients`` where the recipe is for them. The same recipe,
    cases and code on the same kind of machine give the same files. Where several
    processes work together the leading one writes, and the others get None. ``answers`` is a new
    folder for what every model says of every case; see ``training.scores``.
    """
    for folder in (out, *filter(None, [answers])):
        if folder.exists():
            raise FileExistsError(f"{folder} is there already")
    if patients is None:
        ground = material(recipe, resources, track)
    else:
        ground = patient_material(recipe, patients, resources, track)
    models = learned(recipe, ground, resources, track)
    if models is None:
        return None
    found = [
        answer(asked, ground, one.scores, one.fusion, fit=recipe.fit)
        for asked, one in zip(recipe.tasks, models, strict=True)
    ]
    bundle = bundles.save(out, *_contents(recipe, ground, found))
    if answers is not None:
        scores = [one.scores for one in models]
        tables.write(answers, _told(recipe, ground, scores, bundle.digest), scores)
    return bundle


def _contents(
    recipe: Recipe, ground: Material, answers: Sequence[Answer]
) -> tuple[Card, dict[str, bytes]]:
    """Return the card, and the files that it names."""
    files = {name: data for given in answers for name, data in given.files.items()}
    if ground.origin.marks:
        files[known.FILE] = known.packed(ground.origin)
    card = Card(
        schema=SCHEMA,
        name=recipe.name,
        version=recipe.version,
        intended_use=recipe.intended_use,
        training_data=recipe.training_data,
        training_set=summary(recipe, ground),
        architecture=ARCHITECTURE.format(widths=list(recipe.network.widths)),
        inputs=ground.inputs,
        tasks=tuple(given.task for given in answers),
        performance=tuple(row for given in answers for row in given.performance),
        at_cutoff=tuple(given.at_cutoff for given in answers),
        coverage=tuple(given.coverage for given in answers if given.coverage is not None),
        limits=recipe.limits,
        files=dict.fromkeys(files, ""),
    )
    return card, files


def answer(
    asked: TaskRecipe,
    ground: Material,
    scores: Mapping[Part, Scores],
    fusion: nn.Module,
    *,
    fit: FitRecipe,
) -> Answer:
    """Calibrate one task's fusion network, and hold it against its rivals on the test set."""
    network = to_onnx(fusion, ground.inputs)
    seen = learnt(asked.name, network, ground.groups, ground.inputs)
    task = replace(_calibrated(fit, asked, scores), familiarity=seen.familiarity)
    truth, told = scores[Part.TEST].labels, scores[Part.TEST].models
    return Answer(
        task=task,
        files={task.onnx: network, seen.familiarity.file: seen.statistics},
        performance=tuple(_row(asked.name, name, truth, told) for name in told),
        at_cutoff=_at_cutoff(task, truth, told["fusion"]),
        coverage=coverage_on(task, Scored(labels=truth, margins=told["fusion"])),
    )


def summary(recipe: Recipe, ground: Material) -> dict[str, float]:
    """Return the numbers of the training set that the card shows."""
    numbers: dict[str, float] = {
        f"{ground.origin.source}_{part}": len(group.indices)
        for part, group in ground.groups.items()
    }
    if recipe.cohort is not None:
        numbers["first_seed"] = recipe.cohort.first_seed
    for part, names in ground.origin.without_lesion.items():
        numbers[f"without_lesion_{part}"] = len(names)
    for index, task in enumerate(recipe.tasks):
        positive = ground.pool.labels[ground.training, index].mean()
        numbers[f"{task.name}_prevalence"] = round(float(positive), 4)
    place = ground.pool.covariate_names.index("log_diameter")
    diameters = np.exp(ground.pool.covariates[ground.training, place])
    for share in (5, 50, 95):
        numbers[f"diameter_mm_percentile_{share}"] = round(
            float(np.percentile(diameters, share)), 1
        )
    return numbers


def _told(
    recipe: Recipe, ground: Material, scores: Sequence[Mapping[Part, Scores]], bundle_digest: str
) -> Answers:
    origin, tasks = ground.origin, tuple(task.name for task in recipe.tasks)
    return Answers(
        recipe=recipe.name,
        version=recipe.version,
        seed=recipe.seed,
        bundle_digest=bundle_digest,
        source=origin.source,
        cohort=origin.name,
        cohort_digest=origin.digest,
        split_digest=origin.split_digest,
        tasks=tasks,
        models=tuple(scores[0][Part.TEST].models),
        cases={part.value: len(group.indices) for part, group in ground.groups.items()},
        positives={
            task: {part.value: int(found.labels.sum()) for part, found in of_parts.items()}
            for task, of_parts in zip(tasks, scores, strict=True)
        },
        without_lesion=origin.without_lesion,
    )


def _calibrated(fit: FitRecipe, asked: TaskRecipe, scores: Mapping[Part, Scores]) -> Task:
    """Calibrate on validation; take the cut-off from training, then carry it over."""
    known, held_out = (
        Scored(labels=some.labels, margins=some.models["fusion"])
        for some in (scores[Part.TRAINING], scores[Part.VALIDATION])
    )
    return calibrated(asked, known, held_out, seen=share_seen(fit, known.labels))


def _row(task: str, model: str, truth: Labels, scores: Mapping[str, Floats]) -> Auroc:
    found = auroc_interval(truth, scores[model])
    rival = model != "fusion"
    p = auroc_difference_p(truth, scores["fusion"], scores[model]) if rival else None
    return Auroc(
        task=task,
        model=model,
        cases=len(truth),
        positives=int(truth.sum()),
        auroc=round(found.value, 4),
        low=round(found.low, 4),
        high=round(found.high, 4),
        p_versus_fusion=None if p is None else float(f"{p:.2g}"),
    )


def _at_cutoff(task: Task, truth: Labels, scores: Floats) -> AtCutoff:
    probabilities = np.asarray([task.calibration.probability(score) for score in scores])
    found = confusion(truth, probabilities, task.cutoff)
    return AtCutoff(task=task.name, **vars(found))
