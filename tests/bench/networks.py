"""Inference: the bundle's networks on each engine, each in a process of its own."""

import multiprocessing
import os
import statistics
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path

import numpy as np

from inference import bundle as bundles
from inference.engine import Engine
from tests.bench.measure import OURS, Measure, Plan, Sample, compare, interleave

SECTION = "Infer"
ENGINES = {
    OURS: "inference.openvino_engine",
    "ONNX Runtime": "inference.onnx_engine",
    "torch, eager": "inference.torch_engine",
}
"""The first is what the node runs by default on a CPU."""
BATCHES = (1, 8)
DIFFERENCE_MAX = 1e-3
ROUND_S = 2.0
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
                name: lambda pool=pool, batch=batch: pool.submit(
                    _timed, batch, side, plan.calls // batch
                ).result()
                for name, pool in pools.items()
            }
            samples = interleave(subjects, plan)
            measures += compare(SECTION, f"all networks, batch {batch}", "ms", samples)
    return measures, differences


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


def _open(module: str, paths: list[str], threads: int) -> None:
    _engines.extend(import_module(module).open_engine(Path(one), threads=threads) for one in paths)


def _inputs(batch: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(batch)
    pet, ct = rng.normal(size=(2, batch, 3, side, side)).astype(np.float32)
    return pet, ct


def _logits(batch: int, side: int) -> np.ndarray:
    pet, ct = _inputs(batch, side)
    return np.stack([engine.logits(pet, ct) for engine in _engines])


def _timed(batch: int, side: int, calls: int) -> Sample:
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
