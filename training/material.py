"""What a recipe trains and tests on: drawn, or read back from a cache of drawings."""

import hashlib
import inspect
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inference import anatomy, phantom, preprocess, resample, scanner, shapes
from inference.card import Inputs
from inference.codec import canonical, encode
from training import cohort as cohorts
from training.cohort import (
    Cohort,
    Floats,
    Images,
    Indices,
    draw_images,
    phantom_cohort,
    split,
    unit_inputs,
)
from training.fit import fitted_inputs
from training.progress import Track
from training.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What a run may use; none of it but ``threads`` changes a number."""

    threads: int = 1
    """Threads of torch; another number rounds sums otherwise."""
    cache: Path | None = None
    """A folder where drawings are kept for the next run; about 5 GB for the shipped recipe."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Material:
    """The pool with its one split for all tasks, the test set, and inputs with normalisers."""

    inputs: Inputs
    pool: Cohort
    training: Indices
    validation: Indices
    test: Cohort


def material(recipe: Recipe, resources: Resources, track: Track) -> Material:
    """Draw the recipe's phantoms and split the pool; normalisers come from its training part."""
    asked = recipe.cohort
    unit = unit_inputs(recipe.inputs)
    risks = [task.risk for task in recipe.tasks]
    first, last = asked.first_seed, asked.first_seed + asked.training
    images = _images(recipe, (first, asked.training), resources, track, keep_cubes=True)
    pool = phantom_cohort(risks, images, first=first)
    unseen = _images(recipe, (last, asked.test), resources, track, keep_cubes=False)
    rng = np.random.default_rng(recipe.seed)
    training, validation = split(pool.labels, asked.validation_share, rng)
    return Material(
        inputs=fitted_inputs(pool.images.planes[training], unit),
        pool=pool,
        training=training,
        validation=validation,
        test=phantom_cohort(risks, unseen, first=last),
    )


def _images(
    recipe: Recipe, seeds: tuple[int, int], resources: Resources, track: Track, *, keep_cubes: bool
) -> tuple[Images, Floats]:
    unit = unit_inputs(recipe.inputs)
    first, count = seeds
    kept = None
    if resources.cache is not None:
        kept = resources.cache / f"{_key(recipe, seeds, unit)}.npz"
        if kept.exists():
            with np.load(kept, allow_pickle=False) as held:
                return Images(planes=held["planes"], cubes=held["cubes"]), held["suv_max"]
    with track.stage("drawing phantoms", count) as advance:
        drawn, suv_max = draw_images(
            range(first, first + count),
            recipe.cohort.scanners,
            unit,
            keep_cubes=keep_cubes,
            processes=resources.threads,
            advance=lambda: advance(""),
        )
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        part = kept.with_suffix(".part.npz")
        np.savez(part, planes=drawn.planes, cubes=drawn.cubes, suv_max=suv_max)
        part.replace(kept)
    return drawn, suv_max


def _key(recipe: Recipe, seeds: tuple[int, int], unit: Inputs) -> str:
    """Name a drawing by all that decides it, the code included."""
    told = canonical(encode([list(seeds), recipe.cohort.scanners, unit]))
    code = [
        inspect.getsource(module)
        for module in (anatomy, phantom, preprocess, resample, scanner, shapes, cohorts)
    ]
    return hashlib.sha256(told + "".join(code).encode()).hexdigest()[:24]
