"""``make torture``: torments the node, part by part, and says what held.

Each part writes its lines into ``torture-output/PART.jsonl``; the table is put together from what
lies there, so that parts can run one at a time, and the part "fuzz" (tests/fuzz) elsewhere.
"""

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event

from rich.console import Console

from tests.bench.process import ROOT
from tests.torture import destinations, full, kills, power, report, senders
from tests.torture.claims import Claim, Part, Trial

Run = Callable[[Trial], Iterator[Claim]]
PARTS: dict[str, tuple[Run, int]] = {
    "kills": (kills.run, 1000),
    "power": (power.run, 200),
    "destinations": (destinations.run, 1),
    "senders": (senders.run, 118),
    "disk": (full.run, 100),
}
"""Each part and how often it strikes unless --count says otherwise."""


def main(arguments: list[str] | None = None) -> int:
    """Run the chosen parts; 1 where one of their lines does not hold."""
    asked = _parser().parse_args(arguments)
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    # Processes that are killed leave semaphores behind, which Python's tracker removes and tells.
    os.environ.setdefault("PYTHONWARNINGS", "ignore::UserWarning:multiprocessing.resource_tracker")
    console = Console()
    asked.out.mkdir(parents=True, exist_ok=True)
    ran = []
    for name in () if asked.report else asked.parts or PARTS:
        if stop.is_set():
            console.print(f"{name}: not begun")
            continue
        with console.status(f"torture: {name}"):
            part = _run(name, asked, stop, console)
        report.write(part, asked.out, run=asked.run)
        ran.append(part)
        console.print(f"{name}: {'holds' if part.holds else 'FAILS'}, {part.seconds:.0f} s")
    report.print_table(report.read(asked.out), console)
    if asked.write_docs:
        report.write_page(report.read(asked.out), console)
    return 0 if asked.report or (ran and all(part.holds for part in ran)) else 1


def _run(name: str, asked: argparse.Namespace, stop: Event, console: Console) -> Part:
    run, count = PARTS[name]
    begun, started_at = time.monotonic(), datetime.now(UTC)
    with TemporaryDirectory(dir=asked.out, prefix=f"{name}-") as folder:
        trial = Trial(count=asked.count or count, folder=Path(folder), seed=asked.seed, stop=stop)
        claims = []
        try:
            claims += run(trial)
        except Exception as error:  # noqa: BLE001  one part that breaks must not cost the others
            console.print_exception()
            claims.append(
                Claim(trial=name, claim="the part runs to its end", found=repr(error), holds=False)
            )
    return Part(
        name=name,
        started_at=started_at.isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - begun, 1),
        seed=asked.seed,
        claims=tuple(claims),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all")
    parser.add_argument("--count", type=int, help="how often each part strikes")
    parser.add_argument("--seed", type=int, default=0, help="what chance is drawn from")
    parser.add_argument("--run", default="", help="name a further run, to stand beside the first")
    parser.add_argument("--report", action="store_true", help="run nothing, tell what lies there")
    parser.add_argument("--write-docs", action="store_true", help="render docs/torture.md")
    parser.add_argument("--out", type=Path, default=ROOT / "torture-output")
    return parser


if __name__ == "__main__":
    sys.exit(main())
