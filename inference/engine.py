"""The one method that every back end has."""

from typing import Protocol

from inference.volume import Voxels


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

    def logits(self, pet: Voxels, ct: Voxels) -> Voxels:
        """Map ``(n, channel, row, column)`` PET and CT inputs to ``(n, 2)`` logits."""
        ...
