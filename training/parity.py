"""What a network loses in fewer bits: the records in a card that let it run so."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import helper

from inference import openvino_engine, torch_engine
from inference.bundle import Bundle
from inference.card import Inputs, Parity, Task
from inference.engine import BF16, F16, INT8, Engine
from inference.precision import lowered, quantised, quantised_tensors
from inference.preprocess import normalise
from training.cohort import Labels
from training.evaluate import engine_margins
from training.images import Floats, Halves
from training.statistics import auroc


@dataclass(frozen=True, kw_only=True, eq=False)
class Cases:
    """Planes ``(n, modality, plane, row, column)`` and labels ``(n, task)``, never trained on.

    ``calibrating`` are planes of other cases, which the ranges of int8 are taken from.
    """

    planes: Halves
    labels: Labels
    calibrating: Halves


def measured(bundle: Bundle, cases: Cases) -> tuple[Parity, ...]:
    """Return the records of every task of a bundle, in its order."""
    found: list[Parity] = []
    for index, task in enumerate(bundle.tasks):
        network = bundle.onnx_path(task).read_bytes()
        held = replace(cases, labels=cases.labels[:, index])
        found += records(task, network, held, bundle.card.inputs)
    return tuple(found)


def records(task: Task, network: bytes, cases: Cases, inputs: Inputs) -> tuple[Parity, ...]:
    """Hold one network in fewer bits against itself in float32, by each engine that can run it so.

    OpenVINO does as it does when it serves, on a CPU that has bfloat16. For TensorRT, which needs a
    GPU, torch runs the network as it is rewritten for it. Cases of both classes are needed.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        path.write_bytes(network)
        ranges = calibrated(path, cases.calibrating, inputs)
        pairs = _pairs(path, ranges)
        found = [
            _record(task, cases, inputs, exact=exact, coarse=coarse, precision=precision)
            for exact, coarse, precision in pairs
        ]
    return tuple(replace(one, ranges=ranges) if one.precision == INT8 else one for one in found)


def calibrated(path: Path, planes: Halves, inputs: Inputs) -> Mapping[str, float]:
    """Return the greatest magnitude that each tensor of ``quantised_tensors`` takes on them."""
    network = path.read_bytes()
    names = quantised_tensors(network)
    model = onnx.load_from_string(network)
    model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    greatest = dict.fromkeys(names, 0.0)
    for planes_of_one in planes.astype(np.float32):
        pet, ct = (
            normalise(planes_of_one[None, number], channel)
            for number, channel in enumerate((inputs.pet, inputs.ct))
        )
        for name, found in zip(names, session.run(names, {"pet": pet, "ct": ct}), strict=True):
            greatest[name] = max(greatest[name], float(np.abs(found).max()))
    return {name: float(f"{value:.6g}") for name, value in greatest.items()}


def _pairs(path: Path, ranges: Mapping[str, float]) -> Iterator[tuple[Engine, Engine, str]]:
    """Yield an engine in float32, the same in fewer bits, and how many those are."""
    if BF16 in openvino_engine.precisions():
        exact, coarse = (
            openvino_engine.open_engine(path, threads=1, precision=precision)
            for precision in ("f32", BF16)
        )
        yield exact, coarse, BF16
    network = path.read_bytes()
    for precision in (F16, BF16, INT8):
        rewritten = path.with_name(f"{precision}.onnx")
        rewritten.write_bytes(
            quantised(network, ranges) if precision == INT8 else lowered(network, precision)
        )
        yield (
            torch_engine.open_engine(path, threads=1),
            torch_engine.open_engine(rewritten, threads=1),
            precision,
        )


def _record(
    task: Task, cases: Cases, inputs: Inputs, *, exact: Engine, coarse: Engine, precision: str
) -> Parity:
    margins = [engine_margins(engine, cases.planes, inputs) for engine in (exact, coarse)]
    before, after = (_probabilities(task, given) for given in margins)
    truth = cases.labels
    return Parity(
        task=task.name,
        engine=coarse.name,
        precision=precision,
        cases=len(truth),
        positives=int(truth.sum()),
        auroc_f32=round(auroc(truth, margins[0]), 6),
        auroc=round(auroc(truth, margins[1]), 6),
        probability_difference_max=float(f"{np.abs(before - after).max():.3g}"),
        sides_changed=int(((before > task.cutoff) != (after > task.cutoff)).sum()),
    )


def _probabilities(task: Task, margins: Sequence[float] | Floats) -> Floats:
    found: Floats = np.asarray([task.calibration.probability(float(one)) for one in margins])
    return found
