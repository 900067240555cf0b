"""Kaplan-Meier by risk group and by treatment, over all tasks of a run."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training.reporting.answers import FUSION, Run
from training.reporting.figures import INK, drawn
from training.reporting.page import Block, Pair, Paragraph, Picture, Tabular
from training.reporting.words import UNKNOWN, interval, listed, number, p_value, plural, short_name
from training.statistics.outcome import survival
from training.statistics.survival import FollowUp, kaplan_meier
from training.statistics.table import Words
from training.statistics.values import Labels, UnusableScores

COLORS = ("#0b4f8a", "#d55e00", "#00806a", "#7a5195", "#555555")
LOW = "low"


def survival_blocks(run: Run, times: Sequence[float]) -> tuple[Block, ...]:
    """Tell who lived how long in the part that is judged, or in one line why that is not told."""
    table = run.tasks[0].tables[run.part]
    if table.times is None or table.events is None:
        return (Paragraph(text="No follow-up stands in the answers, so survival is not told."),)
    try:
        high = _high(run)
        told = survival(table, high, times)
    except UnusableScores as refusal:
        return (Paragraph(text=f"Survival is not told: {refusal}."),)
    risk: Words = np.where(high, "high", LOW)
    follow_up = FollowUp(times=table.times, events=table.events)
    title = f"risk group, {run.part} part"
    blocks: list[Block] = [_rule(run), _figure(follow_up, risk, title, times)]
    blocks.append(_table(title, told, times))
    blocks += _by_treatment(run, follow_up, risk, told, times)
    blocks.append(_concordance(run.tasks[0].task.meaning, told))
    return tuple(blocks)


def _high(run: Run) -> Labels:
    """Return who is above the cut-off of any task; the tables must be of the same cases."""
    tables = [one.tables[run.part] for one in run.tasks]
    if any(not np.array_equal(one.cases, tables[0].cases) for one in tables):
        raise UnusableScores("the tasks' tables are not of the same cases in the same order")
    above: Labels = np.any(
        [one.tables[run.part].models[FUSION] > one.cutoff_margin for one in run.tasks], axis=0
    )
    return above


def _rule(run: Run) -> Paragraph:
    cutoffs = [f"{one.task.meaning} above {number(one.task.cutoff, 3)}" for one in run.tasks]
    return Paragraph(
        text=f"High risk: {' or '.join(cutoffs)}. Low risk: all others. Times are in years."
    )


def _by_treatment(
    run: Run, follow_up: FollowUp, risk: Words, told: Mapping[str, Any], times: Sequence[float]
) -> list[Block]:
    table = run.tasks[0].tables[run.part]
    if table.treatment is None:
        return [Paragraph(text="Treatments are not known, so they are not compared.")]
    pictures, compared = [], []
    for group, found in told["by_treatment"].items():
        some = (table.treatment != "") & (risk == group)
        title = f"treatment of the {group}-risk group, {run.part} part"
        pictures.append(_figure(follow_up.of(some), table.treatment[some], title, times))
        compared.append(_table(title, found, times))
    interaction = told["interaction"]
    if "reason" in interaction:
        text = f"The interaction of risk group and treatment is not told: {interaction['reason']}."
    else:
        ratio = interval(interaction["covariates"]["both"].ratio, 2)
        text = (
            "Interaction of risk group and treatment (Cox): ratio of hazard ratios "
            f"{ratio}, p {p_value(interaction['p'])}."
        )
    return [Pair(pictures=tuple(pictures)), *compared, Paragraph(text=text)]


def _figure(follow_up: FollowUp, groups: Words, title: str, times: Sequence[float]) -> Picture:
    names = sorted(np.unique(groups).tolist(), key=lambda name: (name != LOW, name))

    def paint(figure: Figure) -> None:
        axes, below = figure.subplots(2, height_ratios=(5, 0.4 + 0.45 * len(names)), sharex=True)
        for name, color in zip(names, COLORS * len(names), strict=False):
            _staircase(axes, follow_up.of(groups == name), name, color)
        axes.set(ylim=(0, 1.02), ylabel="share alive")
        axes.set_xlim(left=0)
        axes.legend(loc="lower left")
        _at_risk(below, follow_up, groups, names, times)

    found = [
        f"{name}: {plural(int(np.sum(groups == name)), 'case')}, "
        f"{plural(int(follow_up.events[groups == name].sum()), 'event')}"
        for name in names
    ]
    return drawn(
        paint,
        alt=f"Kaplan-Meier curves by {title}. {listed(found)}.",
        caption=f"Kaplan-Meier by {title}, with 95 % intervals (log-log); strokes are "
        "cases that were not watched longer. Below, how many were still watched.",
        size=(4.8, 3.9),
    )


def _staircase(axes: Axes, follow_up: FollowUp, name: str, color: str) -> None:
    at = np.unique(np.append([0.0], follow_up.times))
    found = list(kaplan_meier(follow_up, at.tolist()).survival.values())
    alive = [one.value for one in found]
    axes.step(at, alive, where="post", color=color, label=name)
    low, high = ([getattr(one, end) for one in found] for end in ("low", "high"))
    axes.fill_between(at, low, high, step="post", color=color, alpha=0.12, linewidth=0)
    left = follow_up.times[~follow_up.events]
    axes.plot(left, np.interp(left, at, alive), "|", color=color, markersize=4)


def _at_risk(
    axes: Axes, follow_up: FollowUp, groups: Words, names: Sequence[str], times: Sequence[float]
) -> None:
    for row, name in enumerate(names):
        for time in (0.0, *times):
            still = int(np.sum(follow_up.times[groups == name] >= time))
            axes.text(time, row, str(still), ha="center", va="center", color=INK)
    axes.set(ylim=(len(names) - 0.4, -0.6), xlabel="years")
    axes.set_yticks(range(len(names)), list(names))
    axes.grid(visible=False)
    axes.tick_params(axis="y", length=0, pad=16)
    axes.spines["left"].set_visible(False)


def _table(title: str, told: Mapping[str, Any], times: Sequence[float]) -> Tabular:
    curves = told["curves"]
    first = next(iter(curves))
    hazards = told.get(f"hazard_against_{first}", {})
    rows = []
    for name, curve in curves.items():
        hazard = hazards.get(name)
        ratio = "reference" if name == first else UNKNOWN
        rows.append(
            (
                name,
                f"{curve.events} of {curve.cases}",
                *(interval(curve.survival[time]) for time in times),
                number(curve.median, 2),
                ratio if hazard is None else interval(hazard.ratio, 2),
                "" if hazard is None else p_value(hazard.p),
            )
        )
    reason = f" Not all is told: {told['reason']}." if "reason" in told else ""
    return Tabular(
        caption=f"Survival by {title}. Log-rank p {p_value(told.get('log_rank_p'))}.",
        heads=(
            "group",
            "events",
            *(f"alive at {time:g} y" for time in times),
            "median",
            "hazard ratio",
            "p",
        ),
        rows=tuple(rows),
        note=f"Survival by Kaplan and Meier, hazard ratios by Cox.{reason}",
    )


def _concordance(meaning: str, told: Mapping[str, Any]) -> Paragraph:
    found = [f"{short_name(name)} {number(value)}" for name, value in told["concordance"].items()]
    return Paragraph(text=f"Harrell's C of the scores for {meaning}: {listed(found)}.")
