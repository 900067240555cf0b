"""A clinical table, reduced to what may leave the house, under pseudonyms and known names."""

import csv
from collections.abc import Callable
from pathlib import Path

from inference.errors import TableUnusable
from inference.table import plain, rows
from node.cli.layout import Table


def reduce_table(source: Path, rules: Table, target: Path, pseudonym: Callable[[str], str]) -> int:
    """Write the columns that the rules name, one line a patient; return how many.

    Every other column is dropped, names and dates with them. Refused with the line are a patient
    who is absent or there twice; messages never hold the patient.
    """
    kept: list[dict[str, str]] = []
    seen: dict[str, int] = {}
    for line, row in rows(source):
        found = {plain(name): text for name, text in row.items()}
        patient = found.get(plain(rules.patient))
        if patient is None:
            raise TableUnusable(f"{source.name}:1: no column {rules.patient!r}")
        if not patient:
            raise TableUnusable(f"{source.name}:{line}: no patient")
        if not patient.startswith(rules.patient_prefix):
            patient = rules.patient_prefix + patient
        if patient in seen:
            raise TableUnusable(
                f"{source.name}:{line}: the patient is there already, at line {seen[patient]}"
            )
        seen[patient] = line
        kept.append({"patient": pseudonym(patient), **_kept(found, rules)})
    present = [name for name in rules.columns if any(name in row for row in kept)]
    with target.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, fieldnames=["patient", *present])
        table.writeheader()
        # Not in the order of the source, which would tell whose line is whose.
        table.writerows(sorted(kept, key=lambda row: row["patient"]))
    return len(kept)


def _kept(found: dict[str, str], rules: Table) -> dict[str, str]:
    """Return the columns that are kept by the names that they get, with their values mapped."""
    written = {name: found[plain(c)] for name, c in rules.columns.items() if plain(c) in found}
    mapped = {name: rules.values.get(name, {}).get(text, text) for name, text in written.items()}
    age = mapped.get("age_years", "")
    return {**mapped, "age_years": _age(age)} if age else mapped


def _age(text: str) -> str:
    """Return whole years, 90 at most: see ``pseudonym``."""
    try:
        return f"{min(int(float(text)), 90)}"
    except ValueError:
        return text
