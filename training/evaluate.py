"""Runs a finished bundle on phantoms again, through the engine and not the network."""

import numpy as np

from inference import onnx_engine
from inference.bundle import Bundle
from inference.card import Auroc, Inputs
from inference.engine import Engine
from inference.preprocess import normalise
from training.cohort import phantom_cohort, require_both_classes
from training.images import Drawing, Floats, Halves, draw_images
from training.progress import Track
from training.recipe import Recipe, RecipeUnusable
from training.statistics import auroc_interval


def evaluate(bundle: Bundle, recipe: Recipe, *, processes: int, track: Track) -> tuple[Auroc, ...]:
    """Return the AUROC of the bundle's networks, and of Bayes, on the recipe's test phantoms.

    Preprocessing is the card's; labels come from the recipe, whose tasks must be the bundle's.
    """
    asked = recipe.cohort
    if [task.name for task in recipe.tasks] != [task.name for task in bundle.tasks]:
        raise RecipeUnusable("the recipe's tasks are not the bundle's")
    first = asked.test_first_seed
    drawing = Drawing(
        scanners=asked.scanners,
        inputs=bundle.card.inputs,
        augmentation=recipe.augmentation,
        variants=0,
    )
    with track.stage("drawing phantoms", asked.test) as advance:
        images = draw_images(
            range(first, first + asked.test),
            drawing,
            processes=processes,
            advance=lambda: advance(""),
        )
    cohort = phantom_cohort([task.risk for task in recipe.tasks], images, first=first)
    require_both_classes(cohort.labels, [task.name for task in recipe.tasks], "test")
    rows = []
    for index, task in enumerate(bundle.tasks):
        engine = onnx_engine.open_engine(bundle.onnx_path(task), threads=1)
        scores = {
            "fusion": _margins(engine, cohort.images.planes, bundle.card.inputs),
            "bayes": cohort.risks[:, index],
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


def _margins(engine: Engine, planes: Halves, inputs: Inputs) -> Floats:
    found = []
    for start in range(0, len(planes), 64):
        batch = planes[start : start + 64].astype(np.float32)
        logits = engine.logits(
            normalise(batch[:, 0], inputs.pet), normalise(batch[:, 1], inputs.ct)
        )
        found.append(logits[:, 1] - logits[:, 0])
    margins: Floats = np.concatenate(found).astype(np.float64)
    return margins
