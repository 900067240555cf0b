"""What was found out of one task's answers, as tables."""

from collections.abc import Sequence

from training.reporting.answers import FUSION
from training.reporting.judged import BAYES, Judged
from training.reporting.page import Block, Paragraph, Tabular
from training.reporting.words import (
    UNKNOWN,
    interval,
    model_name,
    number,
    p_value,
    percent,
    plural,
    share,
    short_name,
)
from training.statistics.operating_point import Confusion

RATES = {
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "ppv": "PPV",
    "npv": "NPV",
    "accuracy": "accuracy",
}
SHOWN_THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5)


def of_cases(judged: Judged) -> str:
    """Return how many cases a table is of: ``1500 cases, 360 positive``."""
    told = judged.told
    return f"{plural(told['cases'], 'case')}, {told['positives']} positive"


def discrimination(judged: Judged) -> Tabular:
    """AUROC and average precision of each model, and how far fusion lies above it."""
    models, comparisons = judged.told["models"], judged.told["comparisons"]
    bayes = models.get(BAYES)
    heads = ["model", "AUROC", "average precision", "AUROC of fusion less that", "p", "adjusted p"]
    rows = []
    for name in judged.models:
        cells = [interval(models[name]["auroc"]), interval(models[name]["average_precision"])]
        against = comparisons.get(name)
        if against is None:
            cells += ["reference", "", ""]
        else:
            cells += [interval(against["auroc"]), p_value(against["auroc"].p)]
            cells.append(p_value(against["auroc_q"]))
        if bayes is not None:
            cells.append(known_share(models[name]["auroc"].value, bayes["auroc"].value))
        rows.append((model_name(name), *cells))
    if bayes is not None:
        heads.append("of what can be known")
    note = (
        "Intervals are 95 %: of AUROC by DeLong's variance on log odds, of average precision by "
        "the jackknife. p by DeLong's paired test, adjusted over all models of the table after "
        "Benjamini and Hochberg."
    )
    if bayes is not None:
        note += (
            " Bayes knows the chances that labels were drawn with, and nothing ranks better on "
            "average; the last column is (AUROC - 0.5) over that of Bayes."
        )
    caption = f"Discrimination in the {judged.part} part ({of_cases(judged)})."
    return Tabular(caption=caption, heads=tuple(heads), rows=tuple(rows), note=note)


def known_share(auroc: float, best: float) -> str:
    """Return how much of what can be known was learned: chance is 0, the best possible 1."""
    return number((auroc - 0.5) / (best - 0.5)) if best > 0.5 else UNKNOWN


def operating_point(judged: Judged) -> Tabular:
    """Confusion counts and rates of each model at its frozen cut-off."""
    rows = []
    for name in judged.models:
        found = judged.told["models"][name]["at_cutoff"]
        counts: Confusion = found["counts"]
        rows.append(
            (
                model_name(name),
                *(str(value) for value in vars(counts).values()),
                *(interval(found[rate]) for rate in RATES),
            )
        )
    return Tabular(
        caption=f"Calls at the frozen cut-offs in the {judged.part} part ({of_cases(judged)}).",
        heads=("model", "TP", "FN", "FP", "TN", *RATES.values()),
        rows=tuple(rows),
        note=f"A case is called strictly above the cut-off. Fusion's is the card's: a probability "
        f"of {number(judged.run.task.cutoff, 4)}. Those of the others have the greatest Youden "
        f"index in training. {_rates_method(judged)}",
    )


def _rates_method(judged: Judged) -> str:
    if judged.sample.clusters is None:
        return "Intervals are exact (Clopper and Pearson)."
    return "Intervals are by bootstrap of patients, who have several cases."


def calibration(judged: Judged) -> Tabular:
    """Slope, intercept, Brier score and how each model came to probabilities."""
    rows = []
    for name in judged.models:
        found = judged.told["models"][name]
        cells = [_method(judged, name)]
        fit = found["calibration"]
        if isinstance(fit, dict):
            cells += [f"none: {fit['reason']}", "", "", interval(found.get("brier")), ""]
        else:
            cells += [interval(fit.slope, 2), interval(fit.intercept, 2)]
            cells += [number(fit.observed_to_expected, 2), interval(found["brier"])]
            cells.append(number(fit.brier_skill))
        rows.append((model_name(name), *cells))
    return Tabular(
        caption=f"Calibration in the {judged.part} part ({of_cases(judged)}).",
        heads=(
            "model",
            "probabilities by",
            "slope",
            "intercept",
            "observed : expected",
            "Brier score",
            "Brier skill",
        ),
        rows=tuple(rows),
        note="Perfect: slope 1, intercept 0, observed : expected 1. Skill is the share of the "
        "Brier score of always telling the prevalence that is saved.",
    )


def _method(judged: Judged, name: str) -> str:
    if name == FUSION:
        return "the card"
    if name == BAYES:
        return "the truth"
    return str(judged.recalibration[name]["method"])


def benefit(judged: Judged) -> Tabular:
    """Net benefit of fusion at a few thresholds; the figure has all."""
    curve = judged.told["models"][FUSION]["decision_curve"]
    return Tabular(
        caption=f"Net benefit of fusion in the {judged.part} part ({of_cases(judged)}).",
        heads=(
            "act above a risk of",
            "fusion",
            "act on all",
            "advantage of fusion",
        ),
        rows=tuple(
            (
                number(one.threshold, 1),
                interval(one.model),
                number(one.call_all),
                interval(one.advantage),
            )
            for one in curve
            if one.threshold in SHOWN_THRESHOLDS
        ),
        note="True positives a case, less false ones weighed at the odds of the threshold; to act "
        "on none is worth 0. The advantage is over the better of both. Intervals by bootstrap at "
        "this prevalence.",
    )


def reclassification(judged: Judged) -> Tabular:
    """NRI and IDI of fusion against each other model."""
    edges = ", ".join(number(edge, 3) for edge in judged.categories)
    rows = []
    for name in judged.rivals:
        found = judged.told["comparisons"][name]
        by_risk, by_category = found["nri_continuous"], found["nri"]
        rows.append(
            (
                model_name(name),
                interval(found["idi"]),
                interval(by_risk.nri),
                interval(by_category.nri),
                interval(by_category.event_nri),
                interval(by_category.non_event_nri),
                p_value(by_category.p),
            )
        )
    return Tabular(
        caption=f"Reclassification by fusion in the {judged.part} part ({of_cases(judged)}).",
        heads=(
            "from",
            "IDI",
            "NRI, any change",
            "NRI by categories",
            "of positives",
            "of negatives",
            "p",
        ),
        rows=tuple(rows),
        note=f"Categories of risk part at {edges}. Intervals by bootstrap, p after Pencina (2008). "
        "These stand beside AUROC and net benefit, never alone: bad calibration can win them.",
    )


def conformal(judged: Judged) -> Block:
    """Tell what sets of answers did."""
    found = judged.sets
    if "reason" in found:
        return Paragraph(text=f"There are no conformal sets: {found['reason']}.")
    seen = found["observed"]
    spread = [
        " to ".join(number(end) for end in found[f"spread_of_{which}"])
        for which in ("positives", "negatives")
    ]
    return Tabular(
        caption=f"Sets of answers that promise to hold the truth of each class in "
        f"{percent(found['coverage'])} of cases, in the {judged.part} part ({of_cases(judged)}).",
        heads=("class", "held the truth", "95 % of calibration sets give"),
        rows=(
            ("positives", number(seen.of_positives), spread[0]),
            ("negatives", number(seen.of_negatives), spread[1]),
        ),
        note=f"One answer was possible in {number(seen.sure)} of cases, both in "
        f"{number(seen.unsure)}, none in {number(seen.empty)}. Thresholds come from "
        f"{found['positives']} positive and {found['negatives']} negative validation cases"
        + (" and stand in the card." if judged.run.task.answers else "; the card has none."),
    )


def subgroups(judged: Judged) -> Tabular:
    """AUROC and calls of fusion in each subgroup."""
    found = judged.told["subgroups"]
    rows = []
    for group, analysis in found.items():
        if group == "heterogeneity_q":
            continue
        tests = [p_value(analysis.heterogeneity_p), p_value(found["heterogeneity_q"][group])]
        for name, part in analysis.parts.items():
            rates = part.rates or {}
            rows.append(
                (
                    f"{group}: {name}",
                    share(part.positives, part.cases).replace(" (", f" of {part.cases} ("),
                    interval(part.auroc),
                    *(interval(rates.get(rate)) for rate in ("sensitivity", "specificity")),
                    *tests,
                )
            )
            tests = ["", ""]
    return Tabular(
        caption=f"Fusion in subgroups of the {judged.part} part.",
        heads=("subgroup", "positive", "AUROC", "sensitivity", "specificity", "p", "adjusted p"),
        rows=tuple(rows),
        note="p of Cochran's Q that the AUROCs of a grouping are all equal, adjusted over the "
        "groupings after Benjamini and Hochberg. Cases whose group is not known are in none.",
    )


def readers(judged: Judged) -> Sequence[Tabular]:
    """Readers against the truth and against fusion, and with each other."""
    found = judged.told["readers"]
    rows = []
    for name, one in found["each"].items():
        rates = (interval(one.rates[rate]) for rate in ("sensitivity", "specificity"))
        tests = (p_value(one.sensitivity_p), p_value(one.specificity_p))
        against = (interval(one.auroc_of_model_minus_reader), p_value(found["auroc_q"][name]))
        rows.append((name, *rates, *tests, interval(one.auroc), *against))
    for name, means in found["groups"].items():
        rates = (interval(means[rate]) for rate in ("sensitivity", "specificity"))
        rows.append((f"mean of {name}", *rates, "", "", "", "", ""))
    each = Tabular(
        caption=f"Readers in the {judged.part} part ({of_cases(judged)}).",
        heads=(
            "reader",
            "sensitivity",
            "specificity",
            "p of sensitivity",
            "p of specificity",
            "AUROC",
            "AUROC of fusion less that",
            "adjusted p",
        ),
        rows=tuple(rows),
        note="p of sensitivity and specificity by McNemar's exact test against fusion at its "
        "cut-off; a binary reader's AUROC is half of sensitivity + specificity.",
    )
    pairs = tuple(
        (f"{one} and {other}", interval(value)) for (one, other), value in found["kappa"].items()
    )
    if not pairs:
        return (each,)
    kappa = Tabular(caption="Agreement of readers.", heads=("pair", "Cohen's kappa"), rows=pairs)
    return each, kappa


def features(judged: Judged) -> Sequence[Tabular]:
    """Texture features that go most with fusion's score, of each modality."""
    return tuple(
        Tabular(
            caption=f"Features of {kind.upper()} that go most with the score of "
            f"{short_name(FUSION)} in the {judged.part} part.",
            heads=("feature", "cases", "Spearman's rho", "p", "adjusted p"),
            rows=tuple(
                (one.feature, str(one.cases), interval(one.rho), p_value(one.p), p_value(one.q))
                for one in found
            ),
            note="p adjusted over all features of the modality after Benjamini and Hochberg.",
        )
        for kind, found in judged.told["features"].items()
        if found
    )
