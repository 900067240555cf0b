"""What a bundle does on patients of others, beside what its card says, and centre by centre."""

from functools import partial

import numpy as np
from scipy.stats import fisher_exact

from inference.card import AtCutoff, Auroc, Card
from training.reporting.answers import FUSION
from training.reporting.judged import Judged
from training.reporting.page import Paragraph, Tabular
from training.reporting.tables import RATES, of_cases
from training.reporting.words import UNKNOWN, interval, number, p_value, share
from training.statistics.analysis import attempt
from training.statistics.calibration import Fit, calibration
from training.statistics.discrimination import auroc_difference_reported, auroc_interval
from training.statistics.operating_point import Confusion
from training.statistics.values import Interval

Row = tuple[str, str, str, str, str]
CENTRE = "centre"


def against_card(card: Card, judged: Judged) -> Tabular:
    """Hold a task's answers against what the card says of the bundle's own test set."""
    name = judged.run.task.name
    known = next((one for one in card.performance if (one.task, one.model) == (name, FUSION)), None)
    counted = next((one for one in card.at_cutoff if one.task == name), None)
    return Tabular(
        caption=f"{judged.run.task.meaning}: the bundle's own test set by its card, and these "
        f"patients ({of_cases(judged)}).",
        heads=("what", "its own test set", "these patients", "difference", "p"),
        rows=(
            *(() if known is None else _discrimination(known, judged)),
            *(() if counted is None else _calls(counted, judged)),
            *_sets(card, judged),
        ),
        note="Intervals are 95 %: of AUROC DeLong's, as on cards, of rates exact. p of AUROC by "
        "DeLong's test for other cases, the card's standard error read off its interval; of rates "
        "by Fisher's exact test. PPV and NPV follow the prevalence.",
    )


def _discrimination(known: Auroc, judged: Judged) -> tuple[Row, ...]:
    labels, scores = judged.table.labels, judged.table.models[FUSION]
    on_card = Interval(value=known.auroc, low=known.low, high=known.high)
    apart = auroc_difference_reported((labels, scores), on_card)
    positives, cases = int(labels.sum()), len(labels)
    return (
        (
            "positive",
            share(known.positives, known.cases),
            share(positives, cases),
            number(positives / cases - known.positives / known.cases),
            _fisher((known.positives, known.cases), (positives, cases)),
        ),
        (
            "AUROC",
            interval(on_card),
            interval(auroc_interval(labels, scores)),
            interval(apart),
            p_value(apart.p),
        ),
    )


def _calls(counted: AtCutoff, judged: Judged) -> tuple[Row, ...]:
    theirs = Confusion(
        true_positives=counted.true_positives,
        false_negatives=counted.false_negatives,
        false_positives=counted.false_positives,
        true_negatives=counted.true_negatives,
    )
    ours: Confusion = judged.told["models"][FUSION]["at_cutoff"]["counts"]
    return tuple(
        (
            told,
            interval(theirs.rates()[rate]),
            interval(ours.rates()[rate]),
            number(getattr(ours, rate) - getattr(theirs, rate)),
            _fisher(theirs.parts[rate], ours.parts[rate]),
        )
        for rate, told in RATES.items()
    )


def _sets(card: Card, judged: Judged) -> tuple[Row, ...]:
    known = next((one for one in card.coverage if one.task == judged.run.task.name), None)
    if known is None or "reason" in judged.sets:
        return ()
    seen = judged.sets["observed"]
    pairs = {
        "sets held the truth, positives": (known.of_positives, seen.of_positives),
        "sets held the truth, negatives": (known.of_negatives, seen.of_negatives),
    }
    return tuple(
        (told, number(theirs), number(ours), number(ours - theirs), "")
        for told, (theirs, ours) in pairs.items()
    )


def by_centre(judged: Judged) -> Tabular | Paragraph:
    """Discrimination, calls and calibration of fusion in each centre."""
    found = judged.told.get("subgroups", {}).get(CENTRE)
    if found is None:
        return Paragraph(text="The cohort states no centres.")
    heads = ("centre", "positive", "AUROC", "sensitivity", "specificity", *_FIT_HEADS)
    rows = []
    for name, part in found.parts.items():
        rates = part.rates or {}
        rows.append(
            (
                name,
                share(part.positives, part.cases).replace(" (", f" of {part.cases} ("),
                interval(part.auroc),
                *(interval(rates.get(rate)) for rate in ("sensitivity", "specificity")),
                *_fit(judged, name, enough=part.auroc is not None),
            )
        )
    return Tabular(
        caption=f"Fusion by centre in the {judged.part} part.",
        heads=heads,
        rows=tuple(rows),
        note=f"p that the AUROCs are all equal (Cochran's Q): {p_value(found.heterogeneity_p)}. "
        f"Slope, intercept and observed : expected are {UNKNOWN} where a centre has too few of a "
        "class, or its classes are told apart without error. Patients of no stated centre are in "
        "none.",
    )


_FIT_HEADS = ("slope", "intercept", "observed : expected")


def _fit(judged: Judged, centre: str, *, enough: bool) -> tuple[str, ...]:
    mine = judged.table.subgroups[CENTRE] == centre
    told = judged.probabilities[FUSION]
    labels = judged.table.labels[mine]
    found = attempt(partial(calibration, labels, told[mine])) if enough else None
    if isinstance(found, Fit):
        ratio = number(found.observed_to_expected, 2)
        return interval(found.slope, 2), interval(found.intercept, 2), ratio
    return UNKNOWN, UNKNOWN, number(float(labels.mean() / np.mean(told[mine])), 2)


def _fisher(theirs: tuple[int, int], ours: tuple[int, int]) -> str:
    """Test that two shares are equal; there is nothing to tell where one is of nobody."""
    if not (theirs[1] and ours[1]):
        return p_value(None)
    table = np.asarray([[hits, of - hits] for hits, of in (theirs, ours)])
    return p_value(float(fisher_exact(table).pvalue))
