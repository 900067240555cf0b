"""Inference: the bundle's networks on each engine, each in a process of its own."""

import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, nullcontext
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from inference import bundle as bundles
from inference import openvino_engine
from inference.engine import Engine
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
WITHOUT_TELEMETRY = (
    "import sys; sys.modules['openvino_telemetry'] = None; "
    "from openvino.tools.benchmark.main import main; main()"
)
APP_S = 1
"""So long it runs each network, beside the seconds that it takes to start."""
BATCHES = (1, 8)
DIFFERENCE_MAX = 1e-3
ROUND_S = 1.0
"""So long at most, and three calls at least: threads that others displace make torch crawl."""
_engines: list[Engine] = []
"""Those of this process, which runs one kind."""


def measure(plan: Plan) -> tuple[list[Measure], dict[str, float]]:
    """Measure all networks of the bundle one after the other; return also how far logits differ.

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
            if batch == BATCHES[0]:  # as the node runs them
                subjects[BENCHMARK_APP] = _app(paths, batch, side, threads, "f32")
            samples = interleave(subjects, plan)
            measures += compare(SECTION, f"all networks, batch {batch}", "ms", samples)
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
            BENCHMARK_APP: _app(paths, batch, side, threads, "bf16"),
            f"{TORCH}, autocast": _subject(theirs, batch, side, calls, autocast=True),
            f"{TORCH}, float32": _subject(theirs, batch, side, calls),
        }
        samples = interleave(subjects, plan)
    return compare(SECTION, f"all networks, batch {batch}, in bfloat16", "ms", samples)


def _subject(
    pool: ProcessPoolExecutor, batch: int, side: int, calls: int, *, autocast: bool = False
) -> Callable[[], Sample]:
    return lambda: pool.submit(_timed, batch, side, calls, autocast=autocast).result()


def _app(
    paths: Sequence[str], batch: int, side: int, threads: int, precision: str
) -> Callable[[], Sample]:
    """Run OpenVINO's own benchmark on each network, with our settings; medians are summed."""
    shape = f"[{batch},3,{side},{side}]"

    def run() -> Sample:
        with TemporaryDirectory() as name:
            return Sample(value=sum(_latency_ms(path, Path(name)) for path in paths))

    def _latency_ms(path: str, folder: Path) -> float:
        options = {
            "-m": path,
            "-d": "CPU",
            "-hint": "none",  # with a hint it takes no number of threads
            "-api": "sync",
            "-nireq": "1",
            "-nstreams": "1",
            "-nthreads": str(threads),
            "-infer_precision": precision,
            "-t": str(APP_S),
            "-data_shape": f"pet{shape},ct{shape}",
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

    return run


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


def _timed(batch: int, side: int, calls: int, *, autocast: bool = False) -> Sample:
    with torch.autocast("cpu", torch.bfloat16) if autocast else nullcontext():
        return _timed_in_precision(batch, side, calls)


def _timed_in_precision(batch: int, side: int, calls: int) -> Sample:
    pet, ct = _inputs(batch, side)
    seconds: list[float] = []
    spent = time.process_time()
    while len(seconds) < calls and (len(seconds) < 3 or sum(seconds) < ROUND_S):
        started = time.perf_counter()
        for engine in _engines:
            engine.explained(pet, ct)
        seconds.append(time.perf_counter() - started)
    cpu = time.process_time() - spent
    return Sample(value=statistics.median(seconds) * 1000, cpu_ms=cpu * 1000 / len(seconds))
