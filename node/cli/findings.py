"""A ``findings.json`` document as a person wants to read it."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from inference.findings import in_percent

TASKS = {"occult_n1": "occult N1 metastasis", "occult_n2": "occult N2 metastasis"}
MEASURES = (
    ("SUVmax", "suv_max", "g/ml", 2),
    ("SUVmean", "suv_mean", "g/ml", 2),
    ("SUVpeak", "suv_peak", "g/ml", 2),
    ("MTV", "mtv_ml", "ml", 1),
    ("TLG", "tlg_g", "g", 1),
    ("volume", "volume_ml", "ml", 1),
    ("longest axial diameter", "longest_axial_diameter_mm", "mm", 0),
    ("longest diameter", "longest_diameter_mm", "mm", 0),
)


def print_document(document: Mapping[str, Any], console: Console) -> None:
    """Print the outcome of one study: what was found, what is predicted, what has to be known."""
    console.rule(f"study {document['study_instance_uid']}")
    if document["outcome"] == "refused":
        for reason in document["reasons"]:
            console.print(f"[red]refused[/] {reason['code']}: {escape(reason['meaning'])}")
        return
    for lesion in document["lesions"]:
        _print_lesion(lesion, console)
    if not document["lesions"]:
        console.print("no avid lesion was found in the thorax")
    _print_predictions(document, console)
    for warning in document["warnings"]:
        console.print(f"[yellow]note[/] {warning['code']}: {escape(warning['meaning'])}")
    seconds = ", ".join(f"{stage} {s:.2f} s" for stage, s in document["timings_s"].items())
    console.print(f"[dim]{document['engine']}; {seconds}[/]")


def _print_lesion(lesion: Mapping[str, Any], console: Console) -> None:
    x, y, z = lesion["centroid_lps_mm"]
    side = f"{lesion['laterality']}, " if lesion["laterality"] else ""
    console.print(f"[bold]{lesion['label']}[/]: {side}centre at {x:.0f}, {y:.0f}, {z:.0f} mm (LPS)")
    table = Table(show_header=False)
    for name, key, unit, digits in MEASURES:
        value = lesion[key]
        table.add_row(name, "-" if value is None else f"{value:.{digits}f} {unit}")
    console.print(table)
    console.print(f"[dim]{escape(lesion['explanation'])}[/]")


def _print_predictions(document: Mapping[str, Any], console: Console) -> None:
    for prediction in document["predictions"]:
        name = TASKS.get(prediction["task"], prediction["task"])
        probability, cutoff = in_percent(prediction["probability"], prediction["cutoff"])
        category = "[bold red]high[/]" if prediction["high"] else "[green]low[/]"
        console.print(f"{name}: {probability} %, {category} (cut-off {cutoff} %)")
    if document["risk"]:
        console.print(f"risk group: [bold]{document['risk']}[/]")
    reasons: Sequence[Mapping[str, str]] = document["inapplicable"]
    if reasons:
        shown = "marked" if document["predictions"] else "withheld"
        console.print(f"[yellow]the model does not cover this study; predictions {shown}:[/]")
        for reason in reasons:
            console.print(f"  {reason['code']}: {escape(reason['meaning'])}")
    console.print("[bold]Research use only: not for clinical decisions.[/]")
