"""What the table that is judged may not tell itself: cut-offs, calibration and conformal sets."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from training.conformal import Conformal, conform, coverage_of, spread
from training.statistics.operating_point import youden_cutoff
from training.statistics.recalibration import Choice, chosen
from training.statistics.table import Table
from training.statistics.values import Floats, Labels, UnusableScores


def youden_cutoffs(table: Table, training: Table) -> dict[str, float]:
    """Return the cut-off of each of the table's models that is best on the training table."""
    return {
        name: youden_cutoff(training.labels, scores_of(training, name)) for name in table.models
    }


def calibrators(
    table: Table, validation: Table, *, seen_prevalence: float | None = None, seed: int = 0
) -> dict[str, Choice]:
    """Return for each of the table's models the way to probabilities that validation chooses."""
    return {
        name: chosen(
            validation.labels, scores_of(validation, name), seen=seen_prevalence, seed=seed
        )
        for name in table.models
    }


def told_of_calibration(choices: Mapping[str, Choice]) -> dict[str, Any]:
    """Return which way was chosen, and the Brier scores that it was chosen by."""
    return {
        name: {"method": choice.method, "cross_validated_brier": choice.brier}
        for name, choice in choices.items()
    }


def conformal_sets(table: Table, validation: Table, name: str, coverage: float) -> dict[str, Any]:
    """Return a model's sets of answers, made on validation, and what they do on the table."""
    found = conform(validation.labels, scores_of(validation, name), coverage=coverage)
    return told_of_sets(found, table.models[name], table.labels)


def told_of_sets(found: Conformal, scores: Floats, labels: Labels) -> dict[str, Any]:
    """Return where sets of answers part, and what they do on cases with known truth."""
    return {
        **asdict(found),
        "spread_of_positives": spread(found.positives, found.coverage),
        "spread_of_negatives": spread(found.negatives, found.coverage),
        "observed": coverage_of(found.sets(scores), labels),
    }


def scores_of(table: Table, name: str) -> Floats:
    """Return a model's scores, or ``UnusableScores`` where the table has no such model."""
    if name not in table.models:
        raise UnusableScores(f"there is no model {name}; models are {list(table.models)}")
    return table.models[name]
