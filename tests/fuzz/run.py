"""Runs a target in child processes until it has had its share, whatever becomes of them."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from tests.bench.process import ROOT
from tests.fuzz.child import PROGRESS
from tests.fuzz.target import Target

CHILD = ["-m", "tests.fuzz.child"]
HANG_S = 60
CRASHES_MOST = 30
POLL_S = 0.1


@dataclass(kw_only=True)
class Outcome:
    """What a target bore, and what it did not."""

    target: str
    inputs: int = 0
    units: int = 0
    seconds: float = 0.0
    slowest_s: float = 0.0
    peak_mib: int = 0
    raised: dict[str, str] = field(default_factory=dict)
    """What was raised and where, and the first input that did it, in hexadecimal digits."""
    ended: dict[str, str] = field(default_factory=dict)
    """What ended the process or never came back, and the input."""


def run(target: Target, *, count: int, seed: int, seconds: float, folder: Path) -> Outcome:
    """Give a target ``count`` units, or as many as the time allows."""
    begun = time.time()
    outcome = Outcome(target=target.name)
    progress = folder / f"{target.name}.progress"
    progress.write_bytes(PROGRESS.pack(0, 0))
    while outcome.units < count and time.time() < begun + seconds:
        told = _child(target, count, seed, begun + seconds, progress, outcome)
        if told is not None:
            outcome.raised |= {k: v for k, v in told["findings"].items() if k not in outcome.raised}
            outcome.slowest_s = max(outcome.slowest_s, told["slowest_s"])
            outcome.peak_mib = max(outcome.peak_mib, told["peak_mib"])
            break
        if len(outcome.ended) >= CRASHES_MOST:
            break
    outcome.seconds = round(time.time() - begun, 1)
    return outcome


def _child(
    target: Target, count: int, seed: int, until: float, progress: Path, outcome: Outcome
) -> dict | None:
    """Run one child to its end; None where it ended by an input, which is noted and counted."""
    command = [sys.executable, *CHILD, target.name, "--seed", str(seed)]
    command += ["--start", str(outcome.inputs), "--count", str(count), "--until", str(until)]
    command += ["--progress", str(progress)]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        why = _watched(process, progress)
        told = process.stdout.read() if process.stdout else ""
    outcome.inputs, outcome.units = PROGRESS.unpack(progress.read_bytes())
    if why is None:
        return json.loads(told.splitlines()[-1])
    culprit = next(islice(target.inputs(seed), outcome.inputs, None))
    outcome.ended[f"{why}, input {outcome.inputs}"] = culprit.hex()
    outcome.inputs, outcome.units = outcome.inputs + 1, outcome.units + 1
    progress.write_bytes(PROGRESS.pack(outcome.inputs, outcome.units))
    return None


def _watched(process: subprocess.Popen[str], progress: Path) -> str | None:
    """Wait for a child; return what it died of, or None. One that stands still is killed."""
    last, since = b"", time.monotonic()
    while process.poll() is None:
        time.sleep(POLL_S)
        now = progress.read_bytes()
        if now != last:
            last, since = now, time.monotonic()
        elif time.monotonic() - since > HANG_S:
            process.kill()
            process.wait()
            return f"nothing for {HANG_S} s"
    if process.returncode == 0:
        return None
    if process.returncode < 0:
        return signal.Signals(-process.returncode).name
    return f"status {process.returncode}"
