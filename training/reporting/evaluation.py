"""What an evaluation on patients of others found, in Markdown and as JSON."""

from collections.abc import Mapping, Sequence
from typing import Any

from inference.codec import encode
from training.assembling import STEPS
from training.cohort_report import rules_told
from training.consort import flow_table
from training.patients import PatientCohort
from training.reporting import tables
from training.reporting.answers import Run, TaskRun
from training.reporting.compared import against_card, by_centre
from training.reporting.judged import Asked, Judged, judge
from training.reporting.page import Paragraph, Tabular
from training.reporting.words import plural
from training.statistics.values import UnusableScores

Verdict = Judged | UnusableScores
"""What a task's answers tell, or why they tell nothing."""


def judged_tasks(run: Run, asked: Asked) -> tuple[Verdict, ...]:
    """Judge each task; one whose patients are all alike says so and stops no other."""
    return tuple(_verdict(one, asked) for one in run.tasks)


def _verdict(one: TaskRun, asked: Asked) -> Verdict:
    try:
        return judge(one, one.part, asked)
    except UnusableScores as refusal:
        return refusal


def as_json(run: Run, verdicts: Sequence[Verdict]) -> Mapping[str, Any]:
    """Return the answers' names and counts, and all statistics by task."""
    told: dict[str, Any] = {}
    for one, verdict in zip(run.tasks, verdicts, strict=True):
        if isinstance(verdict, Judged):
            told[one.task.name] = {**verdict.told, "sets": verdict.sets}
        else:
            told[one.task.name] = {"reason": str(verdict)}
    return {"answers": encode(run.answers), "tasks": told}


def markdown(run: Run, cohort: PatientCohort, verdicts: Sequence[Verdict]) -> str:
    """Return the report; the same answers give the same text."""
    card = run.bundle.card
    lead = "Nothing was fitted: calibration, cut-offs and sets of answers are the bundle's."
    sections = [
        f"# {card.name} {card.version} on the cohort {cohort.name}\n",
        f"{card.intended_use}\n",
        f"Bundle {run.bundle.digest}\nCohort {cohort.digest}\n",
        f"{lead} {run.answers.unseen}\n",
        "## Patients\n",
        flow_table(cohort, STEPS) + _asked(run),
        f"{rules_told(cohort)}\n",
    ]
    for one, verdict in zip(run.tasks, verdicts, strict=True):
        sections.append(f"## {one.task.meaning}\n")
        if isinstance(verdict, Judged):
            sections += _task(run, verdict)
        else:
            sections.append(f"It cannot be judged: {verdict}.\n")
    return "\n".join(sections).replace("\u00a0", " ")


def _asked(run: Run) -> str:
    """Return what became of the patients whom the bundle was asked about, as a list."""
    told = run.answers
    part = run.part.value
    given, lost = told.cases[part], told.without_lesion.get(part, ())
    withheld = told.withheld.get(part, ())
    parts = f", those of the cohort's part {' or '.join(told.parts)}" if told.parts else ""
    count = plural(given + len(lost) + len(withheld), "patient")
    lines = [f"* **{count} evaluated**{parts}"]
    lines += _named("in whom no lesion is found", lost)
    lines += _named("whose prediction the card withholds", withheld)
    lines.append(f"  * {given} with a prediction")
    lines += [f"    * {count} marked {code}" for code, count in told.marked.items()]
    return "\n".join(lines) + "\n"


def _named(what: str, patients: Sequence[str]) -> list[str]:
    return [f"  * {len(patients)} {what}: {', '.join(patients)}"] if patients else []


def _task(run: Run, judged: Judged) -> list[str]:
    blocks = [
        against_card(run.bundle.card, judged),
        tables.discrimination(judged),
        tables.operating_point(judged),
        tables.calibration(judged),
        tables.conformal(judged),
    ]
    blocks.append(by_centre(judged))
    if "subgroups" in judged.told:
        blocks.append(tables.subgroups(judged))
    return [_block(one) for one in blocks if isinstance(one, Tabular | Paragraph)]


def _block(block: Tabular | Paragraph) -> str:
    if isinstance(block, Paragraph):
        return f"{block.text}\n"
    lines = [block.caption, "", f"| {' | '.join(block.heads)} |"]
    lines.append(f"|---|{'--:|' * (len(block.heads) - 1)}")
    rows = [[str(cell).replace("|", "\\|") for cell in row] for row in block.rows]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([*lines, "", block.note, ""])
