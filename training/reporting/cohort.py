"""Who was assessed, who was left out and why, and what the groups are like."""

from collections.abc import Mapping, Sequence

from training.assembling import STEPS
from training.baseline import Described, Row, baseline, gaps
from training.cohort_report import followup_told, rules_told
from training.consort import CENTRE_HEADS, centre_rows, screens
from training.labels import NodalClass
from training.partition import Part
from training.patients import PatientCohort
from training.reporting.answers import Run
from training.reporting.page import Block, Flow, Paragraph, Section, Tabular
from training.reporting.words import listed, p_value, plural, share

Groups = Mapping[str, Sequence[Described]]
NO_TABLE = "Nothing is known of the cases but their images and labels."


def participants(run: Run) -> Section:
    """Tell the flow, what is in each part, and the characteristics of patients."""
    return Section(
        anchor="participants",
        title="Participants",
        blocks=(
            Paragraph(text=_source(run)),
            _parts(run),
            *_without_lesion(run),
            *_withheld(run),
        ),
        parts=(
            Section(anchor="flow", title="Flow", blocks=_flow(run)),
            Section(anchor="baseline", title="Characteristics", blocks=_baseline(run)),
            Section(anchor="missing", title="Missing data", blocks=_missing(run)),
        ),
    )


def _source(run: Run) -> str:
    told = run.answers
    if run.on_phantoms:
        return (
            f"No patient: the cases are computer phantoms, drawn by the recipe {told.recipe} "
            f"{told.version} from seed {told.seed}, their labels from stated chances. Whatever "
            "follows tells whether the method works, and nothing of patients."
        )
    if not run.own:
        return (
            f"Patients of the cohort {told.cohort}, on whom the bundle is evaluated. {told.unseen} "
            "Parts that the cohort was split into play no role here."
        )
    return (
        f"Patients of the cohort {told.cohort}, split once by patient; split {told.split_digest}."
    )


def _parts(run: Run) -> Tabular:
    return Tabular(
        caption="Cases and positive ones by part and task.",
        heads=("part", "cases", *(one.task.meaning for one in run.tasks)),
        rows=tuple(
            (
                part.value,
                str(len(run.tasks[0].tables[part].labels)),
                *(
                    share(int(one.tables[part].labels.sum()), len(one.tables[part].labels))
                    for one in run.tasks
                ),
            )
            for part in run.tasks[0].tables
        ),
        note="Networks, cut-offs and the clinical model come from the part training; validation "
        "chooses the epoch and calibrates; the other parts were looked at once."
        if run.own
        else "Patients whom the bundle gives a prediction of.",
    )


def _without_lesion(run: Run) -> tuple[Block, ...]:
    """Count the patients in whom nothing was found: they stand in no table."""
    counts = {part: len(names) for part, names in run.answers.without_lesion.items() if names}
    if not counts:
        return ()
    told = ", ".join(f"{plural(count, 'patient')} of {part}" for part, count in counts.items())
    return (
        Paragraph(
            text=f"No lesion was found in {told}. They have no score and stand in no table that "
            "follows; the node would tell so instead of a prediction.",
            important=True,
        ),
    )


def _withheld(run: Run) -> tuple[Block, ...]:
    """Tell what the card made of the studies of an evaluation."""
    lost = sum(len(names) for names in run.answers.withheld.values())
    told = []
    if lost:
        told.append(
            f"The card withholds the prediction of {plural(lost, 'patient')}, who stand in no "
            "table that follows."
        )
    if run.answers.marked:
        each = listed([f"{code} {count}" for code, count in run.answers.marked.items()])
        told.append(f"Predictions that the card marks, by reason: {each}.")
    return (Paragraph(text=" ".join(told), important=bool(lost)),) if told else ()


def _flow(run: Run) -> tuple[Block, ...]:
    cohort = run.cohort
    if cohort is None and run.on_phantoms:
        return (Paragraph(text="Phantoms are drawn, not assessed: nobody was left out."),)
    if cohort is None:
        return (Paragraph(text="The cohort was not given (--cohort): its flow is not told."),)
    found = screens(cohort, STEPS)
    steps: list[tuple[str, tuple[str, ...]]] = [(f"{found[0].came} patients assessed", ())]
    for screen in found:
        left = tuple(f"{count} {why}" for why, count in screen.left)
        title = f"{screen.came - screen.passed} left out: {screen.step}"
        steps.append((title, left))
    steps.append((f"{len(cohort.members)} patients in the cohort", _members(cohort)))
    centres = Tabular(
        caption="Nodal classes by centre and part.", heads=CENTRE_HEADS, rows=centre_rows(cohort)
    )
    return (
        Paragraph(text=rules_told(cohort)),
        Flow(steps=tuple(steps)),
        centres,
        Paragraph(text=f"Follow-up: {followup_told(cohort)}"),
    )


def _members(cohort: PatientCohort) -> tuple[str, ...]:
    return tuple(f"{len(cohort.of(part))} {part}" for part in Part if cohort.of(part))


def _baseline(run: Run) -> tuple[Block, ...]:
    parts = _by_part(run)
    if not parts:
        return (Paragraph(text=NO_TABLE),)
    table = _table("Characteristics by part.", baseline(parts), parts)
    if run.cohort is None:
        return (table,)
    classes = {
        nodal.value: [one for one in run.cohort.members if one.nodal is nodal]
        for nodal in NodalClass
    }
    return _table("Characteristics by nodal class.", baseline(classes), classes), table


def _missing(run: Run) -> tuple[Block, ...]:
    parts = _by_part(run)
    found = gaps(parts)
    if not found:
        return (Paragraph(text=NO_TABLE),)
    return (_table("Patients of whom a covariate is not known, by part.", found, parts),)


def _by_part(run: Run) -> Groups:
    """Return the cohort's members, or else the cases that the answers describe."""
    if run.cohort is None or not run.own:
        return {part.value: cases for part, cases in run.traits.items()}
    found = {part.value: run.cohort.of(part) for part in Part}
    return {part: members for part, members in found.items() if members}


def _table(caption: str, rows: Sequence[Row], groups: Groups) -> Tabular:
    tested = any(row.p is not None for row in rows)
    heads = [f"{name} (n = {len(held)})" for name, held in groups.items()]
    cells = [
        (
            row.name,
            *(cell.replace("%", " %") for cell in row.cells),
            *(("" if row.p is None else p_value(row.p), row.test) * tested),
        )
        for row in rows
    ]
    note = (
        "Numbers: median (quartiles). p compares the columns and is not corrected for how many "
        "there are; gaps take no part."
    )
    return Tabular(
        caption=caption,
        heads=("covariate", *heads, *(("p", "test") * tested)),
        rows=tuple(cells),
        note=note if tested else "",
    )
