"""Turns measures into the machine-readable document, the table on the terminal and the page."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from string import Template
from typing import Any, TypeAlias

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from tests.bench.growth import Growth
from tests.bench.machine import BUSY
from tests.bench.measure import OURS, Measure

Row: TypeAlias = Mapping[str, Any]
"""A document for JSON, or one measure of it."""
HEADINGS = ("who", "median", "range", "CPU ms", "speed", "CPU")
WORTH_SAYING = 0.95
"""From this on two speeds count as equal."""
TEMPLATE = Path(__file__).with_name("performance.template.md")


def document(measures: Sequence[Measure], facts: Row) -> Row:
    """Return everything that is known of a run, ready for JSON."""
    return {**facts, "measures": [_row(measure) for measure in measures]}


def _row(measure: Measure) -> Row:
    return {
        "section": measure.section,
        "case": measure.case,
        "subject": measure.subject,
        "unit": measure.unit,
        "more_is_better": measure.more_is_better,
        "rounds": len(measure.samples),
        "median": measure.median,
        "values": list(measure.values),
        "cpu_ms": measure.cpu_ms,
        "cpu_ms_values": [sample.cpu_ms for sample in measure.samples],
        "our_speed_over_its": measure.ratio,
        "our_cpu_over_its": measure.cpu_ratio,
    }


def print_table(result: Row, console: Console) -> None:
    """Print one table of the whole run, and what is to be said beside it."""
    table = Table(*HEADINGS, title=_title(result), box=SIMPLE_HEAD, padding=0, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for case, rows in _by_case(result["measures"]):
        table.add_row(f"[bold]{case}[/]")
        for row in rows:
            table.add_row(*_cells(row))
        table.add_section()
    console.print(table)
    console.print("speed: ours over its, above 1 we are faster; CPU: ours over its, for each item")
    for sentence in (*_beside(result), *result["notes"]):
        console.print(sentence, markup=False)


def page(result: Row) -> str:
    """Return the page of the documentation."""
    template = Template(TEMPLATE.read_text(encoding="utf-8"))
    return template.substitute(
        run=_circumstances(result), tables=_markdown(result), slower=_slower(result)
    )


def _title(result: Row) -> str:
    machine = result["machine"]
    quick = ", quick" if result["quick"] else ""
    return f"petct-node bench{quick}: {machine['cores']} cores, {machine['cpu']}"


def _by_case(rows: Iterable[Row]) -> Iterator[tuple[str, list[Row]]]:
    """Yield a heading and the rows below it."""
    for section, its in groupby(rows, key=lambda row: row["section"]):
        for case, same in groupby(its, key=lambda row: row["case"]):
            yield f"{section}: {case}", list(same)


def _cells(row: Row) -> tuple[str, ...]:
    cpu = row["cpu_ms"]
    return (
        row["subject"],
        f"{_number(row['median'])} {row['unit']}",
        f"{_number(min(row['values']), 2)}-{_number(max(row['values']), 2)}",
        "" if cpu is None else _number(cpu),
        _times(row["our_speed_over_its"]),
        _times(row["our_cpu_over_its"]),
    )


def _number(value: float, digits: int = 3) -> str:
    return f"{value:.0f}" if value >= 10 ** (digits - 1) else f"{value:.{digits}g}"


def _times(ratio: float | None) -> str:
    return "" if ratio is None else f"{_number(ratio, 2)}x"


def _beside(result: Row) -> list[str]:
    sentences = []
    if result["others_share"] > BUSY:
        sentences.append(
            f"The machine was busy: {result['others_share']:.0%} of its cores went to others while "
            "this was measured. Rates and times are worse than on a quiet machine, ratios less "
            "certain."
        )
    sentences += [f"Growth, {Growth(**one).sentence}" for one in result["growth"]]
    if result["logit_differences"]:
        worst = max(result["logit_differences"].values())
        sentences.append(f"No logit differs from torch's by more than {worst:.1e}.")
    return sentences


def _circumstances(result: Row) -> str:
    machine = result["machine"]
    rounds = sorted({row["rounds"] for row in result["measures"]})
    quick = "a quick run, " if result["quick"] else ""
    took = f"{' or '.join(map(str, rounds))} rounds, {result['seconds']:.0f} s in all"
    cores = f"{machine['cores']} cores of {machine['cpu']}, {machine['memory_gib']} GiB"
    system = f"{machine['system']}, Linux {machine['kernel']}, {machine['file_system']}"
    facts = (
        f"{result['started_at']}, {quick}{took}",
        f"{cores}, {system}",
        ", ".join(f"{name} {known}" for name, known in result["versions"].items()),
        result["study"],
        *_beside(result),
        *result["notes"],
    )
    return "\n".join(f"* {fact}" for fact in facts)


def _markdown(result: Row) -> str:
    tables = []
    for case, rows in _by_case(result["measures"]):
        lines = [f"### {case}", "", f"| {' | '.join(HEADINGS)} |", "|---|--:|--:|--:|--:|--:|"]
        lines += [f"| {' | '.join(_cells(row))} |" for row in rows]
        tables.append("\n".join(lines))
    return "\n\n".join(tables)


def _slower(result: Row) -> str:
    """Name what does not speak for us, from the numbers alone."""
    lines = []
    for row in result["measures"]:
        ratio, cpu = row["our_speed_over_its"], row["our_cpu_over_its"]
        if ratio is not None and ratio < WORTH_SAYING:
            more = "" if cpu is None else f", with {_number(cpu, 2)} times its CPU time"
            told = f"{_number(ratio, 2)} of the speed"
            if row["unit"] == "MB":
                told = f"{_number(1 / ratio, 2)} times the memory"
            lines.append(f"* {row['section']}, {row['case']}: {told} of {row['subject']}{more}.")
    return "\n".join(lines) if lines else f"{OURS} was nowhere slower."
