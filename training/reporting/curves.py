"""The curves of one task: ROC, precision and recall, calibration, decisions."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from training.reporting.answers import FUSION
from training.reporting.figures import FAINT, INK, drawn, line_of, unit_axes
from training.reporting.judged import BAYES, Judged
from training.reporting.page import Pair, Picture
from training.reporting.words import interval, listed, number, short_name
from training.statistics.curves import precision_recall_points, roc_points, sensitivity_band
from training.statistics.decision_curve import NetBenefit
from training.statistics.values import Interval

BAND_AT = tuple(round(0.02 * step, 2) for step in range(1, 50))
"""False-positive rates at which the band of an ROC curve is computed."""


def discrimination(judged: Judged) -> Pair:
    """ROC, and precision by recall."""
    return Pair(pictures=(_roc(judged), _precision_recall(judged)))


def _roc(judged: Judged) -> Picture:
    labels, models = judged.table.labels, judged.table.models
    band = sensitivity_band(judged.sample, models[FUSION], BAND_AT)

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        unit_axes(axes, across="1 - specificity", up="sensitivity")
        axes.plot([0, 1], [0, 1], color=FAINT, linewidth=0.8)
        axes.fill_between(
            BAND_AT,
            [one.low for one in band],
            [one.high for one in band],
            color=line_of(FUSION, judged.models).color,
            alpha=0.15,
            linewidth=0,
        )
        for name, scores in models.items():
            line = line_of(name, judged.models)
            axes.plot(
                *roc_points(labels, scores),
                color=line.color,
                linestyle=line.dashes,
                linewidth=line.width,
                label=f"{short_name(name)}  {number(_auroc(judged, name).value)}",
            )
        counts = judged.told["models"][FUSION]["at_cutoff"]
        axes.plot(
            1 - counts["specificity"].value,
            counts["sensitivity"].value,
            "o",
            color=INK,
            markersize=4.5,
            label="fusion at its cut-off",
        )
        axes.legend(loc="lower right")

    found = [f"{short_name(name)} {interval(_auroc(judged, name))}" for name in judged.models]
    return drawn(
        paint,
        alt=f"ROC curves. AUROC: {listed(found)}.",
        caption=f"ROC curves, {judged.part} part; AUROC in the legend. The band is the 95 % "
        "bootstrap interval of fusion's sensitivity, of each specificity by itself.",
    )


def _auroc(judged: Judged, name: str) -> Interval:
    found: Interval = judged.told["models"][name]["auroc"]
    return found


def _precision(judged: Judged, name: str) -> Interval:
    found: Interval = judged.told["models"][name]["average_precision"]
    return found


def _precision_recall(judged: Judged) -> Picture:
    labels = judged.table.labels

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        unit_axes(axes, across="recall (sensitivity)", up="precision (PPV)")
        axes.axhline(labels.mean(), color=FAINT, linewidth=0.8)
        for name, scores in judged.table.models.items():
            line = line_of(name, judged.models)
            recall, precision = precision_recall_points(labels, scores)
            axes.step(
                np.append([0.0], recall),
                np.append(precision[:1], precision),
                where="pre",
                color=line.color,
                linestyle=line.dashes,
                linewidth=line.width,
                label=f"{short_name(name)}  {number(_precision(judged, name).value)}",
            )
        axes.legend(loc="best")

    found = [f"{short_name(name)} {interval(_precision(judged, name))}" for name in judged.models]
    return drawn(
        paint,
        alt=f"Precision by recall. Average precision: {listed(found)}. "
        f"Prevalence: {number(float(labels.mean()))}.",
        caption=f"Precision by recall, {judged.part} part; average precision in the legend. "
        "The grey line is the prevalence, the precision of calling everybody.",
    )


def probabilities(judged: Judged) -> Pair:
    """Calibration, and what decisions by the probabilities are worth."""
    return Pair(pictures=(_calibration(judged), _decision(judged)))


def _calibration(judged: Judged) -> Picture:
    fits = {
        name: judged.told["models"][name]["calibration"]
        for name in judged.models
        if not isinstance(judged.told["models"][name]["calibration"], dict)
    }

    def paint(figure: Figure) -> None:
        axes, below = figure.subplots(2, height_ratios=(5, 1), sharex=True)
        axes.plot([0, 1], [0, 1], color=FAINT, linewidth=0.8)
        for name, fit in fits.items():
            line = line_of(name, judged.models)
            where = [group.predicted for group in fit.curve]
            seen = [group.observed for group in fit.curve]
            if name == FUSION:
                low = [one.value - one.low for one in seen]
                high = [one.high - one.value for one in seen]
                axes.errorbar(
                    where,
                    [one.value for one in seen],
                    yerr=(low, high),
                    fmt="none",
                    ecolor=line.color,
                    elinewidth=0.9,
                )
            axes.plot(
                where,
                [one.value for one in seen],
                color=line.color,
                linestyle=line.dashes,
                linewidth=line.width,
                marker="o",
                markersize=4 if name == FUSION else 2.2,
                label=short_name(name),
            )
        axes.set(xlim=(-0.015, 1.015), ylim=(-0.015, 1.015), ylabel="how often it was so")
        if fits:
            axes.legend(loc="upper left")
        fusion = judged.probabilities[FUSION]
        below.hist(fusion, bins=np.linspace(0, 1, 41).tolist(), color=FAINT)
        below.set(xlabel="probability", ylabel="cases")
        below.grid(visible=False)

    fit = fits.get(FUSION)
    told = (
        "Fusion's curve could not be fitted."
        if fit is None
        else f"Fusion: slope {interval(fit.slope, 2)}, intercept {interval(fit.intercept, 2)}."
    )
    return drawn(
        paint,
        alt=f"Calibration curves in ten groups of rising probability. {told}",
        caption=f"Calibration, {judged.part} part: cases in ten groups of rising probability, "
        "with Wilson's 95 % intervals for fusion; below, how fusion's probabilities are spread.",
    )


def _decision(judged: Judged) -> Picture:
    curves = {
        name: judged.told["models"][name]["decision_curve"]
        for name in judged.models
        if "decision_curve" in judged.told["models"][name]
    }

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        fusion = curves[FUSION]
        at = [one.threshold for one in fusion]
        axes.plot(
            at, [one.call_all for one in fusion], color=FAINT, linewidth=1, label="act on all"
        )
        axes.axhline(0, color=INK, linewidth=0.8, label="act on none")
        axes.fill_between(
            at,
            [one.model.low for one in fusion],
            [one.model.high for one in fusion],
            color=line_of(FUSION, judged.models).color,
            alpha=0.15,
            linewidth=0,
        )
        for name, curve in curves.items():
            line = line_of(name, judged.models)
            axes.plot(
                at,
                [one.model.value for one in curve],
                color=line.color,
                linestyle=line.dashes,
                linewidth=line.width,
                label=short_name(name),
            )
        top = max(one.model.high for curve in curves.values() for one in curve)
        axes.set(xlabel="act above this probability", ylabel="net benefit", xlim=(0, at[-1]))
        axes.set_ylim(-0.25 * top, 1.05 * top)
        axes.legend(loc="upper right")

    told = _leads(curves)
    return drawn(
        paint,
        alt=f"Decision curves: net benefit by threshold. {told}",
        caption=f"Decision curves, {judged.part} part, with fusion's 95 % bootstrap interval. "
        f"{told}",
    )


def _leads(curves: Mapping[str, Sequence[NetBenefit]]) -> str:
    """Return where fusion is worth more than calling all or none and than every other model."""
    rivals = [curve for name, curve in curves.items() if name not in (FUSION, BAYES)]
    best = [
        one.threshold
        for place, one in enumerate(curves[FUSION])
        if one.model.value > max(one.call_all, 0.0, *(curve[place].model.value for curve in rivals))
    ]
    told = f"Of {len(curves[FUSION])} thresholds fusion is worth most at {len(best)}"
    if best:
        told += f", which lie between {number(best[0], 2)} and {number(best[-1], 2)}"
    return f"{told} (Bayes left out)." if BAYES in curves else f"{told}."
