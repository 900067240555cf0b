"""What a recipe trains and tests on: drawn, or read back from a cache of drawings."""

import hashlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from inference import anatomy, phantom, preprocess, resample, scanner, shapes, tumour
from inference.card import Inputs
from inference.codec import canonical, encode
from training import augment, images
from training.cohort import (
    Cohort,
    Group,
    Indices,
    phantom_cohort,
    require_both_classes,
    split,
    whole,
)
from training.distributed import ALONE, World
from training.feeding import fitted_inputs
from training.images import Drawing, draw_images, open_images, save_images, unit_inputs
from training.partition import Part, split_digest
from training.progress import Track
from training.recipe import Recipe

DRAWN_BY = (anatomy, phantom, preprocess, resample, scanner, shapes, tumour, augment, images)
"""The code that decides what is drawn: another drawing is kept once it changes."""


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What a run may use; none of it changes a number, but that sums are rounded otherwise.

    Several processes that work together share out every batch; ``processes`` is how many train
    networks of their own beside each other.
    """

    folder: Path
    """Drawings are kept here, and found again by the next run: 4.1 GB for the shipped recipe."""
    processes: int = 1
    runs: Path | None = None
    """Checkpoints and logs are kept here, one folder a network, and a killed run goes on."""
    world: World = ALONE


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where the cases come from, as a table of answers tells it."""

    source: str
    """``phantoms`` or ``patients``."""
    name: str
    digest: str = ""
    split_digest: str
    without_lesion: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By part, the patients in whom no lesion was found."""
    marks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By part, digests by which the patients' cases are known again; none of phantoms."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Material:
    """The pool with its one split for all tasks, the test set, and inputs with normalisers."""

    inputs: Inputs
    pool: Cohort
    pool_folder: Path
    training: Indices
    validation: Indices
    test: Cohort
    external: Cohort | None = None
    """Patients of centres that nobody else is of."""
    origin: Origin

    @property
    def groups(self) -> Mapping[Part, Group]:
        """The cases of each part."""
        found = {
            Part.TRAINING: Group(cohort=self.pool, indices=self.training),
            Part.VALIDATION: Group(cohort=self.pool, indices=self.validation),
            Part.TEST: whole(self.test),
        }
        return found if self.external is None else {**found, Part.EXTERNAL: whole(self.external)}


def material(recipe: Recipe, resources: Resources, track: Track) -> Material:
    """Draw the recipe's phantoms and split the pool; normalisers come from its training part."""
    asked = recipe.phantoms
    unit = unit_inputs(recipe.inputs)
    drawing = Drawing(
        scanners=asked.scanners,
        inputs=unit,
        augmentation=recipe.augmentation,
        variants=recipe.augmentation.variants,
        volumetric=any(model.volumetric for model in recipe.rivals),
    )
    risks = tuple(recipe.risks.values())
    first, unseen = asked.first_seed, asked.test_first_seed
    seeds, test_seeds = range(first, first + asked.training), range(unseen, unseen + asked.test)
    pool_folder = _drawn(seeds, drawing, resources, track)
    scanners = asked.scanners
    pool = phantom_cohort(risks, open_images(pool_folder), first=first, scanners=scanners)
    test_folder = _drawn(test_seeds, replace(drawing, variants=0), resources, track)
    rng = np.random.default_rng(recipe.seed)
    training, validation = split(pool.labels, asked.validation_share, rng)
    test = phantom_cohort(risks, open_images(test_folder), first=unseen, scanners=scanners)
    names = [task.name for task in recipe.tasks]
    require_both_classes(pool.labels[training], names, "training")
    require_both_classes(pool.labels[validation], names, "validation")
    require_both_classes(test.labels, names, "test")
    parts = {
        **dict.fromkeys((pool.cases[index] for index in training), Part.TRAINING),
        **dict.fromkeys((pool.cases[index] for index in validation), Part.VALIDATION),
        **dict.fromkeys(test.cases, Part.TEST),
    }
    return Material(
        inputs=fitted_inputs(pool.images.planes[training], unit),
        pool=pool,
        pool_folder=pool_folder,
        training=training,
        validation=validation,
        test=test,
        origin=Origin(source="phantoms", name=recipe.name, split_digest=split_digest(parts)),
    )


def _drawn(seeds: range, drawing: Drawing, resources: Resources, track: Track) -> Path:
    folder = resources.folder / _key(seeds, drawing)
    if resources.world.leads_its_host and not folder.exists():
        with track.stage("drawing phantoms", len(seeds)) as advance:
            images = draw_images(
                seeds, drawing, processes=resources.processes, advance=lambda: advance("")
            )
        save_images(images, folder)
    resources.world.wait()
    return folder


def _key(seeds: range, drawing: Drawing) -> str:
    """Name a drawing by all that decides it, the code included."""
    told = canonical(encode([seeds.start, seeds.stop, drawing]))
    code = [inspect.getsource(module) for module in DRAWN_BY]
    return hashlib.sha256(told + "".join(code).encode()).hexdigest()[:24]
