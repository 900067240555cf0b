"""Tables of outcomes: what pathology and follow-up said of each patient, one line a patient."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from inference.table import plain, rows

REQUIRED = ("patient", "pn")
KNOWN = (*REQUIRED, "cn", "pt", "centre", "followup_days", "event")
MISSING = (
    *("", "na", "n/a", "nan", "null", "?", "-", "unknown", "missing"),
    *("not collected", "not assessed", "not recorded", "not recorded in database"),
)
"""Cells that say nothing, in lower case."""
_STAGE = re.compile(r"(?P<basis>[cpyra]*)n?(?P<n>[0-3x])(?:\.0|[abc]\d?)?(?:\([a-z0-9+/-]*\))?")
_NAMING = re.compile(
    r"((patient|first|last|family|given|full|maiden)\W*)?names?|surname|dob|born|mrn|ssn"
    r"|(\w+\W+)*birth\W*(date|day)?|address|street|e?\W?mail|(tele)?phone"
)
"""Columns whose cells would name a person, with their underscores as spaces."""
_TRUTHS: Mapping[str, bool] = {
    **dict.fromkeys(("1", "1.0", "true", "yes", "y", "dead", "deceased", "event"), True),
    **dict.fromkeys(("0", "0.0", "false", "no", "n", "alive", "censored"), False),
}


class CohortUnusable(Exception):
    """A table, a definition or a cohort cannot be used; the message names the file and the line."""


class N(StrEnum):
    """Nodal stages of the TNM classification, subdivisions (N2a, N2b) joined."""

    N0 = "N0"
    N1 = "N1"
    N2 = "N2"
    N3 = "N3"


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One nodal stage as a table gives it; ``n`` is None where it is unknown or NX."""

    n: N | None
    after_therapy: bool = False
    """Written yp: what was found after induction therapy."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One line of a table; what it does not say is None, ``""`` or absent from ``covariates``."""

    patient: str
    source: str
    """The file's name and the line, as ``outcomes.csv:7``."""
    pn: Stage
    cn: Stage
    pt: str = ""
    centre: str = ""
    followup_days: float | None = None
    event: bool | None = None
    covariates: Mapping[str, str]


def read(
    paths: Sequence[Path],
    columns: Mapping[str, str],
    missing: Sequence[str] = MISSING,
) -> tuple[Outcome, ...]:
    """Read every line of every table, in order.

    ``columns`` maps names of ``KNOWN`` to those that the tables use; every other column is a
    covariate under its own name. Refused with ``CohortUnusable`` and the line are a stage, number
    or event that cannot be understood, no patient, and a patient for the second time in any table,
    and a column that would name a person. What is no table is refused by ``inference.table``.
    """
    found: dict[str, Outcome] = {}
    for path in paths:
        for outcome in _outcomes(path, columns, frozenset(missing)):
            earlier = found.setdefault(outcome.patient, outcome)
            if earlier is not outcome:
                raise CohortUnusable(
                    f"{outcome.source}: the patient {outcome.patient!r} is there already, "
                    f"at {earlier.source}"
                )
    return tuple(found.values())


def stage(text: str, *, clinical: bool) -> Stage:
    """Read ``N1``, ``pN2a``, ``ypN0``, ``1`` or ``NX``; anything else is a ValueError.

    So is a clinical stage where a pathological one is asked for, and the reverse.
    """
    match = _STAGE.fullmatch(re.sub(r"\s", "", text.lower()))
    if match is None:
        raise ValueError(f"{text!r} is no nodal stage: N0, N1, N2, N3 or NX")
    basis = match["basis"]
    if ("p" in basis) if clinical else ("c" in basis):
        asked = "clinical" if clinical else "pathological"
        raise ValueError(f"{text!r} is no {asked} stage")
    n = None if match["n"] == "x" else N(f"N{match['n']}")
    return Stage(n=n, after_therapy="y" in basis)


def _outcomes(path: Path, columns: Mapping[str, str], missing: frozenset[str]) -> Iterator[Outcome]:
    unknown = sorted(set(columns) - set(KNOWN))
    if unknown:
        raise CohortUnusable(f"columns.{unknown[0]} is none of {', '.join(KNOWN)}")
    named = {plain(written): known for known, written in columns.items()}
    for line, cells in rows(path):
        row = {named.get(plain(name), name): text for name, text in cells.items()}
        said = {name: "" if text.lower() in missing else text for name, text in row.items()}
        source = f"{path.name}:{line}"
        absent = [name for name in REQUIRED if name not in said]
        if absent:
            raise CohortUnusable(
                f"{path.name}:1: no column {columns.get(absent[0], absent[0])!r} "
                f"among {', '.join(cells)}"
            )
        for name in said:
            if _NAMING.fullmatch(plain(name).replace("_", " ")):
                raise CohortUnusable(
                    f"{path.name}:1: the column {name!r} may name people: leave it out"
                )
        try:
            yield _outcome(said, source)
        except ValueError as error:
            raise CohortUnusable(f"{source}: {error}") from error


def _outcome(said: Mapping[str, str], source: str) -> Outcome:
    if not said["patient"]:
        raise ValueError("no patient")
    followup = said.get("followup_days", "")
    days = number(followup)
    if followup and (days is None or days < 0):
        raise ValueError(f"followup_days: {followup!r} is no number of days")
    return Outcome(
        patient=said["patient"],
        source=source,
        pn=stage(said["pn"] or "NX", clinical=False),
        cn=stage(said.get("cn", "") or "NX", clinical=True),
        pt=said.get("pt", ""),
        centre=said.get("centre", ""),
        followup_days=days,
        event=_event(said.get("event", "")),
        covariates={name: text for name, text in said.items() if name not in KNOWN and text},
    )


def _event(text: str) -> bool | None:
    if text and text.lower() not in _TRUTHS:
        raise ValueError(f"event: {text!r} is neither 0 nor 1")
    return _TRUTHS.get(text.lower())


def number(text: str) -> float | None:
    """Return a finite number, or None where the text is none."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) < float("inf") else None
