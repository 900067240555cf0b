"""What a recipe trains and tests on: drawn, or read back from a cache of drawings."""

import hashlib
import inspect
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from inference import anatomy, phantom, preprocess, resample, scanner, shapes
from inference.card import Inputs
from inference.codec import canonical, encode
from training import augment, images
from training.cohort import Cohort, Indices, phantom_cohort, require_both_classes, split
from training.fit import fitted_inputs
from training.images import Drawing, Images, draw_images, unit_inputs
from training.progress import Track
from training.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What a run may use; none of it but ``threads`` changes a number."""

    threads: int = 1
    """Threads of torch; another number rounds sums otherwise."""
    cache: Path | None = None
    """A folder where drawings are kept for the next run; about 2 GB for the shipped recipe."""


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
    drawing = Drawing(
        scanners=asked.scanners,
        inputs=unit,
        augmentation=recipe.augmentation,
        variants=recipe.augmentation.variants,
    )
    risks = [task.risk for task in recipe.tasks]
    first, unseen = asked.first_seed, asked.test_first_seed
    seeds, test_seeds = range(first, first + asked.training), range(unseen, unseen + asked.test)
    pool = phantom_cohort(risks, _images(seeds, drawing, resources, track), first=first)
    unmoved = _images(test_seeds, replace(drawing, variants=0), resources, track)
    rng = np.random.default_rng(recipe.seed)
    training, validation = split(pool.labels, asked.validation_share, rng)
    test = phantom_cohort(risks, unmoved, first=unseen)
    names = [task.name for task in recipe.tasks]
    require_both_classes(pool.labels[training], names, "training")
    require_both_classes(pool.labels[validation], names, "validation")
    require_both_classes(test.labels, names, "test")
    return Material(
        inputs=fitted_inputs(pool.images.planes[training], unit),
        pool=pool,
        training=training,
        validation=validation,
        test=test,
    )


def _images(seeds: range, drawing: Drawing, resources: Resources, track: Track) -> Images:
    kept = None if resources.cache is None else resources.cache / f"{_key(seeds, drawing)}.npz"
    if kept is not None and kept.exists():
        with np.load(kept, allow_pickle=False) as held:
            return Images(planes=held["planes"], moved=held["moved"], suv_max=held["suv_max"])
    with track.stage("drawing phantoms", len(seeds)) as advance:
        drawn = draw_images(
            seeds, drawing, processes=resources.threads, advance=lambda: advance("")
        )
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        part = kept.with_suffix(".part.npz")
        np.savez(part, planes=drawn.planes, moved=drawn.moved, suv_max=drawn.suv_max)
        part.replace(kept)
    return drawn


def _key(seeds: range, drawing: Drawing) -> str:
    """Name a drawing by all that decides it, the code included."""
    told = canonical(encode([seeds.start, seeds.stop, drawing]))
    code = [
        inspect.getsource(module)
        for module in (anatomy, phantom, preprocess, resample, scanner, shapes, augment, images)
    ]
    return hashlib.sha256(told + "".join(code).encode()).hexdigest()[:24]
