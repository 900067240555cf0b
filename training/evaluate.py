"""Runs a finished bundle on phantoms again, through the engine and not the network."""

import numpy as np

from inference import onnx_engine
from inference.bundle import Bundle
from inference.card import Auroc, Inputs
from inference.engine import Engine
from training.cohort import Cohort, phantom_cohort, require_both_classes
from training.feeding import as_served
from training.images import Drawing, Floats, Halves, Images, draw_images
from training.progress import Track
from training.recipe import Recipe, RecipeUnusable
from training.statistics import auroc_interval


def evaluate(bundle: Bundle, recipe: Recipe, *, processes: int, track: Track) -> tuple[Auroc, ...]:
    """Return the AUROC of the bundle's networks, and of Bayes, on the recipe's test phantoms.

    Preprocessing is the card's; labels come from the recipe, whose tasks must be the bundle's.
    """
    first, count = recipe.phantoms.test_first_seed, recipe.phantoms.test
    cohort = cohort_again(bundle, recipe, range(first, first + count), processes, track)
    risks = cohort.risks
    assert risks is not None  # of phantoms they are known
    rows = []
    for index, task in enumerate(bundle.tasks):
        engine = onnx_engine.open_engine(bundle.onnx_path(task), threads=1)
        scores = {
            "fusion": engine_margins(engine, cohort.images.planes, bundle.card.inputs),
            "bayes": risks[:, index],
        }
        truth = cohort.labels[:, index]
        for model, score in scores.items():
            found = auroc_interval(truth, score)
            rows.append(
                Auroc(
                    task=task.name,
                    model=model,
                    cases=len(truth),
                    positives=int(truth.sum()),
                    auroc=round(found.value, 4),
                    low=round(found.low, 4),
                    high=round(found.high, 4),
                )
            )
    return tuple(rows)


def cohort_again(
    bundle: Bundle, recipe: Recipe, seeds: range, processes: int, track: Track
) -> Cohort:
    """Draw phantoms for the bundle's inputs, unmoved; both classes of each task are among them."""
    if [task.name for task in recipe.tasks] != [task.name for task in bundle.tasks]:
        raise RecipeUnusable("the recipe's tasks are not the bundle's")
    images = images_again(bundle, recipe, seeds, processes, track)
    cohort = phantom_cohort(
        tuple(recipe.risks.values()),
        images,
        first=seeds.start,
        scanners=recipe.phantoms.scanners,
    )
    require_both_classes(cohort.labels, [task.name for task in recipe.tasks], "test")
    return cohort


def images_again(
    bundle: Bundle, recipe: Recipe, seeds: range, processes: int, track: Track
) -> Images:
    """Draw phantoms for the bundle's inputs, unmoved."""
    drawing = Drawing(
        scanners=recipe.phantoms.scanners,
        inputs=bundle.card.inputs,
        augmentation=recipe.augmentation,
        variants=0,
    )
    with track.stage("drawing phantoms", len(seeds)) as advance:
        return draw_images(seeds, drawing, processes=processes, advance=lambda: advance(""))


def engine_margins(engine: Engine, planes: Halves, inputs: Inputs) -> Floats:
    """Return logit 1 - logit 0 of each case, preprocessed as serving does."""
    found = []
    for pet, ct in as_served(planes, inputs):
        logits = engine.logits(pet, ct)
        found.append(logits[:, 1] - logits[:, 0])
    margins: Floats = np.concatenate(found).astype(np.float64)
    return margins
