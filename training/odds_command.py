"""``petct-train odds``: which covariates of a table predict a label, each alone and together."""

import argparse
import csv
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from training.errors import TrainingFailed
from training.statistics.values import Floats


def add_odds(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``odds`` to the commands."""
    parser = commands.add_parser(
        "odds",
        help="fit the clinical model of a table and print odds ratios",
        description="Fits each covariate alone, then those below the p together, and prints odds "
        "ratios with 95 %% intervals. Empty cells are missing values. Where covariates part the "
        "classes perfectly, Firth's penalised likelihood is taken and marked.",
    )
    parser.add_argument("table", type=Path, metavar="TABLE", help="a CSV file with a header")
    parser.add_argument("--label", required=True, metavar="COLUMN", help="noughts and ones")
    parser.add_argument("--covariates", required=True, nargs="+", metavar="COLUMN", help="numbers")
    parser.add_argument("--p-max", type=float, default=0.1, help="univariable p (default 0.1)")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> None:
    """Print both models as Markdown."""
    # Statsmodels takes seconds to load, which no other command should spend.
    from training.odds import Term, clinical_model  # noqa: PLC0415 - for the reason above

    columns = _read(given.table, [given.label, *given.covariates])
    label = columns.pop(given.label)
    if not np.isin(label, (0.0, 1.0)).all():
        raise TrainingFailed(f"{given.table}: {given.label} must be 0 or 1 in every row")
    model = clinical_model(columns, label == 1, p_max=given.p_max)
    together = {term.name: term for term in model.multivariable.terms}

    def told(term: Term | None) -> str:
        if term is None:
            return "| | "
        ratio = term.odds_ratio
        mark = " *" if term.penalised else ""
        return f"| {ratio.value:.3g} ({ratio.low:.3g} to {ratio.high:.3g}){mark} | {term.p:.2g} "

    lines = [
        f"| {given.label} | alone: odds ratio (95 % CI) | p | together: odds ratio (95 % CI) | p |",
        "|---|--:|--:|--:|--:|",
        *(f"| {t.name} {told(t)}{told(together.get(t.name))}|" for t in model.univariable),
        "",
        f"{len(label)} cases, {int(label.sum())} positive; together: {model.multivariable.cases}.",
    ]
    if any(term.penalised for term in (*model.univariable, *model.multivariable.terms)):
        lines.append("* Classes are parted perfectly: Firth's penalised likelihood.")
    sys.stdout.write("\n".join(lines) + "\n")


def _read(path: Path, names: Sequence[str]) -> dict[str, Floats]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        absent = [name for name in names if name not in (reader.fieldnames or [])]
        if absent:
            raise TrainingFailed(f"{path}: there is no column {', '.join(absent)}")
        rows = list(reader)
    if not rows:
        raise TrainingFailed(f"{path}: there is no case")
    return {name: _numbers(path, rows, name) for name in names}


def _numbers(path: Path, rows: Sequence[Mapping[str, str | None]], name: str) -> Floats:
    found = np.empty(len(rows))
    for index, row in enumerate(rows):
        text = (row[name] or "").strip()
        try:
            found[index] = float(text) if text else math.nan
        except ValueError as error:
            raise TrainingFailed(
                f"{path}, row {index + 2}: {name} must be a number, got {text!r}"
            ) from error
    return found
