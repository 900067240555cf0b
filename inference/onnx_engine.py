"""Runs a network with ONNX Runtime: the reference that others are held against on a CPU."""

from pathlib import Path
from typing import Any, TypeAlias

from inference.engine import OUTPUTS, Explained
from inference.errors import EngineUnavailable
from inference.volume import Voxels

try:
    import onnxruntime
except ImportError:
    onnxruntime = None  # open_engine says so, with what to install


InferenceSession: TypeAlias = Any  # the class of onnxruntime, which may not be there


class OnnxEngine:
    """One session of ONNX Runtime on the CPU."""

    name = "onnxruntime"
    device = "CPU"
    precision = "f32"

    def __init__(self, session: InferenceSession) -> None:
        self._session = session
        told = {output.name for output in session.get_outputs()}
        self._outputs = [name for name in OUTPUTS if name in told]

    def logits(self, pet: Voxels, ct: Voxels) -> Voxels:
        """Map ``(n, channel, row, column)`` PET and CT inputs to ``(n, 2)`` logits."""
        return self.explained(pet, ct).logits

    def explained(self, pet: Voxels, ct: Voxels) -> Explained:
        """Return every output that the network has, from one run of it."""
        found = self._session.run(self._outputs, {"pet": pet, "ct": ct})
        return Explained(**dict(zip(self._outputs, found, strict=True)))


def open_engine(onnx_path: Path, *, threads: int) -> OnnxEngine:
    """Open the network on the CPU with at most ``threads`` threads (0: as many as there are).

    ``EngineUnavailable`` where ONNX Runtime is not installed or cannot read the network.
    """
    if onnxruntime is None:
        raise EngineUnavailable("ONNX Runtime is not installed (package onnxruntime)")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors: its warnings about optimised-away nodes help nobody
    try:
        session = onnxruntime.InferenceSession(
            str(onnx_path), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:
        # ONNX Runtime raises classes of its own that share no base but Exception.
        raise EngineUnavailable(f"ONNX Runtime cannot open {onnx_path}: {error}") from error
    return OnnxEngine(session)
