"""Runs a network with OpenVINO, the default on a CPU: in full float32 unless told otherwise."""

import sys
from collections.abc import Mapping
from math import prod
from pathlib import Path
from threading import Lock
from typing import Any, TypeAlias

from inference.engine import OUTPUTS, Explained
from inference.errors import EngineUnavailable
from inference.quota import usable_cpus
from inference.volume import Voxels

# Left to itself openvino keeps an identifier of this user at home, to count its uses by at a
# company; where that package cannot be imported it takes a stub of its own in its place.
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
Shapes: TypeAlias = dict[str, list[int]]


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
        self._case = _case_shapes(model)
        if self._case:
            model.reshape(self._case)
        self.threads = min(threads, _threads_worth(model))
        self.abreast = threads // self.threads
        self.precision = str(settings["INFERENCE_PRECISION_HINT"])
        self._settings = {**settings, "INFERENCE_NUM_THREADS": self.threads}
        self._one = _Compiled(model, self._settings)
        self._any: _Compiled | None = None if self._case else self._one
        self._compiling = Lock()

    def logits(self, pet: Voxels, ct: Voxels) -> Voxels:
        """Map ``(n, channel, row, column)`` PET and CT inputs to ``(n, 2)`` logits."""
        return self.explained(pet, ct).logits

    def explained(self, pet: Voxels, ct: Voxels) -> Explained:
        """Return every output that the network has, from one run of it."""
        compiled = self._one if len(pet) == CASE else self._of_any_batch()
        return compiled.run(pet, ct)

    def _of_any_batch(self) -> "_Compiled":
        """Return the network without a batch of its own, slower: read again when first needed."""
        with self._compiling:
            if self._any is None:
                self._any = _Compiled(_read(self._onnx_path), self._settings)
            return self._any


class _Compiled:
    """A network as OpenVINO runs it, and requests that are not in use."""

    def __init__(self, model: Model, settings: Settings) -> None:
        self._model = openvino.Core().compile_model(model, "CPU", settings)
        told = {name for output in self._model.outputs for name in output.get_names()}
        self._outputs = [name for name in OUTPUTS if name in told]
        self._idle: list[InferRequest] = []

    def run(self, pet: Voxels, ct: Voxels) -> Explained:
        # Threads never share a request, which holds all buffers; nor do answers outlive theirs.
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._model.create_infer_request()
        found = request.infer({"pet": pet, "ct": ct}, share_inputs=True, share_outputs=True)
        told = Explained(**{name: found[name].copy() for name in self._outputs})
        self._idle.append(request)
        return told


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
        name: [CASE, *(size.get_length() for size in list(shape)[1:])]
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
