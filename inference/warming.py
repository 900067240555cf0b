"""Runs a network before the first study does, and holds what it says against a reference."""

from collections.abc import Iterator

import numpy as np

from inference.card import Inputs
from inference.engine import Engine
from inference.errors import EngineUnavailable

DIFFERENCE_MAX = {"f32": 1e-3, "f16": 2e-2, "bf16": 1e-1, "int8": 2e-1}
"""Greatest difference in a logit, as a share of the greatest logit or of 1. Kernels that are broken
miss it by far; what fewer bits cost in cases is the card's to say."""


def warm(engine: Engine, inputs: Inputs, reference: Engine | None = None, *, most: int = 1) -> None:
    """Run the network once for each size of batch up to ``most``, before a study waits for it.

    So memory is taken and kernels are made. ``EngineUnavailable`` where it gives something that is
    no number, or not the ``reference``'s logits.
    """
    for count in _sizes(most):
        _run(engine, _examples(inputs, count), reference)


def _run(engine: Engine, examples: tuple[np.ndarray, np.ndarray], reference: Engine | None) -> None:
    told = engine.explained(*examples)
    if not all(np.isfinite(output).all() for output in told if output is not None):
        raise EngineUnavailable(f"{engine.name} gives what is no number on {engine.device}")
    if reference is None:
        return
    expected = reference.logits(*examples)
    difference = float(np.abs(told.logits - expected).max() / max(1.0, np.abs(expected).max()))
    if difference > DIFFERENCE_MAX[engine.precision]:
        raise EngineUnavailable(
            f"{engine.name} in {engine.precision} on {engine.device} differs from "
            f"{reference.name} by {difference:.2g} in a logit"
        )


def _sizes(most: int) -> Iterator[int]:
    """Yield 1, 2, 4 and so on, which is what engines make buffers for, and ``most``."""
    size = 1
    while size < most:
        yield size
        size *= 2
    yield most


def _examples(inputs: Inputs, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw so many cases of normalised inputs, the same each time and none like another."""
    side = inputs.crop_side
    shape = (2, count, len(inputs.planes), side, side)
    pet, ct = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    return pet, ct
