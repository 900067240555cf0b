"""``python -m tests.fuzz``: fuzzes the node and writes the part "fuzz" of the torture's table."""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from tests.bench.process import ROOT
from tests.fuzz.run import Outcome, run
from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS
from tests.torture import report
from tests.torture.claims import Claim, Part

COUNT = 1_000_000
MEMORY_MIB = 1024
SLOW_S = 10.0


def main(arguments: list[str] | None = None) -> int:
    """Fuzz the chosen targets; 1 where something was found that must not be."""
    asked = _parser().parse_args(arguments)
    chosen = [t for t in TARGETS if not asked.targets or t.name in asked.targets]
    console = Console()
    asked.out.mkdir(parents=True, exist_ok=True)
    begun, started_at = time.monotonic(), datetime.now(UTC)
    with (
        TemporaryDirectory() as folder,
        ThreadPoolExecutor(asked.processes) as processes,  # each waits for a process of its own
    ):
        outcomes = list(processes.map(lambda one: _one(one, chosen, asked, Path(folder)), chosen))
    for outcome in outcomes:
        console.print_json(json.dumps(_shown(outcome)))
    part = Part(
        name="fuzz",
        started_at=started_at.isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - begun, 1),
        seed=asked.seed,
        claims=tuple(claims(outcomes)),
    )
    report.write(part, asked.out)
    _write_findings(outcomes, asked.out / "fuzz-findings")
    report.print_table(report.read(asked.out), console)
    return 0 if part.holds else 1


def _one(
    target: Target, chosen: Sequence[Target], asked: argparse.Namespace, folder: Path
) -> Outcome:
    count = round(asked.count * target.share / sum(one.share for one in chosen))
    return run(target, count=count, seed=asked.seed, seconds=asked.seconds, folder=folder)


def claims(outcomes: Sequence[Outcome]) -> Iterator[Claim]:
    """Return a line for each target and one for all of them."""
    units = {target.name: target.unit for target in TARGETS}
    for one in outcomes:
        faults = [*one.raised, *one.ended]
        within = one.peak_mib <= MEMORY_MIB and one.slowest_s <= SLOW_S
        yield Claim(
            trial=f"{units[one.target]} ({one.target})",
            claim=f"none crashes, hangs, takes {MEMORY_MIB} MiB or raises what is not documented",
            found=f"{len(faults)} of {one.units:,}, {one.peak_mib} MiB, "
            f"{one.slowest_s:.1f} s at most",
            holds=not faults and within and one.units > 0,
        )
    total = sum(one.units for one in outcomes)
    yield Claim(trial="all of them", claim="counted", found=f"{total:,}", holds=total > 0)


def _shown(outcome: Outcome) -> dict[str, object]:
    """Return an outcome without its inputs."""
    told = asdict(outcome)
    return {**told, "raised": list(outcome.raised), "ended": list(outcome.ended)}


def _write_findings(outcomes: Sequence[Outcome], folder: Path) -> None:
    """Write each input that was not borne, to be looked at and kept in the corpus."""
    for one in outcomes:
        for number, (what, content) in enumerate([*one.raised.items(), *one.ended.items()]):
            folder.mkdir(exist_ok=True)
            (folder / f"{one.target}-{number}.txt").write_text(f"# {what}\n{content}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    names = ", ".join(target.name for target in TARGETS)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {names}; all")
    parser.add_argument("--count", type=int, default=COUNT, help="how many units in all")
    parser.add_argument("--seconds", type=float, default=3600, help="for each target at most")
    parser.add_argument("--processes", type=int, default=1, help="how many targets at a time")
    parser.add_argument("--seed", type=int, default=0, help="what chance is drawn from")
    parser.add_argument("--out", type=Path, default=ROOT / "torture-output")
    return parser


if __name__ == "__main__":
    sys.exit(main())
