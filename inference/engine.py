"""What every back end can do with a network."""

from typing import Protocol, TypeAlias

from inference.volume import Voxels

F32, F16, BF16, INT8 = "f32", "f16", "bf16", "int8"
"""What convolutions calculate in."""
LOGITS = "logits"
SALIENCY = "saliency"
"""The outputs of a network; one made before saliency was has the first alone."""

Explained: TypeAlias = tuple[Voxels, Voxels | None]
"""Logits ``(n, 2)``, and saliency ``(n, row, column)`` where the network has that output.

Saliency is 0 or more. Its cell ``i`` lies on pixel ``i * pixels / cells``, rows and columns alike.
"""


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
        """Return the logits and where the network looked, from one run of it."""
        ...
