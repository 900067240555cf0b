"""Figures of one task that are no curves: confusion matrices, subgroups, features, epochs."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from training.report import MODELS
from training.reporting.answers import FUSION
from training.reporting.figures import FAINT, INK, drawn, line_of
from training.reporting.judged import Judged
from training.reporting.page import Picture
from training.reporting.words import interval, listed, number, short_name
from training.statistics.operating_point import Confusion
from training.statistics.values import Floats, Interval, UnusableScores


def confusion_matrices(judged: Judged) -> Picture:
    """One matrix a model, its shade the share of the class."""
    counts: dict[str, Confusion] = {
        name: judged.told["models"][name]["at_cutoff"]["counts"] for name in judged.models
    }

    def paint(figure: Figure) -> None:
        columns = min(len(counts), 5)
        rows = -(-len(counts) // columns)
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, (name, one) in zip(grid, counts.items(), strict=False):
            _matrix(axes, one)
            axes.set_title(short_name(name))
        for axes in grid[len(counts) :]:
            axes.set_axis_off()

    found = [
        f"{short_name(name)} {one.true_positives} true and {one.false_positives} false positive, "
        f"{one.true_negatives} true and {one.false_negatives} false negative"
        for name, one in counts.items()
    ]
    rows = -(-len(counts) // 5)
    return drawn(
        paint,
        alt=f"Confusion matrices: {'; '.join(found)}.",
        caption=f"Confusion matrices at the frozen cut-offs, {judged.part} part. The shade is the "
        "share of the row.",
        size=(8.6, 1.85 * rows),
        wide=True,
    )


def _matrix(axes: Axes, counts: Confusion) -> None:
    cells = np.array(
        [
            [counts.true_positives, counts.false_negatives],
            [counts.false_positives, counts.true_negatives],
        ]
    )
    shares = cells / np.maximum(cells.sum(axis=1, keepdims=True), 1)
    axes.pcolormesh(shares, cmap="Blues", vmin=0, vmax=1.25, edgecolors="white", linewidth=1.5)
    for (row, column), value in np.ndenumerate(cells):
        dark = shares[row, column] > 0.7
        axes.text(
            column + 0.5,
            row + 0.5,
            str(value),
            ha="center",
            va="center",
            color="white" if dark else INK,
        )
    axes.set_xticks([0.5, 1.5], ["called", "not called"])
    axes.set_yticks([0.5, 1.5], ["positive", "negative"], rotation=90, va="center")
    axes.tick_params(length=0)
    axes.invert_yaxis()
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def forest(judged: Judged) -> Picture:
    """AUROC of fusion in each subgroup, beside that in all cases."""
    whole: Interval = judged.told["models"][FUSION]["auroc"]
    rows: list[tuple[str, int, Interval]] = [("all cases", judged.told["cases"], whole)]
    for group, analysis in judged.told["subgroups"].items():
        if group == "heterogeneity_q":
            continue
        rows += [
            (f"{group}: {name}", part.cases, part.auroc)
            for name, part in analysis.parts.items()
            if part.auroc is not None
        ]

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        axes.axvline(whole.value, color=FAINT, linewidth=0.8, linestyle="--")
        _forest_rows(axes, rows)
        axes.set_yticks(range(len(rows)), [f"{name}  (n = {cases})" for name, cases, _ in rows])
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("AUROC")

    found = [f"{name} {interval(value)}" for name, _, value in rows]
    return drawn(
        paint,
        alt=f"Forest plot of AUROC: {listed(found)}.",
        caption=f"AUROC of fusion in subgroups of the {judged.part} part, with 95 % intervals. The "
        "dashed line is that of all cases.",
        size=(8.6, 0.55 + 0.24 * len(rows)),
        wide=True,
    )


def _forest_rows(axes: Axes, rows: Sequence[tuple[str, int, Interval]]) -> None:
    most = max(cases for _, cases, _ in rows)
    ends = []
    for place, (_, cases, found) in enumerate(rows):
        axes.plot([found.low, found.high], [place, place], color=INK, linewidth=1)
        size = 2.5 + 5 * float(np.sqrt(cases / most))
        axes.plot(found.value, place, "s", color="#0b4f8a", markersize=size)
        ends += [end for end in (found.low, found.high, found.value) if np.isfinite(end)]
    axes.set_xlim(min(ends) - 0.02, min(max(ends) + 0.02, 1.005))


def features(judged: Judged) -> Picture:
    """Rank correlation of the foremost texture features with fusion's score."""
    kinds = {kind: found for kind, found in judged.told["features"].items() if found}
    most = max(map(len, kinds.values()))

    def paint(figure: Figure) -> None:
        columns = figure.subplots(1, len(kinds), squeeze=False)[0]
        for axes, (kind, found) in zip(columns, kinds.items(), strict=True):
            places = range(len(found))
            values = [one.rho.value for one in found]
            low = [one.rho.value - one.rho.low for one in found]
            high = [one.rho.high - one.rho.value for one in found]
            axes.barh(places, values, color=line_of(kind, ()).color, height=0.6)
            axes.errorbar(values, places, xerr=(low, high), fmt="none", ecolor=INK, elinewidth=0.8)
            axes.set_yticks(places, [one.feature for one in found])
            axes.axvline(0, color=INK, linewidth=0.6)
            axes.set_ylim(most - 0.5, -0.5)
            axes.grid(visible=False, axis="y")
            axes.set(xlabel="Spearman's rho", title=kind.upper())

    told = [f"{one.feature} {number(one.rho.value)}" for found in kinds.values() for one in found]
    return drawn(
        paint,
        alt=f"Rank correlation of texture features with fusion's score: {listed(told)}.",
        caption=f"Texture features that go most with fusion's score, {judged.part} part, with 95 % "
        "intervals.",
        size=(8.6, 0.9 + 0.22 * most),
        wide=True,
    )


@dataclass(frozen=True, kw_only=True)
class Epochs:
    """The log of one network's training."""

    loss: Floats
    auroc: Floats

    @property
    def kept(self) -> int:
        """The epoch whose weights are the network's, counted from 1."""
        return int(np.argmax(self.auroc)) + 1


def epochs_of(runs: Path, task: str) -> Mapping[str, Epochs]:
    """Return the logs of a task's networks by model, in the order in which models are told."""
    found = {
        folder.name.removeprefix(f"{task}-"): _epochs(folder / "log.csv")
        for folder in sorted(runs.glob(f"{task}-*"))
        if (folder / "log.csv").is_file()
    }
    order = {name: place for place, name in enumerate(MODELS)}
    return dict(sorted(found.items(), key=lambda one: order.get(one[0], len(order))))


def _epochs(path: Path) -> Epochs:
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    try:
        loss, auroc = ([float(row[name]) for row in rows] for name in ("loss", "auroc"))
    except (KeyError, TypeError, ValueError) as error:
        raise UnusableScores(f"{path} is not the log of a run: {error}") from error
    if not rows:
        raise UnusableScores(f"{path} tells of no epoch")
    return Epochs(loss=np.array(loss), auroc=np.array(auroc))


def learning(logs: Mapping[str, Epochs]) -> Picture:
    """Loss in training and AUROC in validation by epoch, and which epoch was kept."""

    def paint(figure: Figure) -> None:
        left, right = figure.subplots(1, 2)
        for name, log in logs.items():
            line = line_of(name, list(logs))
            epochs = np.arange(1, len(log.loss) + 1)
            for axes, values in ((left, log.loss), (right, log.auroc)):
                axes.plot(
                    epochs,
                    values,
                    color=line.color,
                    linestyle=line.dashes,
                    linewidth=line.width,
                    label=short_name(name),
                )
            right.plot(log.kept, log.auroc.max(), "o", color=line.color, markersize=4)
        left.set(xlabel="epoch", ylabel="loss in training")
        right.set(xlabel="epoch", ylabel="AUROC in validation")
        right.legend(loc="lower right")
        for axes in (left, right):
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))

    told = [
        f"{short_name(name)} {number(float(log.auroc.max()))} in epoch {log.kept} of "
        f"{len(log.auroc)}"
        for name, log in logs.items()
    ]
    return drawn(
        paint,
        alt=f"Learning curves. Best AUROC in validation: {listed(told)}.",
        caption="Loss in training and AUROC in validation after each epoch; the epoch with a dot "
        "was kept.",
        size=(8.6, 2.8),
        wide=True,
    )
