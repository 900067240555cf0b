"""Trains every model of a recipe, and asks each about every case."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from training.clinical import Clinical, clinical_model
from training.fit import Trainer
from training.jobs import Job, train_all
from training.material import Material, Resources
from training.partition import Part
from training.progress import Track
from training.recipe import Model, Recipe
from training.scores import Scores, scores_of


@dataclass(frozen=True, kw_only=True, eq=False)
class Learned:
    """The network of a bundle for one task, and what it and its rivals say of every case."""

    fusion: nn.Module
    scores: Mapping[Part, Scores]


def learned(
    recipe: Recipe, ground: Material, resources: Resources, track: Track
) -> list[Learned] | None:
    """Train all networks and clinical models; returns what came out for each task, in their order.

    Only the parts training and validation decide anything. Where several processes work together,
    the leading one gets the answer and the others None.
    """
    clinical = _clinical(recipe, ground)
    networks = _trained(recipe, ground, resources, track)
    if not resources.world.leads:
        return None
    return [
        Learned(
            fusion=networks[index, Model.FUSION],
            scores=_scores(index, ground, networks, clinical[index]),
        )
        for index in range(len(recipe.tasks))
    ]


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
