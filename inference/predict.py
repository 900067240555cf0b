"""From a lesion to the probability of each of the bundle's tasks."""

from collections.abc import Mapping

import numpy as np

from inference.bundle import Bundle
from inference.engine import Engine
from inference.errors import InferenceError
from inference.findings import Lesion, Prediction
from inference.petct import PetCt
from inference.preprocess import network_inputs


def predict(
    petct: PetCt, lesion: Lesion, bundle: Bundle, engines: Mapping[str, Engine]
) -> tuple[Prediction, ...]:
    """Return one calibrated prediction for each task, in the card's order.

    ``engines`` maps the name of each task to an engine that is open on the task's network.
    ``InferenceError`` where a network gives something that is no number.
    """
    pet, ct = network_inputs(petct, lesion.centroid_lps_mm, bundle.card.inputs)
    predictions = []
    for task in bundle.tasks:
        negative, positive = engines[task.name].logits(pet, ct)[0]
        margin = float(positive) - float(negative)
        if not np.isfinite(margin):
            raise InferenceError(f"{task.onnx} gave logits {negative} and {positive}")
        probability = task.calibration.probability(margin)
        predictions.append(Prediction(task=task.name, probability=probability, cutoff=task.cutoff))
    return tuple(predictions)
