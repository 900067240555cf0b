"""Survival of a table's cases by risk group, and by treatment within each."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from training.statistics.survival import (
    FollowUp,
    Hazard,
    concordance,
    cox,
    kaplan_meier,
    log_rank_p,
)
from training.statistics.table import Table, Words
from training.statistics.values import Floats, Labels, UnusableScores


def survival(table: Table, high: Labels, at: Sequence[float]) -> dict[str, Any]:
    """Return Kaplan-Meier at the times asked, log-rank and Cox; one row a patient is needed.

    Cases whose treatment is not known (empty) are left out where treatments are compared.
    """
    if table.times is None or table.events is None:
        raise UnusableScores("survival needs both columns, time and event")
    if np.bincount(table.patients).max() > 1:
        raise UnusableScores("survival needs one case a patient")
    follow_up = FollowUp(times=table.times, events=table.events)
    risk = np.where(high, "high", "low")
    told = _by(follow_up, risk, at)
    told["concordance"] = {
        name: concordance(follow_up, scores) for name, scores in table.models.items()
    }
    if table.treatment is not None:
        known = table.treatment != ""
        told["by_treatment"] = {
            group: _by(
                follow_up.of(known & (risk == group)), table.treatment[known & (risk == group)], at
            )
            for group in np.unique(risk[known]).tolist()
        }
        told["interaction"] = _interaction(follow_up.of(known), high[known], table.treatment[known])
    return told


def _by(follow_up: FollowUp, groups: Words, at: Sequence[float]) -> dict[str, Any]:
    """Compare groups; hazard ratios are against the first by name, or ``low``."""
    names = sorted(np.unique(groups).tolist(), key=lambda name: (name != "low", name))
    told: dict[str, Any] = {
        "curves": {name: kaplan_meier(follow_up.of(groups == name), at) for name in names}
    }
    dummies = {name: (groups == name).astype(np.float64) for name in names[1:]}
    try:
        told["log_rank_p"] = log_rank_p(follow_up, groups)
        told["hazard_against_" + names[0]] = cox(follow_up, dummies)
    except UnusableScores as refusal:
        told["reason"] = str(refusal)
    return told


def _interaction(follow_up: FollowUp, high: Labels, treatment: Words) -> dict[str, Any]:
    """Tell whether a treatment's hazard ratio differs between the risk groups (two treatments)."""
    names = np.unique(treatment).tolist()
    if len(names) != 2:
        return {"reason": f"an interaction is of two treatments, got {names}"}
    treated: Floats = (treatment == names[1]).astype(np.float64)
    risk: Floats = high.astype(np.float64)
    covariates = {"high risk": risk, names[1]: treated, "both": risk * treated}
    try:
        found: dict[str, Hazard] = cox(follow_up, covariates)
    except UnusableScores as refusal:
        return {"reason": str(refusal)}
    return {"covariates": found, "p": found["both"].p}
