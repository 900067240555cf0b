"""The report as a whole: which sections there are, and in what order."""

import contextlib
from collections.abc import Callable, Sequence

from training.partition import Part
from training.reporting import charts, curves, tables
from training.reporting.answers import FUSION, Run, TaskRun
from training.reporting.card import model_card
from training.reporting.checklists import checklists
from training.reporting.cohort import participants
from training.reporting.compared import against_card, by_centre
from training.reporting.judged import BAYES, Asked, Judged, judge
from training.reporting.methods import methods
from training.reporting.montage import montage
from training.reporting.page import Block, Page, Paragraph, Section, Tabular
from training.reporting.survival import survival_blocks
from training.reporting.words import interval, number
from training.statistics.values import UnusableScores


def page(run: Run, asked: Asked, advance: Callable[[str], None] = lambda _: None) -> Page:
    """Judge every task and tell all of it; ``advance`` is called ``steps(run)`` times."""
    judged: list[dict[Part, Judged]] = []
    tasks: list[Section] = []
    for place, one in enumerate(run.tasks, start=1):
        judged.append(_judged(one, asked))
        advance(f"{one.task.name} is judged")
        tasks.append(_task(run, f"task-{place}", judged[-1]))
        advance(f"{one.task.name} is drawn")
    sections = [
        Section(anchor="summary", title="Summary", blocks=_summary(run, judged)),
        participants(run),
        *tasks,
        Section(anchor="survival", title="Survival", blocks=survival_blocks(run, asked.times)),
        model_card(run),
        methods(run, asked),
    ]
    card = run.bundle.card
    return Page(
        title=f"{card.name} {card.version}: report",
        lead=f"What the networks of this bundle were trained on, what they are worth and where "
        f"they must not be used. {card.training_data}",
        sections=(*sections, *checklists(run)),
        colophon=f"Written by petct-train report from the answers of bundle {run.bundle.digest}. "
        "The same answers give the same page.",
    )


def steps(run: Run) -> int:
    """Return how often ``page`` tells that it went on."""
    return 2 * len(run.tasks)


def _judged(one: TaskRun, asked: Asked) -> dict[Part, Judged]:
    try:
        found = {one.part: judge(one, one.part, asked)}
    except UnusableScores as refusal:
        raise UnusableScores(f"{one.task.name} cannot be judged: {refusal}") from refusal
    if Part.EXTERNAL in one.tables and one.part is not Part.EXTERNAL:
        with contextlib.suppress(UnusableScores):  # the section says that there are too few
            found[Part.EXTERNAL] = judge(one, Part.EXTERNAL, asked)
    return found


def _summary(run: Run, judged: Sequence[dict[Part, Judged]]) -> tuple[Block, ...]:
    rows = [
        row
        for one, found in zip(run.tasks, judged, strict=True)
        for row in (_line(one.task.meaning, part, told) for part, told in found.items())
    ]
    heads = ["task", "cases", "AUROC", "average precision", "sensitivity", "specificity", "Brier"]
    if any(BAYES in one.models for found in judged for one in found.values()):
        heads.append("of what can be known")
        rows = [(*row, _known(one)) for row, one in zip(rows, _each(judged), strict=True)]
    table = Tabular(
        caption="The bundle's networks, with 95 % intervals, at their frozen cut-offs.",
        heads=tuple(heads),
        rows=tuple(rows),
    )
    lead = Paragraph(text=run.bundle.card.intended_use, important=True)
    if run.own:
        return lead, table
    told = (
        f"The bundle was evaluated on the cohort {run.answers.cohort}: its cut-offs and its "
        f"calibration stand as they are, nothing was fitted. {run.answers.unseen}"
    )
    return lead, Paragraph(text=told), table


def _each(judged: Sequence[dict[Part, Judged]]) -> list[Judged]:
    return [one for found in judged for one in found.values()]


def _line(meaning: str, part: Part, judged: Judged) -> tuple[str, ...]:
    told = judged.told["models"][FUSION]
    at = told["at_cutoff"]
    return (
        f"{meaning}, {part}",
        tables.of_cases(judged),
        interval(told["auroc"]),
        interval(told["average_precision"]),
        interval(at["sensitivity"]),
        interval(at["specificity"]),
        interval(told["brier"]),
    )


def _known(judged: Judged) -> str:
    models = judged.told["models"]
    if BAYES not in models:
        return ""
    return tables.known_share(models[FUSION]["auroc"].value, models[BAYES]["auroc"].value)


def _task(run: Run, anchor: str, judged: dict[Part, Judged]) -> Section:
    one = next(iter(judged.values())).run
    test = judged[one.part]

    def part(name: str, title: str, *blocks: Block) -> Section:
        return Section(anchor=f"{anchor}-{name}", title=title, blocks=blocks)

    return Section(
        anchor=anchor,
        title=one.task.meaning,
        blocks=(Paragraph(text=_lead(test)),),
        parts=(
            part("roc", "Discrimination", curves.discrimination(test), *_discrimination(test)),
            part(
                "cutoff",
                "Calls at the frozen cut-off",
                charts.confusion_matrices(test),
                tables.operating_point(test),
            ),
            part(
                "calibration",
                "Calibration and clinical benefit",
                curves.probabilities(test),
                tables.calibration(test),
                tables.benefit(test),
            ),
            part("nri", "Reclassification", *_reclassification(test)),
            part("sets", "Uncertainty of one case", tables.conformal(test)),
            part("subgroups", "Subgroups", *_subgroups(test)),
            part("external", "External validation", *_external(run, judged)),
            part("readers", "Readers", *_readers(test)),
            part("features", "Texture features", *_features(test)),
            part("epochs", "Learning curves", *_epochs(run, one.task.name)),
            part("cases", "Best and worst cases", *montage(one, run.bundle)),
        ),
    )


def _lead(judged: Judged) -> str:
    found = judged.told["models"][FUSION]["auroc"]
    rivals = [name for name in judged.rivals if name != BAYES]
    told = f"In {tables.of_cases(judged)}, fusion has an AUROC of {interval(found)}."
    if not rivals:
        return told
    above = [
        name
        for name in rivals
        if judged.told["comparisons"][name]["auroc"].value > 0
        and judged.told["comparisons"][name]["auroc_q"] < 0.05
    ]
    return (
        f"{told} It lies above {len(above)} of its {len(rivals)} rivals with an adjusted p below "
        "0.05."
    )


def _discrimination(judged: Judged) -> tuple[Block, ...]:
    return (tables.discrimination(judged),)


def _reclassification(judged: Judged) -> tuple[Block, ...]:
    if not judged.rivals:
        return (Paragraph(text="There is no other model to hold fusion against."),)
    return (tables.reclassification(judged),)


def _subgroups(judged: Judged) -> tuple[Block, ...]:
    if "subgroups" not in judged.told:
        return (Paragraph(text="The answers tell of no subgroups."),)
    return charts.forest(judged), tables.subgroups(judged)


def _external(run: Run, judged: dict[Part, Judged]) -> tuple[Block, ...]:
    found = judged.get(Part.EXTERNAL)
    if found is not None and not run.own:
        return against_card(run.bundle.card, found), by_centre(found)
    if found is None and Part.EXTERNAL in judged[Part.TEST].run.tables:
        table = judged[Part.TEST].run.tables[Part.EXTERNAL]
        told = f"{len(table.labels)} cases, {table.labels.sum()} of them positive, are too few."
        return (Paragraph(text=f"The external centres cannot be judged: {told}"),)
    if found is None:
        return (Paragraph(text="No centre was kept apart, so there is no external validation."),)
    return (
        curves.discrimination(found),
        tables.discrimination(found),
        tables.operating_point(found),
        curves.probabilities(found),
        tables.calibration(found),
    )


def _readers(judged: Judged) -> tuple[Block, ...]:
    if "readers" not in judged.told:
        return (Paragraph(text="No readers' calls stand in the answers."),)
    return tuple(tables.readers(judged))


def _features(judged: Judged) -> tuple[Block, ...]:
    if not any(judged.told.get("features", {}).values()):
        return (Paragraph(text="No texture features stand in the answers."),)
    return charts.features(judged), *tables.features(judged)


def _epochs(run: Run, task: str) -> tuple[Block, ...]:
    if run.runs is None:
        return (Paragraph(text="The logs of the runs were not given (--runs)."),)
    logs = charts.epochs_of(run.runs, task)
    if not logs:
        return (Paragraph(text="There is no log of this task's networks."),)
    least = min(len(log.auroc) for log in logs.values())
    most = max(len(log.auroc) for log in logs.values())
    told = number(least, 0) if least == most else f"{least} to {most}"
    return charts.learning(logs), Paragraph(text=f"Networks were trained for {told} epochs.")
