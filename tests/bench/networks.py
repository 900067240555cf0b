"""Inference: the bundle's networks on each engine, each in a process of its own."""

import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock

import numpy as np
import onnx
import torch

from inference import bundle as bundles
from inference import openvino_engine
from inference.batching import Batching
from inference.engine import Engine, run_all
from inference.openvino_engine import OpenVinoEngine
from tests.bench.measure import OURS, Measure, Plan, Sample, compare, interleave

SECTION = "Infer"
TORCH = "torch, eager"
ENGINES = {
    OURS: "inference.openvino_engine",
    "ONNX Runtime": "inference.onnx_engine",
    TORCH: "inference.torch_engine",
}
"""The first is what the node runs by default on a CPU."""
BENCHMARK_APP = "OpenVINO's benchmark_app"
AS_IT_COMES = f"{BENCHMARK_APP}, any batch, all cores"
WITHOUT_TELEMETRY = (
    "import sys; sys.modules['openvino_telemetry'] = None; "
    "from openvino.tools.benchmark.main import main; main()"
)
ALONE_S = 1
"""So long each network runs alone; benchmark_app takes seconds to start beside that."""
BATCHES = (1, 8)
WAITING = 8
"""So many studies ask at a time where what waits goes through a network together."""
ONE_BY_ONE = "petct-node, one by one"
DIFFERENCE_MAX = 1e-3
ROUND_S = 1.0
"""So long at most, and three calls at least: threads that others displace make torch crawl."""
_engines: list[Engine] = []
"""Those of this process, which runs one kind."""


def measure(plan: Plan) -> tuple[list[Measure], dict[str, float]]:
    """Measure all networks of the bundle as the node runs them; return also how far logits differ.

    Each engine has a process, as the threads of one would go on spinning beside the next.
    """
    bundle = bundles.load(bundles.default_path())
    paths = [str(bundle.onnx_path(task)) for task in bundle.tasks]
    side, threads = bundle.card.inputs.crop_side, len(os.sched_getaffinity(0))
    spawn = multiprocessing.get_context("spawn")
    measures: list[Measure] = []
    differences: dict[str, float] = {}
    with ExitStack() as stack:
        pools = {
            name: stack.enter_context(
                ProcessPoolExecutor(
                    1, mp_context=spawn, initializer=_open, initargs=(module, paths, threads)
                )
            )
            for name, module in ENGINES.items()
        }
        for batch in BATCHES:
            differences |= _differences(pools, batch, side)
            subjects = {
                name: _subject(pool, batch, side, plan.calls // batch)
                for name, pool in pools.items()
            }
            samples = interleave(subjects, plan)
            measures += compare(SECTION, f"all networks, batch {batch}", "ms", samples)
    with ProcessPoolExecutor(
        1, mp_context=spawn, initializer=_open, initargs=(ENGINES[OURS], paths, threads)
    ) as ours:
        measures += _alone(ours, App(paths, side, threads, "f32"), plan)
        measures += _together(ours, side, plan)
    if "bf16" in openvino_engine.precisions():
        measures += _in_bf16(paths, side, threads, plan)
    return measures, differences


def _in_bf16(paths: Sequence[str], side: int, threads: int, plan: Plan) -> list[Measure]:
    """Measure bfloat16, which the CPU has, against torch in both precisions."""
    spawn, batch = multiprocessing.get_context("spawn"), BATCHES[0]
    calls = plan.calls // batch
    with ExitStack() as stack:
        ours, theirs = (
            stack.enter_context(
                ProcessPoolExecutor(
                    1, mp_context=spawn, initializer=_open, initargs=(module, paths, threads, of)
                )
            )
            for module, of in ((ENGINES[OURS], {"precision": "bf16"}), (ENGINES[TORCH], {}))
        )
        subjects = {
            OURS: _subject(ours, batch, side, calls),
            f"{TORCH}, autocast": _subject(theirs, batch, side, calls, autocast=True),
            f"{TORCH}, float32": _subject(theirs, batch, side, calls),
        }
        samples = interleave(subjects, plan)
        alone = _alone(ours, App(paths, side, threads, "bf16"), plan, ", in bfloat16")
    return compare(SECTION, f"all networks, batch {batch}, in bfloat16", "ms", samples) + alone


def _subject(
    pool: ProcessPoolExecutor, batch: int, side: int, calls: int, *, autocast: bool = False
) -> Callable[[], Sample]:
    return lambda: pool.submit(_timed, batch, side, calls, autocast=autocast).result()


def _alone(pool: ProcessPoolExecutor, app: "App", plan: Plan, noted: str = "") -> list[Measure]:
    """Run each network so long by itself, one case at a time, by us and by OpenVINO's own."""
    with_ours = pool.submit(_threads).result()
    subjects = {
        OURS: lambda: pool.submit(_timed_alone, app.side).result(),
        BENCHMARK_APP: lambda: app.run_as_ours(with_ours),
        AS_IT_COMES: app.run_as_it_comes,
    }
    case = f"each network alone, batch 1{noted}: sum of medians"
    return compare(SECTION, case, "ms", interleave(subjects, plan))


def _together(pool: ProcessPoolExecutor, side: int, plan: Plan) -> list[Measure]:
    """Let studies ask all networks at once, which run for what waits, or for each by itself."""
    subjects = {
        name: lambda most=most: pool.submit(
            _timed_waiting, side, plan.calls // WAITING, most
        ).result()
        for name, most in ((OURS, WAITING), (ONE_BY_ONE, 1))
    }
    case = f"all networks, {WAITING} studies that ask at once"
    return compare(SECTION, case, "ms", interleave(subjects, plan))


def weights_apart(network: bytes) -> bytes:
    """Give every transposed convolution weights of its own, as our engine does.

    Where they are shared with a convolution, OpenVINO uses them as they lie for that one: it is
    faster by what memory that saves, and its numbers are wrong.
    """
    model = onnx.load_from_string(network)
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    for number, node in enumerate(model.graph.node):
        if node.op_type == "ConvTranspose":
            own = model.graph.initializer.add()
            own.CopyFrom(weights[node.input[1]])
            own.name = node.input[1] = f"{own.name}.{number}"
    written: bytes = model.SerializeToString()
    return written


@dataclass(frozen=True)
class App:
    """OpenVINO's own benchmark, and what it runs."""

    paths: Sequence[str]
    side: int
    cores: int
    precision: str

    def run_as_it_comes(self) -> Sample:
        """Run the files of the bundle, compiled for any batch, on all cores."""
        with TemporaryDirectory() as name:
            return Sample(
                value=sum(
                    self._latency_ms(path, Path(name), "-data_shape", self.cores)
                    for path in self.paths
                )
            )

    def run_as_ours(self, threads: Sequence[int]) -> Sample:
        """Run what our engine makes of each file: one case, weights apart, so many threads."""
        total = 0.0
        with TemporaryDirectory() as name:
            for path, count in zip(self.paths, threads, strict=True):
                apart = Path(name) / "apart.onnx"
                apart.write_bytes(weights_apart(Path(path).read_bytes()))
                total += self._latency_ms(str(apart), Path(name), "-shape", count)
        return Sample(value=total)

    def _latency_ms(self, path: str, folder: Path, shape: str, threads: int) -> float:
        one = f"[1,3,{self.side},{self.side}]"
        options = {
            "-m": path,
            "-d": "CPU",
            "-hint": "none",  # with a hint it takes no number of threads
            "-api": "sync",
            "-nireq": "1",
            "-nstreams": "1",
            "-nthreads": str(threads),
            "-pin": "NO",
            "-infer_precision": self.precision,
            "-t": str(ALONE_S),
            shape: f"pet{one},ct{one}",
            "-report_type": "no_counters",
            "-report_folder": str(folder),
        }
        given = [part for option in options.items() for part in option]
        subprocess.run(
            [sys.executable, "-c", WITHOUT_TELEMETRY, *given, "-json_stats"],
            capture_output=True,
            timeout=120,
            check=True,
        )
        told = json.loads((folder / "benchmark_report.json").read_text(encoding="utf-8"))
        return float(told["execution_results"]["latency (ms)"])


def _differences(
    pools: Mapping[str, ProcessPoolExecutor], batch: int, side: int
) -> dict[str, float]:
    logits = {name: pool.submit(_logits, batch, side).result() for name, pool in pools.items()}
    reference = logits["torch, eager"]
    found = {
        f"{name}, batch of {batch}": float(np.abs(its - reference).max())
        for name, its in logits.items()
        if its is not reference
    }
    if max(found.values()) > DIFFERENCE_MAX:
        raise RuntimeError(f"logits differ from torch's: {found}")
    return found


def _open(
    module: str, paths: Sequence[str], threads: int, of: Mapping[str, str] | None = None
) -> None:
    open_engine = import_module(module).open_engine
    _engines.extend(open_engine(Path(one), threads=threads, **(of or {})) for one in paths)


def _inputs(batch: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(batch)
    pet, ct = rng.normal(size=(2, batch, 3, side, side)).astype(np.float32)
    return pet, ct


def _logits(batch: int, side: int) -> np.ndarray:
    pet, ct = _inputs(batch, side)
    return np.stack([engine.logits(pet, ct) for engine in _engines])


def _threads() -> list[int]:
    return [engine.threads for engine in _engines if isinstance(engine, OpenVinoEngine)]


def _timed(batch: int, side: int, calls: int, *, autocast: bool = False) -> Sample:
    with torch.autocast("cpu", torch.bfloat16) if autocast else nullcontext():
        return _timed_in_precision(batch, side, calls)


def _timed_in_precision(batch: int, side: int, calls: int) -> Sample:
    pet, ct = _inputs(batch, side)
    return _repeated(lambda: run_all(_engines, pet, ct), calls)


def _repeated(call: Callable[[], object], calls: int) -> Sample:
    seconds: list[float] = []
    spent = time.process_time()
    while len(seconds) < calls and (len(seconds) < 3 or sum(seconds) < ROUND_S):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    cpu = time.process_time() - spent
    return Sample(value=statistics.median(seconds) * 1000, cpu_ms=cpu * 1000 / len(seconds))


def _timed_waiting(side: int, calls: int, most: int) -> Sample:
    pet, ct = _inputs(1, side)
    lock = Lock()
    together = [Batching(engine, most, turn=lambda: lock) for engine in _engines]
    with ThreadPoolExecutor(WAITING) as studies:

        def all_ask() -> None:
            list(studies.map(lambda _: run_all(together, pet, ct), range(WAITING)))

        return _repeated(all_ask, calls)


def _timed_alone(side: int) -> Sample:
    pet, ct = _inputs(1, side)
    medians, spent = [], 0.0
    for engine in _engines:
        seconds: list[float] = []
        begun = time.process_time()
        while sum(seconds) < ALONE_S:
            started = time.perf_counter()
            engine.explained(pet, ct)
            seconds.append(time.perf_counter() - started)
        medians.append(statistics.median(seconds) * 1000)
        spent += (time.process_time() - begun) * 1000 / len(seconds)
    return Sample(value=sum(medians), cpu_ms=spent)
