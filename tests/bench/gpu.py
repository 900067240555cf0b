"""``make gpu``: TensorRT beside torch on a GPU, batch 1 to 32, and how far answers differ."""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from rich.console import Console

from inference import bundle as bundles
from inference import gpu, onnx_engine
from inference.engine import F16, Explained
from inference.errors import DeviceLost, EngineUnavailable
from inference.gpu import Gpu
from inference.plans import Plans
from inference.tensorrt_builder import BATCH, ON_GPU, Request, load
from inference.tensorrt_engine import open_plan
from tests.bench import flops, machine, report
from tests.bench.measure import FULL, OURS, QUICK, Measure, Plan, Sample, compare, interleave
from tests.bench.process import ROOT
from tests.bench.rivals import Compiled, Eager, Graph, Ours

SECTION = "GPU"
BATCHES = (1, 2, 4, 8, 16, 32)
RIVALS = {
    "torch, AMP, channels last, CUDA graph": Graph,
    "torch.compile, AMP": Compiled,
    "torch, eager, float32": Eager,
}
CALL, ALONE = "from NumPy to NumPy", "on the GPU alone"
RUNS = 50
"""So many runs follow each other where the GPU alone is timed."""
SIDE = 8192
"""Of the matrices whose product tells what the GPU can do."""

Subject = Any  # an Ours or a Rival
Images = tuple[np.ndarray, np.ndarray]


@dataclass(kw_only=True)
class Findings:
    """What came out so far."""

    peak: float
    """TFLOP/s of a product of matrices in f16."""
    measures: list[Measure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    differences: dict[str, dict[str, float]] = field(default_factory=dict)
    """By subject and batch, each output's greatest, as a share of ONNX Runtime's greatest."""
    achieved: list[dict[str, object]] = field(default_factory=list)


def measure(plan: Plan, folder: Path, device: Gpu, batches: Sequence[int] = BATCHES) -> Findings:
    """Measure every batch; ``EngineUnavailable`` where no TensorRT runs on the GPU."""
    findings = Findings(peak=matrix_peak(plan.rounds))
    bundle = bundles.load(bundles.default_path())
    paths = [bundle.onnx_path(task) for task in bundle.tasks]
    side = bundle.card.inputs.crop_side
    for batch in batches:
        rng = np.random.default_rng(batch)
        pet, ct = rng.normal(size=(2, batch, 3, side, side)).astype(np.float32)
        subjects = dict(_subjects(paths, (pet, ct), Plans(folder), device, findings.notes))
        if OURS not in subjects:
            raise EngineUnavailable("; ".join(findings.notes))
        _compared(findings, paths, (pet, ct), subjects)
        _timed(findings, plan, (pet, ct), subjects)
        work = sum(flops.of(path.read_bytes(), batch) for path in paths)
        _achieved(findings, batch, work)
    return findings


def matrix_peak(rounds: int) -> float:
    """Return the most TFLOP/s of a product of two square matrices in f16 in any round."""
    left, right = torch.randn(2, SIDE, SIDE, device="cuda", dtype=torch.float16)
    out = torch.empty_like(left)
    stream = torch.cuda.Stream()
    torch.cuda.synchronize()
    launches = [lambda: torch.mm(left, right, out=out)]
    times = [alone_ms(launches, stream, runs=20) for _ in range(rounds + 1)]
    return 2 * SIDE**3 / min(times) / 1e9


def alone_ms(launches: Sequence[Callable[[], object]], stream: Any, runs: int = RUNS) -> float:
    """Return the milliseconds of one of so many runs that follow each other."""
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    with torch.inference_mode(), torch.cuda.stream(stream):
        begin.record()
        for _ in range(runs):
            for launch in launches:
                launch()
        end.record()
    end.synchronize()
    return begin.elapsed_time(end) / runs


def _subjects(
    paths: Sequence[Path], images: Images, plans: Plans, device: Gpu, notes: list[str]
) -> Iterator[tuple[str, list[Subject]]]:
    """Yield who can run here, the node's own first, with a subject for each network."""
    batch = len(images[0])
    networks = [path.read_bytes() for path in paths]
    names = iter((OURS, f"{OURS}, the other"))

    def ours(kind: str, sizes: tuple[int, int, int]) -> list[Subject]:
        requests = [
            Request(kind=kind, network=one, precision=F16, gpu=device, batch=sizes)
            for one in networks
        ]
        return [Ours(open_plan(request, device, plans), *images) for request in requests]

    for kind in ON_GPU:
        try:
            its, alone = ours(kind, BATCH), ours(kind, (batch, batch, batch))
        except (EngineUnavailable, DeviceLost) as error:
            _note(notes, f"{kind} was not measured: {error}")
            continue
        name = next(names)
        _note(notes, f"{name}: {kind} in f16, with plans for {BATCH[0]} to {BATCH[2]} cases")
        yield name, its
        yield f"{kind}, a plan for this batch", alone
    torch.compiler.reset()  # it compiles for each network and batch, and soon would have enough
    for name, rival in RIVALS.items():
        try:
            yield name, [rival(one, *images) for one in networks]
        except Exception as error:  # noqa: BLE001  torch.compile raises whatever its parts do
            _note(notes, f"{name} was not measured: {type(error).__name__}: {str(error)[:200]}")


def _note(notes: list[str], sentence: str) -> None:
    if sentence not in notes:
        notes.append(sentence)


def _compared(
    findings: Findings,
    paths: Sequence[Path],
    images: Images,
    subjects: Mapping[str, Sequence[Subject]],
) -> None:
    expected = [onnx_engine.open_engine(path, threads=0).explained(*images) for path in paths]
    for name, its in subjects.items():
        found = [one.explained(*images) for one in its]
        findings.differences[f"{name}, batch of {len(images[0])}"] = differences(found, expected)


def differences(found: Sequence[Explained], expected: Sequence[Explained]) -> dict[str, float]:
    """Return for each output the greatest difference in any network, over the greatest there is."""
    shares: dict[str, float] = {}
    for one, other in zip(found, expected, strict=True):
        for name, its, reference in zip(Explained._fields, one, other, strict=True):
            if its is not None and reference is not None:
                share = float(np.abs(its - reference).max() / np.abs(reference).max())
                shares[name] = max(shares.get(name, 0.0), share)
    return shares


def _timed(
    findings: Findings,
    plan: Plan,
    images: Images,
    subjects: Mapping[str, Sequence[Subject]],
) -> None:
    ways = {CALL: lambda its: _call_ms(its, images), ALONE: _alone_of}
    for way, timed in ways.items():
        samples = interleave({name: _sample(timed, its) for name, its in subjects.items()}, plan)
        case = f"all networks, batch {len(images[0])}, {way}"
        findings.measures += compare(SECTION, case, "ms", samples)


def _sample(
    timed: Callable[[Sequence[Subject]], float], its: Sequence[Subject]
) -> Callable[[], Sample]:
    return lambda: Sample(value=timed(its))


def _call_ms(its: Sequence[Subject], images: Images) -> float:
    seconds = []
    for _ in range(RUNS):
        started = time.perf_counter()
        for one in its:
            one.explained(*images)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds) * 1000


def _alone_of(its: Sequence[Subject]) -> float:
    return sum(alone_ms(one.launches(), one.stream) for one in its)


def _achieved(findings: Findings, batch: int, work: int) -> None:
    for one in findings.measures:
        if one.case == f"all networks, batch {batch}, {ALONE}":
            reached = work / one.median / 1e9
            findings.achieved.append(
                {
                    "subject": one.subject,
                    "batch": batch,
                    "tflops": reached,
                    "share_of_peak": reached / findings.peak,
                }
            )


def sentences(findings: Findings) -> list[str]:
    """Return what stands below the table."""
    return [
        *findings.notes,
        f"a product of two matrices of {SIDE} x {SIDE} in f16: {findings.peak:.0f} TFLOP/s",
        *(
            f"{one['subject']}, batch {one['batch']}: {one['tflops']:.2f} TFLOP/s, "
            f"{one['share_of_peak']:.2%} of that"
            for one in findings.achieved
        ),
        *(
            f"{name}: " + ", ".join(f"{output} within {share:.1e}" for output, share in its.items())
            for name, its in findings.differences.items()
        ),
    ]


def main(arguments: list[str] | None = None) -> int:
    """Run it; 1 with a sentence where there is no GPU or TensorRT does not run on it."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.gpu", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="three rounds, batch 1 and 8")
    parser.add_argument("--out", type=Path, default=ROOT / "bench-output")
    asked = parser.parse_args(arguments)
    console = Console()
    try:
        found = gpu.find()
        asked.out.mkdir(parents=True, exist_ok=True)
        begun, started_at, load = time.monotonic(), datetime.now(UTC), machine.Load()
        plan, batches = (QUICK, (1, 8)) if asked.quick else (FULL, BATCHES)
        with TemporaryDirectory(dir=asked.out, prefix="plans-") as name:
            findings = measure(plan, Path(name), found[0], batches)
    except EngineUnavailable as error:
        console.print(f"nothing was measured: {error}", markup=False)
        return 1
    result = report.document(
        findings.measures,
        {
            "started_at": started_at.isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - begun, 1),
            "quick": asked.quick,
            "machine": machine.describe(asked.out),
            "gpu": _gpu(found[0]),
            "others_share": load.others_share(),
            "versions": machine.versions(),
            "notes": sentences(findings),
            "growth": [],
            "logit_differences": {},
            "differences": findings.differences,
            "matrix_peak_tflops": findings.peak,
            "achieved": findings.achieved,
        },
    )
    path = asked.out / "gpu.json"
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    report.print_table(result, console)
    console.print(str(path), markup=False)
    return 0


def _gpu(found: Gpu) -> dict[str, object]:
    libraries = dict.fromkeys(ON_GPU, "not installed")
    for kind in libraries:
        with suppress(EngineUnavailable):
            libraries[kind] = load(kind).__version__
    return {**asdict(found), "cuda of torch": torch.version.cuda, **libraries}


if __name__ == "__main__":
    sys.exit(main())
