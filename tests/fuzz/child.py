"""Runs one target from one input on, in a process of its own, and tells how far it came.

Whatever ends the process, the number of the input that did it stays in a file.
"""

import argparse
import json
import logging
import mmap
import re
import struct
import sys
import time
import traceback
import warnings
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.fuzz.targets import TARGETS

FINDINGS_MOST = 20
PROGRESS = struct.Struct("<QQ")
"""Inputs and units that are done."""


def main() -> int:
    """Run as ``python -m tests.fuzz.child TARGET``; the last line written is JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("target", choices=[target.name for target in TARGETS])
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--start", type=int, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--until", type=float, required=True)
    parser.add_argument("--progress", type=Path, required=True)
    asked = parser.parse_args()
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    (target,) = (one for one in TARGETS if one.name == asked.target)
    found: dict[str, str] = {}
    slowest = units = 0.0
    with (
        TemporaryDirectory() as folder,
        asked.progress.open("r+b") as file,
        mmap.mmap(file.fileno(), PROGRESS.size) as progress,
        target.open(Path(folder)) as bear,
    ):
        inputs, units = PROGRESS.unpack(progress[:])
        for content in islice(target.inputs(asked.seed), asked.start, None):
            if units >= asked.count or time.time() > asked.until:
                break
            begun = time.process_time()
            try:
                units += bear(content)
            except Exception as error:  # noqa: BLE001  which is what is looked for
                units += 1
                if len(found) < FINDINGS_MOST:
                    found.setdefault(_place(error), content.hex())
            slowest = max(slowest, time.process_time() - begun)
            inputs += 1
            progress[:] = PROGRESS.pack(inputs, int(units))
    told = {"findings": found, "slowest_s": round(slowest, 2), "peak_mib": _peak_mib()}
    sys.stdout.write(json.dumps(told) + "\n")
    return 0


def _place(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if f"{Path('/')}node{Path('/')}" in f.filename] or frames
    where = ours[-1]
    return f"{type(error).__name__} at {Path(where.filename).name}:{where.lineno}"


def _peak_mib() -> int:
    """Return the most that this process ever held in memory (proc(5), VmHWM)."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) // 1024


if __name__ == "__main__":
    sys.exit(main())
