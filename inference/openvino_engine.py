"""Runs a network with OpenVINO, the default on a CPU: in full float32 unless told otherwise."""

import sys
from pathlib import Path
from typing import Any, TypeAlias

from inference.engine import OUTPUTS, Explained
from inference.errors import EngineUnavailable
from inference.volume import Voxels

# Left to itself openvino keeps an identifier of this user at home, to count its uses by at a
# company; where that package cannot be imported it takes a stub of its own in its place.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None bars an import

try:
    import openvino
    from openvino import opset13
except ImportError:
    openvino = None  # open_engine says so, with what to install


CompiledModel: TypeAlias = Any  # a class of openvino, which may not be there
Model: TypeAlias = Any  # as above


class OpenVinoEngine:
    """One compiled network on the CPU."""

    name = "openvino"
    device = "CPU"

    def __init__(self, compiled: CompiledModel, precision: str) -> None:
        self._compiled = compiled
        self.precision = precision
        told = {name for output in compiled.outputs for name in output.get_names()}
        self._outputs = [name for name in OUTPUTS if name in told]

    def logits(self, pet: Voxels, ct: Voxels) -> Voxels:
        """Map ``(n, channel, row, column)`` PET and CT inputs to ``(n, 2)`` logits."""
        return self.explained(pet, ct).logits

    def explained(self, pet: Voxels, ct: Voxels) -> Explained:
        """Return every output that the network has, from one run of it."""
        # A request of its own, so that threads never share buffers; the copies outlive it.
        found = self._compiled.create_infer_request().infer({"pet": pet, "ct": ct})
        return Explained(**{name: found[name].copy() for name in self._outputs})


def open_engine(onnx_path: Path, *, threads: int, precision: str = "f32") -> OpenVinoEngine:
    """Compile the network for the CPU with at most ``threads`` threads (0: as many as there are).

    ``EngineUnavailable`` where OpenVINO is not installed, cannot read the network, or this CPU does
    not calculate in ``precision``, ``f32`` or ``bf16``.
    """
    if openvino is None:
        raise EngineUnavailable("OpenVINO is not installed (package openvino)")
    if precision not in precisions():
        raise EngineUnavailable(f"OpenVINO does not calculate in {precision} on this CPU")
    settings: dict[str, object] = {
        # Without this hint OpenVINO takes bfloat16 wherever the CPU has it.
        "INFERENCE_PRECISION_HINT": precision,
        "PERFORMANCE_HINT": "LATENCY",
    }
    if threads:
        settings["INFERENCE_NUM_THREADS"] = threads
    try:
        core = openvino.Core()
        compiled = core.compile_model(_unshared(core.read_model(str(onnx_path))), "CPU", settings)
    except RuntimeError as error:
        raise EngineUnavailable(f"OpenVINO cannot open {onnx_path}: {error}") from error
    return OpenVinoEngine(compiled, precision)


def precisions() -> tuple[str, ...]:
    """Return what OpenVINO calculates in on this CPU, the most exact first; none without it."""
    if openvino is None:
        return ()
    able = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return ("f32", "bf16") if "BF16" in able else ("f32",)


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
