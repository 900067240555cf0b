"""``make bench``: measures the node beside its peers and says what came out."""

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from inference.petct import PetCt
from tests.bench import (
    chain,
    growth,
    intake,
    machine,
    networks,
    plot,
    reading,
    report,
    study,
    supply,
    turnaround,
    writing,
)
from tests.bench.measure import FULL, QUICK, Measure, Plan
from tests.bench.process import ROOT

GROWTH_PICTURE = "growth.svg"


@dataclass
class Bench:
    """One run: what it measures with and what has come out so far."""

    plan: Plan
    folder: Path
    petct: PetCt
    paths: tuple[Path, ...]
    measures: list[Measure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    differences: dict[str, float] = field(default_factory=dict)
    growths: list[growth.Growth] = field(default_factory=list)

    @cached_property
    def refined(self) -> PetCt:
        """The study in as many and as large planes as today's scanners send."""
        return reading.refined(self.petct)

    @cached_property
    def large(self) -> tuple[Path, ...]:
        """Its files."""
        return study.write(self.refined, self.folder / "large")

    def read(self) -> None:
        self.measures += reading.measure(self.large, self.plan)

    def write(self) -> None:
        self.measures += writing.measure(self.large, self.plan)

    def infer(self) -> None:
        measures, self.differences = networks.measure(self.plan)
        self.measures += measures

    def conclude(self) -> None:
        self.measures += chain.measure(self.paths, self.petct.study_instance_uid, self.plan)

    def turn_round(self) -> None:
        measures, notes = turnaround.measure(self.petct, self.folder, self.plan)
        self.measures += measures
        self.notes += notes

    def grow(self) -> None:
        measures, self.growths = growth.measure(self.petct, self.folder, self.plan)
        self.measures += measures

    def train(self) -> None:
        self.measures += supply.measure(self.plan)

    def receive(self) -> None:
        measures, notes = intake.measure(self.refined, self.folder, self.plan)
        self.measures += measures
        self.notes += notes

    @property
    def sections(self) -> dict[str, Callable[[], None]]:
        return {
            intake.SECTION: self.receive,
            reading.SECTION: self.read,
            writing.SECTION: self.write,
            networks.SECTION: self.infer,
            chain.SECTION: self.conclude,
            turnaround.SECTION: self.turn_round,
            supply.SECTION: self.train,
            growth.SECTION: self.grow,
        }


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; 1 where a section failed, whose absence the report then states."""
    asked = _parser().parse_args(arguments)
    # As Ctrl-C does, so that every receiver is ended and every folder removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    console = Console()
    asked.out.mkdir(parents=True, exist_ok=True)
    begun, started_at = time.monotonic(), datetime.now(UTC)
    load = machine.Load()
    with TemporaryDirectory(dir=asked.out, prefix="work-") as name:
        folder = Path(name)
        petct = study.drawn()
        paths = study.write(petct, folder / "study")
        plan = QUICK if asked.quick else FULL
        bench = Bench(plan=plan, folder=folder, petct=petct, paths=paths)
        failures = _run(bench, console)
    result = report.document(
        bench.measures,
        {
            "started_at": started_at.isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - begun, 1),
            "quick": asked.quick,
            "study": study.describe(petct),
            "machine": machine.describe(asked.out),
            "others_share": load.others_share(),
            "versions": machine.versions(),
            "notes": bench.notes + failures,
            "logit_differences": bench.differences,
            "growth": [asdict(one) for one in bench.growths],
        },
    )
    _write(result, asked, console)
    _draw(bench.growths, asked.out / GROWTH_PICTURE, console)
    if asked.write_docs:
        _write_docs(result, bench.growths, console, failures=failures)
    return 1 if failures else 0


def _run(bench: Bench, console: Console) -> list[str]:
    failures = []
    for section, run in bench.sections.items():
        started = time.monotonic()
        try:
            with console.status(f"measuring: {section}"):
                run()
        except Exception as error:  # noqa: BLE001  one section that fails must not cost the others
            failures.append(f"{section} was not measured: {type(error).__name__}.")
            console.print(f"[red]{section} failed[/]")
            console.print(str(error), markup=False)
        else:
            console.print(f"{section}: measured in {time.monotonic() - started:.0f} s")
    return failures


def _write(result: report.Row, asked: argparse.Namespace, console: Console) -> None:
    path = asked.out / "bench.json"
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    report.print_table(result, console)
    console.print(f"{path}", markup=False)


def _draw(growths: Sequence[growth.Growth], path: Path, console: Console) -> None:
    """Draw how costs grow; nothing where that was not measured."""
    if growths:
        path.write_text(plot.growth_plot(growths), encoding="utf-8")
        console.print(f"{path}", markup=False)


def _write_docs(
    result: report.Row,
    growths: Sequence[growth.Growth],
    console: Console,
    *,
    failures: list[str],
) -> None:
    page = ROOT / "docs" / "performance.md"
    if failures:
        console.print("docs/performance.md is left as it was, as not everything was measured")
    else:
        page.write_text(report.page(result), encoding="utf-8")
        _draw(growths, page.with_name(GROWTH_PICTURE), console)
        console.print(str(page.relative_to(ROOT)), markup=False)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer images and three rounds")
    parser.add_argument("--write-docs", action="store_true", help="render docs/performance.md")
    parser.add_argument("--out", type=Path, default=ROOT / "bench-output")
    return parser


if __name__ == "__main__":
    sys.exit(main())
