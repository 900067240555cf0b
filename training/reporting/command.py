"""``petct-train report``: one page of everything that is known of a bundle's worth."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from training.progress import Track

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add_report(commands: "Commands") -> None:
    """Add the command to those of ``petct-train``."""
    parser = commands.add_parser(
        "report",
        help="write a bundle's tables, figures and model card as one HTML page, and as PDF",
        description="Reads what petct-train bundle --answers left and judges it by "
        "training.statistics. The page holds its pictures and loads nothing; the same answers "
        "give the same page.",
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="a bundle's folder")
    parser.add_argument(
        "--answers", type=Path, required=True, metavar="DIR", help="of the bundle's own run"
    )
    parser.add_argument(
        "--cohort", type=Path, metavar="COHORT", help="whose flow and baseline table are shown"
    )
    parser.add_argument(
        "--runs", type=Path, metavar="DIR", help="whose logs are shown as learning curves"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="a new HTML file")
    parser.add_argument("--pdf", type=Path, metavar="FILE", help="a new PDF file, too")
    _add_numbers(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    parser.set_defaults(run=run)


def _add_numbers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--categories",
        type=float,
        nargs="+",
        default=[],
        metavar="RISK",
        help="thresholds for NRI; the task's cut-off",
    )
    parser.add_argument(
        "--times",
        type=float,
        nargs="+",
        default=[1.0, 3.0, 5.0],
        metavar="YEARS",
        help="survival at these (1 3 5)",
    )
    parser.add_argument(
        "--coverage",
        type=float,
        default=0.9,
        metavar="SHARE",
        help="of conformal sets where the card has none (0.9)",
    )
    parser.add_argument("--replicates", type=int, default=10_000, help="of the bootstrap (10000)")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap (0)")


def run(given: argparse.Namespace) -> None:
    """Write the page, and say where it lies and how large it is."""
    # matplotlib, statsmodels and lifelines take seconds to load, and only this needs them.
    from training.reporting.answers import read_run  # noqa: PLC0415
    from training.reporting.judged import Asked  # noqa: PLC0415
    from training.reporting.page import html  # noqa: PLC0415
    from training.reporting.pdf import printer  # noqa: PLC0415
    from training.reporting.sections import page, steps  # noqa: PLC0415
    from training.statistics.bootstrap import Resampling  # noqa: PLC0415

    for path in filter(None, (given.out, given.pdf)):
        if path.exists():
            raise FileExistsError(f"{path} is there already")
    # Before the work: whoever cannot print learns it at once.
    print_to = printer() if given.pdf else None
    found = read_run(given.bundle, given.answers, given.cohort, given.runs)
    asked = Asked(
        resampling=Resampling(replicates=given.replicates, seed=given.seed),
        categories=given.categories,
        coverage=given.coverage,
        times=given.times,
    )
    track = Track(quiet=given.quiet)
    with track.stage("writing the report", steps(found)) as advance:
        text = html(page(found, asked, advance))
    _write(given.out, text)
    if print_to is not None:
        with track.stage("printing it", 1) as advance:
            print_to(text, given.pdf)
            advance("")
        sys.stdout.write(f"{given.pdf}: {_size(given.pdf)}\n")


def _write(path: Path, text: str) -> None:
    """Write the page; it appears whole or not at all."""
    part = path.with_name(f".{path.name}.{uuid4().hex}.part")
    part.write_text(text, encoding="utf-8")
    part.rename(path)
    sys.stdout.write(f"{path}: {_size(path)}\n")


def _size(path: Path) -> str:
    return f"{path.stat().st_size / 1000:.0f} kB"
