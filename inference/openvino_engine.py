"""Runs a network with OpenVINO, the default on a CPU: in full float32 unless told otherwise."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from threading import Lock
from typing import Any, TypeAlias

from inference.engine import OUTPUTS, Explained
from inference.errors import EngineUnavailable
from inference.quota import usable_cpus
from inference.volume import Voxels

# Left to itself openvino keeps an identifier of this user at home, to count its uses by at a
# company; where that package cannot be imported it counts nothing.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None bars an import

try:
    import openvino
    from openvino import opset13
except ImportError:
    openvino = None  # open_engine says so, with what to install


Model: TypeAlias = Any  # a class of openvino, which may not be there
InferRequest: TypeAlias = Any  # as above
Operation: TypeAlias = Any  # as above
Settings: TypeAlias = Mapping[str, object]
Shapes: TypeAlias = dict[str, tuple[int, ...]]


CASE = 1
"""The batch that a network is compiled for: a study has one case."""
WORK_PER_THREAD = 4_000_000
"""Multiplications of one convolution, a tenth of a millisecond of a core: threads that share less
spend more on meeting one another than they gain."""


class OpenVinoEngine:
    """One network on the CPU, compiled for one case at a time."""

    name = "openvino"
    device = "CPU"

    def __init__(self, onnx_path: Path, settings: Settings, threads: int) -> None:
        model = _read(onnx_path)
        self._onnx_path = onnx_path
        self._shapes = _case_shapes(model)
        if self._shapes:
            model.reshape(self._shapes)
        self.threads = min(threads, _threads_worth(model))
        self.abreast = threads // self.threads
        self.precision = str(settings["INFERENCE_PRECISION_HINT"])
        self._settings = {**settings, "INFERENCE_NUM_THREADS": self.threads}
        self._of_one_case = _OfOneCase(model, self._settings) if self._shapes else None
        self._of_any_batch: _OfAnyBatch | None = None
        self._compiling = Lock()

    def logits(self, pet: Voxels, ct: Voxels) -> Voxels:
        """Map ``(n, channel, row, column)`` PET and CT inputs to ``(n, 2)`` logits."""
        return self.explained(pet, ct).logits

    def explained(self, pet: Voxels, ct: Voxels) -> Explained:
        """Return every output that the network has, from one run of it."""
        if self._of_one_case and {"pet": pet.shape, "ct": ct.shape} == self._shapes:
            return self._of_one_case.run(pet, ct)
        return self._any_batch().run(pet, ct)

    def _any_batch(self) -> "_OfAnyBatch":
        """Return the network for inputs of any number, slower: read again when first needed."""
        with self._compiling:
            if self._of_any_batch is None:
                self._of_any_batch = _OfAnyBatch(_read(self._onnx_path), self._settings)
            return self._of_any_batch


class _Compiled:
    """A network as OpenVINO runs it. Threads never share a request, which holds all buffers."""

    def __init__(self, model: Model, settings: Settings) -> None:
        self._model = openvino.Core().compile_model(model, "CPU", settings)
        told = {name for output in self._model.outputs for name in output.get_names()}
        self._outputs = [name for name in OUTPUTS if name in told]


class _OfAnyBatch(_Compiled):
    """Makes buffers as large as each batch needs."""

    def run(self, pet: Voxels, ct: Voxels) -> Explained:
        """Return what outlives the buffers."""
        request = self._model.create_infer_request()
        found = request.infer({"pet": pet, "ct": ct}, share_inputs=True, share_outputs=True)
        return Explained(**{name: found[name].copy() for name in self._outputs})


class _OfOneCase(_Compiled):
    """Keeps the buffers of requests that are not in use, whose size never changes."""

    def __init__(self, model: Model, settings: Settings) -> None:
        super().__init__(model, settings)
        self._idle = [self._buffers()]

    def run(self, pet: Voxels, ct: Voxels) -> Explained:
        """Return what later runs do not touch."""
        try:
            buffers = self._idle.pop()
        except IndexError:  # all are in use by other threads
            buffers = self._buffers()
        buffers.pet[...] = pet
        buffers.ct[...] = ct
        buffers.request.infer(share_outputs=True)
        told = Explained(**{name: output.copy() for name, output in buffers.outputs.items()})
        self._idle.append(buffers)
        return told

    def _buffers(self) -> "_Buffers":
        request = self._model.create_infer_request()
        return _Buffers(
            request=request,
            pet=request.get_tensor("pet").data,
            ct=request.get_tensor("ct").data,
            outputs={name: request.get_tensor(name).data for name in self._outputs},
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Buffers:
    """A request, and its own arrays that go in and come out."""

    request: InferRequest
    pet: Voxels
    ct: Voxels
    outputs: Mapping[str, Voxels]


def open_engine(onnx_path: Path, *, threads: int, precision: str = "f32") -> OpenVinoEngine:
    """Compile the network for the CPU with at most ``threads`` threads (0: as many as there are).

    Small layers are given fewer, and other networks may run beside. ``EngineUnavailable`` where
    OpenVINO is not installed, cannot read the network, or this CPU does not calculate in
    ``precision``, ``f32`` or ``bf16``.
    """
    if openvino is None:
        raise EngineUnavailable("OpenVINO is not installed (package openvino)")
    if precision not in precisions():
        raise EngineUnavailable(f"OpenVINO does not calculate in {precision} on this CPU")
    settings: dict[str, object] = {
        # Without this hint OpenVINO takes bfloat16 wherever the CPU has it.
        "INFERENCE_PRECISION_HINT": precision,
        "PERFORMANCE_HINT": "LATENCY",
        # Pinned, every process and every network would take the first CPUs and wait there.
        "ENABLE_CPU_PINNING": False,
    }
    try:
        return OpenVinoEngine(onnx_path, settings, threads or usable_cpus())
    except RuntimeError as error:
        raise EngineUnavailable(f"OpenVINO cannot open {onnx_path}: {error}") from error


def precisions() -> tuple[str, ...]:
    """Return what OpenVINO calculates in on this CPU, the most exact first; none without it."""
    if openvino is None:
        return ()
    able = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return ("f32", "bf16") if "BF16" in able else ("f32",)


def _read(onnx_path: Path) -> Model:
    return _unshared(openvino.Core().read_model(str(onnx_path)))


def _case_shapes(model: Model) -> Shapes:
    """Return the shape of each input for one case; none where more than the batch is open."""
    shapes = {entry.get_any_name(): entry.get_partial_shape() for entry in model.inputs}
    if any(size.is_dynamic for shape in shapes.values() for size in list(shape)[1:]):
        return {}
    return {
        name: (CASE, *(size.get_length() for size in list(shape)[1:]))
        for name, shape in shapes.items()
    }


def _threads_worth(model: Model) -> int:
    """Return how many threads the convolutions can employ on the average, at least 1.

    Where their shapes are open, or there are none, that is not known: as many as there are.
    """
    works = [_work(one) for one in model.get_ops() if "Convolution" in one.get_type_name()]
    known = [work for work in works if work is not None]
    if not known or len(known) < len(works):
        return sys.maxsize
    return max(1, sum(known) // len(known) // WORK_PER_THREAD)


def _work(convolution: Operation) -> int | None:
    """Return the multiplications of one case, whichever way the convolution goes."""
    sides = (convolution.get_input_partial_shape(0), convolution.get_output_partial_shape(0))
    if any(side.is_dynamic for side in sides):
        return None
    places: int = min(prod(side.to_shape()[2:]) for side in sides)
    return places * int(prod(convolution.get_input_shape(1)))


def _unshared(model: Model) -> Model:
    """Give every transposed convolution weights of its own.

    A gradient uses the weights of the way forth again, and where a convolution and a transposed one
    hold the same constant, OpenVINO's CPU plug-in (2026.4) gives wrong numbers.
    """
    for operation in model.get_ops():
        if operation.get_type_name() == "ConvolutionBackpropData":
            weights = operation.input_value(1).get_node().data
            own = opset13.constant(weights.copy())
            operation.input(1).replace_source_output(own.output(0))
    return model
