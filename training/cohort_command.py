"""``petct-train cohort``: case folders and tables of outcomes become a cohort with one split."""

import argparse
import sys
from pathlib import Path

from training.assembling import assemble, load_definition
from training.cohort_report import report
from training.patients import FILE, load, write
from training.progress import Track

REPORT = "report.md"


def add_cohort(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``cohort`` and ``cohort-show`` to the commands."""
    parser = commands.add_parser(
        "cohort",
        help="join case folders with tables of outcomes into a cohort with one split",
        description="Screens every patient who has a case folder or a line in a table, labels and "
        f"splits those who pass, and writes {FILE} and {REPORT} into a new folder.",
    )
    parser.add_argument("cases", type=Path, metavar="CASES", help="the folder of the case folders")
    parser.add_argument(
        "--outcomes", type=Path, nargs="+", required=True, metavar="CSV", help="one table or more"
    )
    parser.add_argument(
        "--definition", type=Path, required=True, metavar="YAML", help="rules, columns, split"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    parser.set_defaults(run=_cohort)
    shown = commands.add_parser(
        "cohort-show", help="verify a cohort's digests and split, and print its report"
    )
    shown.add_argument("cohort", type=Path, metavar="DIR", help="a cohort's folder")
    shown.set_defaults(run=_show)


def _cohort(given: argparse.Namespace) -> None:
    if given.out.exists():
        raise FileExistsError(f"{given.out} is there already")
    definition = load_definition(given.definition)
    track = Track(quiet=given.quiet)
    cohort = assemble(given.cases, given.outcomes, definition, track)
    told = report(cohort)
    given.out.mkdir(parents=True)
    write(cohort, given.out)
    (given.out / REPORT).write_text(told, encoding="utf-8")
    sys.stdout.write(told)


def _show(given: argparse.Namespace) -> None:
    sys.stdout.write(report(load(given.cohort)))
