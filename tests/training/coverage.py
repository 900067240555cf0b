"""How often the 95 % intervals of ``training.statistics`` hold the truth, by simulation.

``python -m tests.training.coverage --tables 2000 --write-docs`` puts the table into
docs/training.md; test_statistics_coverage.py runs the same studies with fewer tables. Truths are
closed forms or integrals of the laws that the tables are drawn from, never our own estimates.
"""

import argparse
import math
import re
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import binomtest, multivariate_normal, norm

from tests.training.truths import CATEGORIES, NEW, OLD, SHARED, rates_at, risk, truth_of_scores
from training.statistics import survival as surviving
from training.statistics import weighted
from training.statistics.bootstrap import Resampling, Sample, bootstrap, independent, jackknife
from training.statistics.calibration import calibration
from training.statistics.correlation import correlations
from training.statistics.decision_curve import net_benefit_statistic
from training.statistics.discrimination import (
    auroc_difference,
    auroc_difference_unpaired,
    auroc_interval,
    auroc_interval_logit,
)
from training.statistics.operating_point import confusion, wilson
from training.statistics.readers import kappa
from training.statistics.reclassification import (
    between_categories,
    idi_statistic,
    nri_statistic,
)

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "training.md"
BEGIN, END = "<!-- coverage: begin -->", "<!-- coverage: end -->"
NOMINAL = 0.95


@dataclass(frozen=True)
class Row:
    """One kind of interval in one design; some promise 95 % or more."""

    interval: str
    design: str
    tables: int
    held: int
    at_least: bool = False

    @property
    def observed(self) -> float:
        return self.held / self.tables

    @property
    def error(self) -> float:
        """Standard error of the simulation if the coverage is what was promised."""
        return math.sqrt(NOMINAL * (1 - NOMINAL) / self.tables)

    @property
    def p(self) -> float:
        """Probability of a coverage as far from the promised one: binomial, two-sided or below."""
        side = "less" if self.at_least else "two-sided"
        return binomtest(self.held, self.tables, NOMINAL, alternative=side).pvalue


@dataclass(frozen=True)
class Effort:
    """How many tables are drawn, and how many replicates each bootstrap has."""

    tables: int
    replicates: int


Found = Mapping[str, object]


def tally(
    design: str, effort: Effort, truth: Mapping[str, float], one: Callable[[int], Found]
) -> list[Row]:
    """Draw tables, and count the intervals that hold the truth."""
    held = dict.fromkeys(truth, 0)
    for table in range(effort.tables):
        found = one(table)
        for name, value in truth.items():
            # Truth and bound may be one number, told apart by rounding.
            held[name] += found[name].low - 1e-9 <= value <= found[name].high + 1e-9
    return [
        Row(name, design, effort.tables, count, at_least="exact" in name or "jackknife" in name)
        for name, count in held.items()
    ]


def pair_of_models(labels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Scores of a new and an old model: normal, SD 1, ``NEW`` and ``OLD`` apart."""
    shared = rng.normal(size=len(labels)) * math.sqrt(SHARED)
    own = rng.normal(size=(2, len(labels))) * math.sqrt(1 - SHARED)
    return shared + own[0] + NEW * labels, shared + own[1] + OLD * labels


def scores(positives: int, negatives: int) -> Callable[[Effort], list[Row]]:
    """As many cases of each class in each table: what the stratified bootstrap speaks of."""

    def study(effort: Effort) -> list[Row]:
        labels = np.arange(positives + negatives) < positives
        prevalence = positives / len(labels)
        truth = truth_of_scores(prevalence)

        def one(table: int) -> Found:
            rng = np.random.default_rng([1, positives, table])
            new, old = pair_of_models(labels, rng)
            other = rng.normal(size=len(labels)) + OLD * labels
            p_new, p_old = risk(new, NEW, prevalence), risk(old, OLD, prevalence)
            direction = between_categories(p_old, p_new, CATEGORIES)
            parts = [
                weighted.auroc(labels, new),
                weighted.rates(labels, new > NEW / 2),
                weighted.means(((p_new - labels) ** 2)[:, np.newaxis]),
                idi_statistic(labels, p_old, p_new),
                lambda weights: nri_statistic(labels, np.sign(p_new - p_old))(weights)[:, :1],
                lambda weights: nri_statistic(labels, direction)(weights)[:, :1],
                net_benefit_statistic(labels, p_new, [0.2]),
            ]
            precise = [weighted.average_precision(labels, some) for some in (new, old)]
            sample = independent(labels, Resampling(replicates=effort.replicates, seed=table))
            drawn = bootstrap(lambda w: np.concatenate([part(w) for part in parts], 1), sample)
            return {
                "AUROC, DeLong": auroc_interval(labels, new),
                "AUROC, DeLong by log odds": auroc_interval_logit(labels, new),
                "AUROC difference, DeLong paired": auroc_difference(labels, new, old),
                "AUROC difference, DeLong unpaired": auroc_difference_unpaired(
                    (labels, new), (labels, other)
                ),
                "average precision, jackknife": jackknife(precise[0], sample, share=True),
                "average precision difference, jackknife": jackknife(
                    weighted.difference(*precise), sample
                ),
                **dict(zip(list(truth)[6:], drawn, strict=True)),
            }

        return tally(f"{positives} + {negatives} cases", effort, truth, one)

    return study


def cohort(effort: Effort) -> list[Row]:
    """Cases as they come, a quarter of them positive: exact rates, calibration, agreement."""
    prevalence, cases = 0.25, 300
    rates = rates_at(NEW / 2, NEW, prevalence)
    # Both readers see the same score with noise of their own; calls above NEW / 2.
    law = multivariate_normal([0, 0], [[1, 0.5], [0.5, 1]])
    expectation = both = 0.0
    for share, mean in ((prevalence, 0.8), (1 - prevalence, 0.0)):
        off = norm.cdf(0.4 - mean)
        expectation += share * off
        both += share * law.cdf((0.4 - mean, 0.4 - mean))
    agreed = both + 1 - 2 * expectation + both
    chance = expectation**2 + (1 - expectation) ** 2
    truth = {
        **{f"{name}, exact (Clopper-Pearson)": value for name, value in rates.items()},
        "sensitivity, Wilson": rates["sensitivity"],
        "calibration slope, Wald": 1.0,
        "calibration intercept, Wald": 0.0,
        "kappa, Fleiss": (agreed - chance) / (1 - chance),
        "Spearman's rho, Bonett and Wright": 6 / math.pi * math.asin(0.6 / 2),
    }

    def one(table: int) -> Found:
        rng = np.random.default_rng([2, table])
        labels = rng.random(cases) < prevalence
        new = rng.normal(size=cases) + NEW * labels
        counts = confusion(labels, new, NEW / 2)
        exact = {f"{name}, exact (Clopper-Pearson)": v for name, v in counts.rates().items()}
        fit = calibration(labels, risk(new, NEW, prevalence))
        seen = rng.normal(size=cases) * math.sqrt(0.5) + 0.8 * labels
        calls = [seen + rng.normal(size=cases) * math.sqrt(0.5) > 0.4 for _ in range(2)]
        first = rng.normal(size=cases)
        second = 0.6 * first + 0.8 * rng.normal(size=cases)
        return {
            **exact,
            "sensitivity, Wilson": wilson(*counts.parts["sensitivity"]),
            "calibration slope, Wald": fit.slope,
            "calibration intercept, Wald": fit.intercept,
            "kappa, Fleiss": kappa(*calls),
            "Spearman's rho, Bonett and Wright": correlations(first, {"f": second})[0].rho,
        }

    return tally(f"{cases} cases, 25 % positive", effort, truth, one)


def clusters(effort: Effort) -> list[Row]:
    """Three cases a patient, which share half of their variance: 50 and 100 patients."""
    patients = np.repeat(np.arange(150), 3)
    labels = patients < 50
    truth = {
        "AUROC, DeLong by patients (Obuchowski)": norm.cdf(OLD / math.sqrt(2)),
        "AUROC, bootstrap by patients": norm.cdf(OLD / math.sqrt(2)),
        "sensitivity, bootstrap by patients": norm.cdf(OLD / 2),
    }

    def one(table: int) -> Found:
        rng = np.random.default_rng([3, table])
        own = rng.normal(size=len(labels)) * math.sqrt(0.5)
        some = rng.normal(size=150)[patients] * math.sqrt(0.5) + own + OLD * labels
        resampling = Resampling(replicates=effort.replicates, seed=table)
        sample = Sample(labels=labels, patients=patients, resampling=resampling)
        parts = [weighted.auroc(labels, some), weighted.rates(labels, some > OLD / 2)]
        drawn = bootstrap(lambda w: np.concatenate([part(w) for part in parts], 1), sample)
        return {
            "AUROC, DeLong by patients (Obuchowski)": auroc_interval_logit(labels, some, patients),
            "AUROC, bootstrap by patients": drawn[0],
            "sensitivity, bootstrap by patients": drawn[1],
        }

    return tally("50 + 100 patients with 3 cases each", effort, truth, one)


def survival(effort: Effort) -> list[Row]:
    """Two groups of 100 that die at 0.1 and 0.2 a year, watched for 1 to 8 years."""
    high = np.arange(200) < 100
    truth = {
        "survival at 3 years, Kaplan-Meier log-log": math.exp(-0.3),
        "hazard ratio, Cox": 2.0,
    }

    def one(table: int) -> Found:
        rng = np.random.default_rng([4, table])
        death = rng.exponential(1 / np.where(high, 0.2, 0.1))
        end = rng.uniform(1, 8, 200)
        follow_up = surviving.FollowUp(times=np.minimum(death, end), events=death <= end)
        hazard = surviving.cox(follow_up, {"high": high.astype(float)})["high"]
        return {
            "survival at 3 years, Kaplan-Meier log-log": surviving.kaplan_meier(
                follow_up.of(~high), [3.0]
            ).survival[3.0],
            "hazard ratio, Cox": hazard.ratio,
        }

    return tally("100 + 100 cases, about 60 deaths", effort, truth, one)


STUDIES: dict[str, Callable[[Effort], list[Row]]] = {
    "scores": scores(60, 140),
    "rare": scores(40, 315),
    "cohort": cohort,
    "clusters": clusters,
    "survival": survival,
}


def table_of(rows: list[Row], effort: Effort) -> str:
    """The rows as Markdown, with how they came about."""
    error = 100 * rows[0].error
    lines = [
        f"{effort.tables} tables drawn for each design, {effort.replicates} draws a bootstrap;",
        f"standard error of an observed coverage {error:.1f} %. Exact and",
        "jackknife intervals promise 95 % or more.",
        "",
        "| interval | design | observed coverage of 95 % intervals |",
        "|---|---|--:|",
        *(f"| {row.interval} | {row.design} | {100 * row.observed:.1f} % |" for row in rows),
    ]
    return "\n".join(lines)


def write_docs(told: str) -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    pattern = f"{re.escape(BEGIN)}.*{re.escape(END)}"
    found = re.sub(pattern, lambda _: f"{BEGIN}\n{told}\n{END}", text, flags=re.DOTALL)
    DOCUMENT.write_text(found, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", type=int, default=2000)
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--write-docs", action="store_true")
    given = parser.parse_args()
    effort = Effort(given.tables, given.replicates)
    with ProcessPoolExecutor(given.processes) as pool:
        found = [pool.submit(study, effort) for study in (_Study(name) for name in STUDIES)]
        rows = [row for one in found for row in one.result()]
    told = table_of(rows, effort)
    sys.stdout.write(told + "\n")
    if given.write_docs:
        write_docs(told)


@dataclass(frozen=True)
class _Study:
    """One study by name: closures do not travel to another process."""

    name: str

    def __call__(self, effort: Effort) -> list[Row]:
        return STUDIES[self.name](effort)


if __name__ == "__main__":
    main()
