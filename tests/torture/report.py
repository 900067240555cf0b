"""Keeps the lines of each part as JSON, and turns them into the table and the page."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from string import Template

from rich.console import Console
from rich.table import Table

from tests.bench import machine
from tests.bench.process import ROOT
from tests.torture.claims import Claim, Part

ORDER = ("kills", "power", "destinations", "senders", "disk", "fuzz")
TEMPLATE = Path(__file__).with_name("torture.template.md")
PAGE = ROOT / "docs" / "torture.md"
NOT_RUN = "not run"


def write(part: Part, out: Path, *, run: str = "") -> None:
    """Write one JSON object a line: what the part is, then each claim.

    ``run`` names a further run of the part, which stands beside the first.
    """
    head = {name: value for name, value in asdict(part).items() if name != "claims"}
    head |= {"machine": machine.describe(out), "versions": machine.versions()}
    lines = [head, *(asdict(claim) for claim in part.claims)]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    name = f"{part.name}-{run}" if run else part.name
    (out / f"{name}.jsonl").write_text(text, encoding="utf-8")


def read(out: Path) -> list[tuple[Mapping[str, object], list[Claim]]]:
    """Return the head and the claims of each run that lies here, in the table's order."""
    found = []
    for name in ORDER:
        for file in (out / f"{name}.jsonl", *sorted(out.glob(f"{name}-*.jsonl"))):
            if file.is_file():
                head, *claims = map(json.loads, file.read_text(encoding="utf-8").splitlines())
                found.append((head, [Claim(**claim) for claim in claims]))
    return found


def print_table(
    parts: Sequence[tuple[Mapping[str, object], list[Claim]]], console: Console
) -> None:
    """Print one line for each claim of each part, and one for each part that has not run."""
    table = Table("part", "what is done", "what is claimed or counted", "found", "holds")
    for cells in _rows(parts):
        table.add_row(*cells, style=None if cells[-1] != "NO" else "red")
    console.print(table)


def write_page(parts: Sequence[tuple[Mapping[str, object], list[Claim]]], console: Console) -> None:
    """Render docs/torture.md from what each part found."""
    template = Template(TEMPLATE.read_text(encoding="utf-8"))
    rows = [f"| {' | '.join(cells)} |" for cells in _rows(parts)]
    head = [
        "| part | what is done | what is claimed or counted | found | holds |",
        "|---|---|---|---|---|",
    ]
    PAGE.write_text(
        template.substitute(table="\n".join(head + rows), runs="\n".join(_runs(parts))),
        encoding="utf-8",
    )
    console.print(str(PAGE.relative_to(ROOT)), markup=False)


def _rows(
    parts: Sequence[tuple[Mapping[str, object], list[Claim]]],
) -> Iterator[tuple[str, str, str, str, str]]:
    for name in ORDER:
        runs = [claims for head, claims in parts if head["name"] == name]
        if not any(runs):
            yield name, "", "", NOT_RUN, ""
        for claims in runs:
            before = None
            for one in claims:
                trial = "" if one.trial == before else one.trial
                yield "" if before else name, trial, one.claim, one.found, _verdict(one)
                before = one.trial


def _verdict(claim: Claim) -> str:
    if claim.found.startswith(NOT_RUN):
        return ""
    return "yes" if claim.holds else "NO"


def _runs(parts: Sequence[tuple[Mapping[str, object], list[Claim]]]) -> Iterator[str]:
    for head, _ in parts:
        where, versions = head["machine"], head["versions"]
        assert isinstance(where, Mapping)
        assert isinstance(versions, Mapping)
        known = ", ".join(
            f"{name} {versions[name]}"
            for name in ("petct-node", "revision", "Python", "pynetdicom", "DCMTK", "Orthanc")
        )
        yield (
            f"* {head['name']}: {head['started_at']}, {head['seconds']} s, seed {head['seed']}; "
            f"{where['cores']} cores of {where['cpu']}, {where['system']}, "
            f"Linux {where['kernel']}, {where['file_system']}; {known}"
        )
