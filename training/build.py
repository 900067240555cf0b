"""A whole run: draw, train, compare, calibrate and write the bundle with what it is worth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from inference import bundle as bundles
from inference.bundle import Bundle
from inference.card import SCHEMA, AtCutoff, Auroc, Card, Coverage, Task
from training import scores as tables
from training.calibrated import Scored, calibrated, coverage_on, share_seen
from training.clinical import Clinical, clinical_model
from training.cohort import Labels
from training.export import to_onnx
from training.fit import Trainer
from training.images import Floats
from training.jobs import Job, train_all
from training.material import Material, Resources, material
from training.partition import Part
from training.patient_material import Patients, patient_material
from training.progress import Track
from training.recipe import FitRecipe, Model, Recipe, TaskRecipe
from training.scores import Answers, Scores, scores_of
from training.statistics import (
    auroc_difference_p,
    auroc_interval,
    confusion,
)

ARCHITECTURE = (
    "DLNMS, 2.5D: two 2D ResNet-18 of widths {widths}, no weights shared, feature maps "
    "concatenated, maximum and mean pooled, two dense layers; auxiliary heads not exported; "
    "saliency: HiResCAM of both stems before their pooling"
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Answer:
    """What a run gives for one task."""

    task: Task
    onnx: bytes
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

    Cases are the recipe's phantoms, or ``patients`` where the recipe is for them.

    The same recipe and code on the same kind of machine give the same files. Where several
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
    clinical = _clinical(recipe, ground)
    networks = _trained(recipe, ground, resources, track)
    if not resources.world.leads:
        return None
    scores = [
        _scores(index, ground, networks, clinical[index]) for index in range(len(recipe.tasks))
    ]
    found = [
        answer(asked, ground, scores[index], networks[index, Model.FUSION], fit=recipe.fit)
        for index, asked in enumerate(recipe.tasks)
    ]
    bundle = bundles.save(out, *_contents(recipe, ground, found))
    if answers is not None:
        tables.write(answers, _told(recipe, ground, scores, bundle.digest), scores)
    return bundle


def _contents(
    recipe: Recipe, ground: Material, answers: Sequence[Answer]
) -> tuple[Card, dict[str, bytes]]:
    """Return the card, and the files that it names."""
    files = {given.task.onnx: given.onnx for given in answers}
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
    task = _calibrated(fit, asked, scores)
    truth, told = scores[Part.TEST].labels, scores[Part.TEST].models
    return Answer(
        task=task,
        onnx=to_onnx(fusion, ground.inputs),
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


def _trained(
    recipe: Recipe, ground: Material, resources: Resources, track: Track
) -> dict[tuple[int, Model], nn.Module]:
    """Train every model for every task; returns them by the task's index and the model."""
    models = (Model.FUSION, *recipe.rivals)
    named = [(index, model) for model in models for index in range(len(recipe.tasks))]
    jobs = [_job(recipe, index, model, ground, resources) for index, model in named]
    with track.stage("training networks", len(jobs) * recipe.fit.epochs) as advance:
        networks = train_all(jobs, processes=resources.processes, report=advance)
    return dict(zip(named, networks, strict=True))


def _job(recipe: Recipe, index: int, model: Model, ground: Material, resources: Resources) -> Job:
    task, runs = recipe.tasks[index].name, resources.runs
    trainer = Trainer(
        fit=recipe.fit,
        augmentation=recipe.augmentation,
        inputs=ground.inputs,
        seed=recipe.seed + index,
        world=resources.world,
    )
    return Job(
        title=f"{task} {model}",
        model=model,
        network=recipe.network,
        trainer=trainer,
        images=ground.pool_folder,
        labels=ground.pool.labels[:, index],
        training=ground.training,
        validation=ground.validation,
        folder=None if runs is None else runs / f"{task}-{model}",
    )


def _clinical(recipe: Recipe, ground: Material) -> list[Clinical]:
    """Fit the clinical model of each task; before the networks, because it may not be possible."""
    group = ground.groups[Part.TRAINING]
    return [
        clinical_model(
            group.covariates,
            group.labels(index),
            names=group.cohort.covariate_names,
            p_max=recipe.clinical_p_max,
        )
        for index in range(len(recipe.tasks))
    ]


def _scores(
    index: int,
    ground: Material,
    networks: Mapping[tuple[int, Model], nn.Module],
    clinical: Clinical,
) -> Mapping[Part, Scores]:
    """Return what every model says of every part, for one task."""
    of_task = {str(model): network for (task, model), network in networks.items() if task == index}
    return {
        part: scores_of(group, index, networks=of_task, clinical=clinical, inputs=ground.inputs)
        for part, group in ground.groups.items()
    }


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
