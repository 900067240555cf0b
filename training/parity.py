"""What a network loses in fewer bits: the records in a card that let it run so."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inference import openvino_engine, torch_engine
from inference.bundle import Bundle
from inference.card import Inputs, Parity, Task
from inference.engine import BF16, F16, Engine
from inference.precision import lowered
from training.cohort import Labels
from training.evaluate import engine_margins
from training.images import Floats, Halves
from training.statistics import auroc


@dataclass(frozen=True, kw_only=True, eq=False)
class Cases:
    """Planes ``(n, modality, plane, row, column)`` and labels ``(n, task)``, never trained on."""

    planes: Halves
    labels: Labels


def measured(bundle: Bundle, cases: Cases) -> tuple[Parity, ...]:
    """Return the records of every task of a bundle, in its order."""
    found: list[Parity] = []
    for index, task in enumerate(bundle.tasks):
        network = bundle.onnx_path(task).read_bytes()
        held = Cases(planes=cases.planes, labels=cases.labels[:, index])
        found += records(task, network, held, bundle.card.inputs)
    return tuple(found)


def records(task: Task, network: bytes, cases: Cases, inputs: Inputs) -> tuple[Parity, ...]:
    """Hold one network in fewer bits against itself in float32, by each engine that can run it so.

    OpenVINO does as it does when it serves, on a CPU that has bfloat16. For TensorRT, which needs a
    GPU, torch runs the network as it is rewritten for it. Cases of both classes are needed.
    """
    with tempfile.TemporaryDirectory() as folder:
        pairs = _pairs(network, Path(folder))
        return tuple(
            _record(task, cases, inputs, exact=exact, coarse=coarse, precision=precision)
            for exact, coarse, precision in pairs
        )


def _pairs(network: bytes, folder: Path) -> Iterator[tuple[Engine, Engine, str]]:
    """Yield an engine in float32, the same in fewer bits, and how many those are."""
    path = folder / "f32.onnx"
    path.write_bytes(network)
    if BF16 in openvino_engine.precisions():
        exact, coarse = (
            openvino_engine.open_engine(path, threads=1, precision=precision)
            for precision in ("f32", BF16)
        )
        yield exact, coarse, BF16
    for precision in (F16, BF16):
        rewritten = folder / f"{precision}.onnx"
        rewritten.write_bytes(lowered(network, precision))
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
