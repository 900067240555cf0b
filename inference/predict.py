"""From a lesion to each task's probability, with what its network saw and where it looked."""

from collections.abc import Mapping

import numpy as np

from inference.beside import each
from inference.bundle import Bundle
from inference.card import Task
from inference.engine import Engine, Explained, run_all
from inference.errors import InferenceError
from inference.familiar import Familiar
from inference.findings import Lesion, Prediction, Saliency
from inference.petct import PetCt
from inference.preprocess import network_inputs
from inference.saliency import saliency_on_pet
from inference.stages import stage
from inference.volume import Voxels


def predict(
    petct: PetCt, lesion: Lesion, bundle: Bundle, engines: Mapping[str, Engine]
) -> tuple[tuple[Prediction, ...], tuple[Saliency, ...]]:
    """Return one calibrated prediction for each task, in the card's order, and their saliency.

    ``engines`` maps the name of each task to an engine that is open on the task's network.
    A network that does not tell where it looked has no saliency, and a prediction whose bundle does
    not tell what its training set looked like has no distance. ``InferenceError`` where a network
    gives something that is no number, or other features than its statistics are of.
    """
    with stage("preprocess"):
        pet, ct = network_inputs(petct, lesion.centroid_lps_mm, bundle.card.inputs)
    with stage("network"):
        answers = run_all([engines[task.name] for task in bundle.tasks], pet, ct)
    told = list(zip(bundle.tasks, answers, strict=True))
    predictions = tuple(_prediction(task, bundle, one) for task, one in told)
    looked = [(task, one.saliency[0]) for task, one in told if one.saliency is not None]
    for task, cells in looked:
        if not np.all(np.isfinite(cells)):
            raise InferenceError(f"{task.onnx} gave a saliency that is not finite")

    def on_pet(one: tuple[Task, Voxels]) -> Saliency:
        task, cells = one
        return saliency_on_pet(
            task.name,
            cells,
            pet=petct.pet.grid,
            centre=lesion.centroid_lps_mm,
            inputs=bundle.card.inputs,
        )

    return predictions, tuple(each(on_pet, looked))


def _prediction(task: Task, bundle: Bundle, told: Explained) -> Prediction:
    negative, positive = told.logits[0]
    margin = float(positive) - float(negative)
    if not np.isfinite(margin):
        raise InferenceError(f"{task.onnx} gave logits {negative} and {positive}")
    limit = task.familiarity
    return Prediction(
        task=task.name,
        probability=task.calibration.probability(margin),
        cutoff=task.cutoff,
        distance=None if limit is None else _distance(task, bundle.familiar[task.name], told),
        distance_max=None if limit is None else limit.distance_max,
        answers=task.answers,
    )


def _distance(task: Task, familiar: Familiar, told: Explained) -> float:
    if told.features is None or told.features.shape[1:] != familiar.mean.shape:
        raise InferenceError(
            f"{task.onnx} does not give the {familiar.features} features that its statistics are of"
        )
    (distance,) = familiar.distances(told.features)
    if not np.isfinite(distance):
        raise InferenceError(f"{task.onnx} gave features that are not finite")
    return float(distance)
