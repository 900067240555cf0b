"""Runs a network before the first study does, and holds what it says against a reference."""

import numpy as np

from inference.card import Inputs
from inference.engine import Engine
from inference.errors import EngineUnavailable

DIFFERENCE_MAX = {"f32": 1e-3, "f16": 2e-2, "bf16": 1e-1, "int8": 2e-1}
"""Greatest difference in a logit, as a share of the greatest logit or of 1. Kernels that are broken
miss it by far; what fewer bits cost in cases is the card's to say."""


def warm(engine: Engine, inputs: Inputs, reference: Engine | None = None) -> None:
    """Run the network once, so that memory is taken and kernels are made before a study waits.

    ``EngineUnavailable`` where it gives something that is no number, or not the ``reference``'s
    logits.
    """
    pet, ct = _example(inputs)
    told = engine.explained(pet, ct)
    if not all(np.isfinite(output).all() for output in told if output is not None):
        raise EngineUnavailable(f"{engine.name} gives what is no number on {engine.device}")
    if reference is None:
        return
    expected = reference.logits(pet, ct)
    difference = float(np.abs(told.logits - expected).max() / max(1.0, np.abs(expected).max()))
    if difference > DIFFERENCE_MAX[engine.precision]:
        raise EngineUnavailable(
            f"{engine.name} in {engine.precision} on {engine.device} differs from "
            f"{reference.name} by {difference:.2g} in a logit"
        )


def _example(inputs: Inputs) -> tuple[np.ndarray, np.ndarray]:
    """Draw one case of normalised inputs, the same each time."""
    side = inputs.crop_side
    shape = (2, 1, len(inputs.planes), side, side)
    pet, ct = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    return pet, ct
