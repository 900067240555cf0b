"""From a lesion to each task's probability, with where its network looked."""

from collections.abc import Mapping

import numpy as np

from inference.bundle import Bundle
from inference.engine import Engine
from inference.errors import InferenceError
from inference.findings import Lesion, Prediction, Saliency
from inference.petct import PetCt
from inference.preprocess import network_inputs
from inference.saliency import saliency_on_pet


def predict(
    petct: PetCt, lesion: Lesion, bundle: Bundle, engines: Mapping[str, Engine]
) -> tuple[tuple[Prediction, ...], tuple[Saliency, ...]]:
    """Return one calibrated prediction for each task, in the card's order, and their saliency.

    ``engines`` maps the name of each task to an engine that is open on the task's network.
    A network that does not tell where it looked has no saliency. ``InferenceError`` where a network
    gives something that is no number.
    """
    pet, ct = network_inputs(petct, lesion.centroid_lps_mm, bundle.card.inputs)
    predictions, saliency = [], []
    for task in bundle.tasks:
        logits, cells = engines[task.name].explained(pet, ct)
        negative, positive = logits[0]
        margin = float(positive) - float(negative)
        if not np.isfinite(margin):
            raise InferenceError(f"{task.onnx} gave logits {negative} and {positive}")
        probability = task.calibration.probability(margin)
        predictions.append(Prediction(task=task.name, probability=probability, cutoff=task.cutoff))
        if cells is not None:
            if not np.all(np.isfinite(cells)):
                raise InferenceError(f"{task.onnx} gave a saliency that is not finite")
            saliency.append(
                saliency_on_pet(
                    task.name,
                    cells[0],
                    pet=petct.pet.grid,
                    centre=lesion.centroid_lps_mm,
                    inputs=bundle.card.inputs,
                )
            )
    return tuple(predictions), tuple(saliency)
