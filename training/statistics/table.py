"""Reads a table of scores: one row a case, one column a model.

Columns: ``case`` and ``label`` (0 or 1) are needed. ``patient`` says whose a case is, ``subgroup``
or ``subgroup:NAME`` what it belongs to, ``time``, ``event`` and ``treatment`` what became of the
patient, ``reader:NAME`` or ``reader:GROUP/NAME`` what a reader called (0 or 1), ``pet:NAME`` and
``ct:NAME`` a texture feature. A column of any other name is a model; higher means positive.
"""

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from training.statistics.values import Floats, Labels, Patients, UnusableScores

Words: TypeAlias = NDArray[np.str_]
Row: TypeAlias = Mapping[str, str]
SINGLE = ("case", "label", "patient", "time", "event", "treatment")
PREFIXES = ("subgroup", "reader", "pet", "ct")


@dataclass(frozen=True, kw_only=True)
class Table:
    """The cases of one file, in its order."""

    cases: Words
    labels: Labels
    patients: Patients
    models: dict[str, Floats]
    subgroups: dict[str, Words]
    readers: dict[str, Labels]
    features: dict[str, dict[str, Floats]]
    times: Floats | None
    events: Labels | None
    treatment: Words | None


def read(path: Path) -> Table:
    """Read a CSV file with a header; what cannot be used is refused with its column and case."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            names = list(reader.fieldnames or [])
            rows = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise UnusableScores(f"{path} is not a CSV file in UTF-8: {error}") from error
    _require_columns(path, names, rows)
    columns = _Columns(rows)
    # Models may well be called pet and ct: only a colon makes a feature of them.
    kinds = {name: name.partition(":")[0] if ":" in name else "" for name in names}
    kinds["subgroup"] = "subgroup"
    by_prefix = {prefix: [name for name in names if kinds[name] == prefix] for prefix in PREFIXES}
    models = [name for name in names if name not in SINGLE and kinds[name] not in PREFIXES]
    if not models:
        raise UnusableScores(f"{path}: no column is a model")
    return Table(
        cases=columns.words("case"),
        labels=columns.calls("label"),
        patients=_numbered(columns.words("patient" if "patient" in names else "case")),
        models={name: columns.numbers(name) for name in models},
        subgroups={_short(name): columns.words(name) for name in by_prefix["subgroup"]},
        readers={_short(name): columns.calls(name) for name in by_prefix["reader"]},
        features={
            kind: {_short(name): columns.sparse(name) for name in by_prefix[kind]}
            for kind in ("pet", "ct")
        },
        times=columns.numbers("time") if "time" in names else None,
        events=columns.calls("event") if "event" in names else None,
        treatment=columns.words("treatment") if "treatment" in names else None,
    )


class _Columns:
    """One column after another out of rows of text."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows

    def words(self, name: str) -> Words:
        return np.array([row[name].strip() for row in self.rows], dtype=np.str_)

    def numbers(self, name: str) -> Floats:
        return self._each(name, _number)

    def sparse(self, name: str) -> Floats:
        """Numbers of which some may be absent: NaN."""
        return self._each(name, lambda text: _number(text) if text else math.nan)

    def calls(self, name: str) -> Labels:
        found: Labels = self._each(name, _call) > 0
        return found

    def _each(self, name: str, convert: Callable[[str], float]) -> Floats:
        found = np.empty(len(self.rows))
        for number, row in enumerate(self.rows):
            text = row[name].strip()
            try:
                found[number] = convert(text)
            except ValueError as error:
                raise UnusableScores(f"case {row['case']}, column {name}: {error}") from None
        return found


def _number(text: str) -> float:
    number = float(text) if text else math.nan
    if not math.isfinite(number):
        raise ValueError(f"a number is needed, got {text!r}")
    return number


def _call(text: str) -> float:
    if text not in {"0", "1"}:
        raise ValueError(f"0 or 1 is needed, got {text!r}")
    return float(text)


def _require_columns(path: Path, names: list[str], rows: Sequence[Row]) -> None:
    for name in ("case", "label"):
        if name not in names:
            raise UnusableScores(f"{path}: there is no column {name}")
    if not rows:
        raise UnusableScores(f"{path}: there is no case")
    if len(set(names)) < len(names):
        raise UnusableScores(f"{path}: a column stands there twice")
    if any(None in row or None in row.values() for row in rows):
        raise UnusableScores(f"{path}: a row is longer or shorter than the header")
    if len({row["case"].strip() for row in rows}) < len(rows):
        raise UnusableScores(f"{path}: a case stands there twice")


def _numbered(words: Words) -> Patients:
    return np.unique(words, return_inverse=True)[1]


def _short(name: str) -> str:
    return name.partition(":")[2] or name
