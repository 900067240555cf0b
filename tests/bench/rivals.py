"""The bundle's networks by torch as it is fastest on a GPU, beside TensorRT's engines."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch

from inference.engine import Explained
from inference.tensorrt_engine import TensorRtEngine
from inference.torch_engine import Operators

Tensors = tuple[torch.Tensor, ...]


@dataclass(frozen=True)
class Whole:
    """Shapes and axes, which are known before a run: to read them off a tensor would halt it."""

    values: list[int]

    def tolist(self) -> list[int]:
        return self.values


class Network(torch.nn.Module):
    """The operators of an ONNX network, with weights that lie channels last."""

    def __init__(self, network: bytes, device: str) -> None:
        super().__init__()
        self._operators = Operators(onnx.load_from_string(network).graph)
        self.outputs = self._operators.outputs
        self._constants = {
            name: channels_last(one.to(device)) if one.is_floating_point() else Whole(one.tolist())
            for name, one in self._operators.constants.items()
        }

    def forward(self, pet: torch.Tensor, ct: torch.Tensor) -> Tensors:
        return tuple(self._operators.run(self._constants, pet, ct))


def channels_last(tensor: torch.Tensor) -> torch.Tensor:
    """Lay out an image of two or three axes as its convolutions like it; leave all else."""
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    return tensor.to(memory_format=formats.get(tensor.ndim, torch.preserve_format))


def autocast(device: str, kind: torch.dtype) -> AbstractContextManager[Any]:
    """Automatic mixed precision, whose cache of weights a graph must not hold."""
    return torch.autocast(device, kind, cache_enabled=False)


class Rival(ABC):
    """One network for one batch, with inputs at addresses that never change."""

    def __init__(self, network: bytes, pet: np.ndarray, ct: np.ndarray) -> None:
        self.network = Network(network, "cuda")
        self._host = [torch.from_numpy(image).pin_memory() for image in (pet, ct)]
        self.inputs = [channels_last(image.to("cuda")) for image in self._host]
        self.stream = torch.cuda.Stream()
        torch.cuda.synchronize()

    @abstractmethod
    def launch(self) -> Tensors:
        """Let the GPU run on what lies in the inputs; the outputs last until the next run."""

    def explained(self, pet: np.ndarray, ct: np.ndarray) -> Explained:
        """Run as the node runs its engines: from NumPy to NumPy, by pinned memory."""
        with torch.inference_mode(), torch.cuda.stream(self.stream):
            for host, device, image in zip(self._host, self.inputs, (pet, ct), strict=True):
                host.copy_(torch.from_numpy(image))
                device.copy_(host, non_blocking=True)
            told = [output.to("cpu").numpy() for output in self.launch()]
        return Explained(**dict(zip(self.network.outputs, told, strict=True)))

    def launches(self) -> Sequence[Callable[[], object]]:
        """Return what one run of the batch consists of."""
        return [self.launch]


class Eager(Rival):
    """One operator after the other in float32."""

    def launch(self) -> Tensors:
        return tuple(self.network(*self.inputs))


class Graph(Rival):
    """Mixed precision, channels last, one CUDA graph: what TensorRT has to beat."""

    def __init__(self, network: bytes, pet: np.ndarray, ct: np.ndarray) -> None:
        super().__init__(network, pet, ct)
        self._graph = torch.cuda.CUDAGraph()
        with torch.inference_mode(), autocast("cuda", torch.float16):
            with torch.cuda.stream(self.stream):
                for _ in range(3):  # cuDNN chooses, and memory is taken
                    self.network(*self.inputs)
            self.stream.synchronize()
            with torch.cuda.graph(self._graph, stream=self.stream):
                self._outputs = tuple(self.network(*self.inputs))

    def launch(self) -> Tensors:
        self._graph.replay()
        return self._outputs


class Compiled(Rival):
    """torch.compile with mixed precision, which makes CUDA graphs of its own."""

    def __init__(self, network: bytes, pet: np.ndarray, ct: np.ndarray) -> None:
        super().__init__(network, pet, ct)
        self._compiled = torch.compile(self.network, mode="max-autotune", dynamic=False)
        with torch.inference_mode(), torch.cuda.stream(self.stream):
            for _ in range(3):
                self.launch()
        self.stream.synchronize()

    def launch(self) -> Tensors:
        torch.compiler.cudagraph_mark_step_begin()
        with autocast("cuda", torch.float16):
            return tuple(self._compiled(*self.inputs))


class Ours:
    """An engine of the node, given one batch; what times its parts looks into it."""

    def __init__(self, engine: TensorRtEngine, pet: np.ndarray, ct: np.ndarray) -> None:
        self._engine = engine
        self.stream = engine._stream
        self.explained = engine.explained
        engine.explained(pet, ct)
        most = engine._largest
        parts = [pet[start : start + most] for start in range(0, len(pet), most)]
        self._runs = [engine._run_of(part) for part in parts]

    def launches(self) -> Sequence[Callable[[], object]]:
        """Return a run for each part of a batch that is larger than the plan's most."""
        return [run.launch for run in self._runs]
