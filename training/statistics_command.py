"""``petct-train statistics``: answers of a table of scores, as JSON."""

import argparse
import json
import math
import sys
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.judging import calibrators, conformal_sets, told_of_calibration, youden_cutoffs
from training.statistics.bootstrap import Resampling
from training.statistics.table import Table, read
from training.statistics.values import CONFIDENCE, UnusableScores

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add_statistics(commands: "Commands") -> None:
    """Add the command to those of ``petct-train``."""
    parser = commands.add_parser(
        "statistics",
        help="judge a table of scores: discrimination, calibration, benefit, readers, survival",
        description="Columns: case, label (0 or 1), and one for each model; where they are there "
        "also patient, subgroup or subgroup:NAME, time, event, treatment, reader:NAME or "
        "reader:GROUP/NAME (0 or 1), pet:NAME and ct:NAME. Cut-offs are never taken from the table "
        "that is judged: give them, or the training table from which they are chosen.",
    )
    parser.add_argument("table", type=Path, metavar="TABLE", help="a CSV file")
    parser.add_argument("--reference", metavar="MODEL", help="held against the others; the first")
    parser.add_argument(
        "--cutoff",
        action="append",
        default=[],
        metavar="MODEL=SCORE",
        help="a frozen cut-off; above it a case is called (may be given again)",
    )
    parser.add_argument(
        "--training", type=Path, metavar="TABLE", help="choose cut-offs here (maximum Youden)"
    )
    parser.add_argument(
        "--validation",
        type=Path,
        metavar="TABLE",
        help="choose and fit calibration (Platt, isotonic, prior shift) and conformal sets here",
    )
    parser.add_argument(
        "--seen-prevalence",
        type=float,
        metavar="SHARE",
        help="share of positives in training after oversampling, to try a shift of the prior",
    )
    _add_numbers(parser)
    parser.add_argument("--out", type=Path, metavar="FILE", help="write here, not to the console")
    parser.set_defaults(run=run)


def _add_numbers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--risk-models",
        nargs="+",
        default=[],
        metavar="MODEL",
        help="high risk is above the cut-off of any of these; the reference",
    )
    parser.add_argument(
        "--categories", type=float, nargs="+", default=[], metavar="RISK", help="for NRI"
    )
    parser.add_argument(
        "--times", type=float, nargs="+", default=[], metavar="T", help="survival at these"
    )
    parser.add_argument(
        "--coverage", type=float, default=0.9, metavar="SHARE", help="of conformal sets (0.9)"
    )
    parser.add_argument("--replicates", type=int, default=10_000, help="of the bootstrap (10000)")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap (0)")


def run(given: argparse.Namespace) -> None:
    """Judge the table and write what was found."""
    # statsmodels and lifelines take seconds to load, and only this needs them.
    from training.statistics.analysis import Questions, analyse, attempt  # noqa: PLC0415

    table = read(given.table)
    choices, conformal = {}, {}
    if given.validation:
        validation = read(given.validation)
        choices = calibrators(
            table, validation, seen_prevalence=given.seen_prevalence, seed=given.seed
        )
        conformal = {
            name: attempt(partial(conformal_sets, table, validation, name, given.coverage))
            for name in choices
        }
    resampling = Resampling(replicates=given.replicates, seed=given.seed)
    told = analyse(
        table,
        Questions(
            reference=given.reference or next(iter(table.models)),
            cutoffs=_cutoffs(table, given),
            risk_models=given.risk_models,
            probabilities={
                name: choice.probability(table.models[name]) for name, choice in choices.items()
            },
            categories=given.categories,
            times=given.times,
            resampling=resampling,
        ),
    )
    told["intervals"] = {"confidence": CONFIDENCE, **asdict(resampling)}
    if given.validation:
        told["recalibration"] = told_of_calibration(choices)
        told["conformal"] = conformal
    _write(told, given.out)


def _cutoffs(table: Table, given: argparse.Namespace) -> dict[str, float]:
    """Return the cut-offs given, and of the other models those of the training table."""
    found = youden_cutoffs(table, read(given.training)) if given.training else {}
    for text in given.cutoff:
        name, _, score = text.rpartition("=")
        try:
            found[name] = float(score)
        except ValueError:
            raise UnusableScores(f"a cut-off is given as MODEL=SCORE, got {text}") from None
    return found


def _write(told: dict[str, Any], out: Path | None) -> None:
    text = json.dumps(plain(told), indent=2, allow_nan=False) + "\n"
    if out is None:
        sys.stdout.write(text)
        return
    with out.open("x", encoding="utf-8") as file:
        file.write(text)


def plain(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """Return what JSON can hold: six digits, no number for NaN, ``a / b`` for a pair of names."""
    if is_dataclass(value) and not isinstance(value, type):
        shared = {name: getattr(value, name) for name in value.__dataclass_fields__}
        return plain(shared)
    if isinstance(value, Mapping):
        return {_key(name): plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value


def _key(name: object) -> str:
    return " / ".join(map(str, name)) if isinstance(name, tuple) else str(name)
