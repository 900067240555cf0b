"""What every back end can do with a network."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, Protocol, runtime_checkable

from inference.volume import Voxels

F32, F16, BF16, INT8 = "f32", "f16", "bf16", "int8"
"""What convolutions calculate in."""
LOGITS = "logits"
SALIENCY = "saliency"
FEATURES = "features"
OUTPUTS = (LOGITS, SALIENCY, FEATURES)
"""The outputs of a network, the newest last; one made before these were has the first ones."""


class Explained(NamedTuple):
    """What one run of a network gives, in the order of ``OUTPUTS``; None for an output it lacks."""

    logits: Voxels
    """``(n, 2)``."""
    saliency: Voxels | None = None
    """``(n, row, column)``, 0 or more. Cell ``i`` lies on pixel ``i * pixels / cells``."""
    features: Voxels | None = None
    """``(n, feature)``, 0 or more: mean and maximum of each map that the first layers give."""


class Engine(Protocol):
    """Runs one network on one device."""

    @property
    def name(self) -> str:
        """``openvino``, ``onnxruntime``, ``tensorrt``, ``tensorrt-rtx`` or ``torch``."""
        ...

    @property
    def device(self) -> str:
        """The device as its vendor names it, ``CPU`` for the host."""
        ...

    @property
    def precision(self) -> str:
        """``f32``, ``f16``, ``bf16`` or ``int8``: what its convolutions calculate in."""
        ...

    def logits(self, pet: Voxels, ct: Voxels) -> Voxels:
        """Map ``(n, channel, row, column)`` PET and CT inputs to ``(n, 2)`` logits."""
        ...

    def explained(self, pet: Voxels, ct: Voxels) -> Explained:
        """Return the logits, where the network looked and what it saw there, from one run of it."""
        ...


@runtime_checkable
class Sharing(Protocol):
    """An engine that leaves CPUs to the networks of other tasks."""

    @property
    def abreast(self) -> int:
        """So many networks may run at a time."""
        ...


def run_all(engines: Sequence[Engine], pet: Voxels, ct: Voxels) -> list[Explained]:
    """Run every network on the same inputs, as many at a time as all of the engines allow."""
    at_once = min(one.abreast if isinstance(one, Sharing) else 1 for one in engines)
    if min(at_once, len(engines)) < 2:
        return [engine.explained(pet, ct) for engine in engines]
    with ThreadPoolExecutor(min(at_once, len(engines))) as pool:
        return list(pool.map(lambda engine: engine.explained(pet, ct), engines))
