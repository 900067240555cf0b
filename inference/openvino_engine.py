"""Runs a network with OpenVINO in full float32: the default on a CPU."""

from pathlib import Path
from typing import Any, TypeAlias

from inference.errors import EngineUnavailable
from inference.volume import Voxels

try:
    import openvino
except ImportError:
    openvino = None  # open_engine says so, with what to install


CompiledModel: TypeAlias = Any  # the class of openvino, which may not be there


class OpenVinoEngine:
    """One compiled network on the CPU."""

    name = "openvino"
    device = "CPU"

    def __init__(self, compiled: CompiledModel) -> None:
        self._compiled = compiled

    def logits(self, pet: Voxels, ct: Voxels) -> Voxels:
        """Map ``(n, channel, row, column)`` PET and CT inputs to ``(n, 2)`` logits."""
        # A request of its own, so that threads never share buffers; the copy outlives it.
        request = self._compiled.create_infer_request()
        found: Voxels = request.infer({"pet": pet, "ct": ct})["logits"].copy()
        return found


def open_engine(onnx_path: Path, *, threads: int) -> OpenVinoEngine:
    """Compile the network for the CPU with at most ``threads`` threads (0: as many as there are).

    ``EngineUnavailable`` where OpenVINO is not installed or cannot read the network.
    """
    if openvino is None:
        raise EngineUnavailable("OpenVINO is not installed (package openvino)")
    settings: dict[str, object] = {
        # Without this hint OpenVINO takes bfloat16 wherever the CPU has it.
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
    }
    if threads:
        settings["INFERENCE_NUM_THREADS"] = threads
    try:
        compiled = openvino.Core().compile_model(str(onnx_path), "CPU", settings)
    except RuntimeError as error:
        raise EngineUnavailable(f"OpenVINO cannot open {onnx_path}: {error}") from error
    return OpenVinoEngine(compiled)
