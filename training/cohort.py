"""A cohort of phantoms: images, covariates, and labels drawn from known risks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from inference.anatomy import hilum
from inference.phantom import Phantom, Tumour, random_phantom
from training.images import Floats, Images
from training.recipe import RecipeUnusable, Risk, weights

Indices: TypeAlias = NDArray[np.intp]
Labels: TypeAlias = NDArray[np.bool_]

COVARIATES = ("age_years", "male", "left", "central", "log_diameter", "log_suv_max")
CENTRAL_MM = 50.0
"""A tumour whose centre lies nearer to the hilum than this counts as central."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Cohort:
    """Cases in a fixed order; ``risks`` and ``labels`` are ``(case, task)``."""

    images: Images
    covariates: Floats
    risks: Floats
    labels: Labels


def risk_of(tumour: Tumour, risk: Risk) -> float:
    """Return the probability that a tumour's label is positive: what no network can beat.

    Traits are standardised by the distributions that ``random_phantom`` draws them from.
    """
    return 1.0 / (1.0 + math.exp(-logit_of(tumour, risk)))


def logit_of(tumour: Tumour, risk: Risk) -> float:
    """Return the logit of ``risk_of``."""
    even = math.sqrt(12.0)  # 1 / SD of an even distribution from 0 to 1
    traits = {
        "uptake": math.log(tumour.suv / 8.0) / 0.45,
        "size": math.log(tumour.diameter_mm / 28.0) / 0.45,
        "heterogeneity": (tumour.heterogeneity - 0.5) * even,
        "spiculation": (tumour.spiculation - 0.5) * even,
        "texture": (tumour.texture - 0.5) * even,
        "solidity": (tumour.solidity - 0.85) / 0.195,
    }
    return risk.intercept + sum(w * traits[name] for name, w in weights(risk).items())


def covariates_of(phantom: Phantom, suv_max: float) -> tuple[float, ...]:
    """Return what a clinical model knows, in the order of ``COVARIATES``."""
    tumour = phantom.tumour
    assert tumour is not None
    return (
        phantom.patient.age_years or 0.0,
        float(phantom.patient.sex == "M"),
        float(tumour.laterality == "left"),
        float(is_central(phantom)),
        math.log(tumour.diameter_mm),
        math.log(max(suv_max, 0.1)),
    )


def is_central(phantom: Phantom) -> bool:
    """Tell whether the tumour's centre lies nearer to the hilum of its side than ``CENTRAL_MM``."""
    tumour = phantom.tumour
    assert tumour is not None
    root = np.asarray(hilum(phantom.body, left=tumour.laterality == "left"))
    return float(np.linalg.norm(np.asarray(tumour.centre_lps_mm) - root)) < CENTRAL_MM


def labels_of(seed: int, chances: Sequence[float]) -> Labels:
    """Draw one label a task with these probabilities, decided by the phantom's seed alone."""
    labels: Labels = np.random.default_rng([seed, 11]).random(len(chances)) < np.asarray(chances)
    return labels


def phantom_cohort(risks: Sequence[Risk], images: Images, *, first: int) -> Cohort:
    """Join the images of the seeds from ``first`` on with covariates, risks and labels.

    A case's labels come from its own seed, independently for each task given its traits.
    """
    covariates, probabilities, labels = [], [], []
    for seed, suv_max in enumerate(images.suv_max, start=first):
        phantom = random_phantom(seed)
        assert phantom.tumour is not None
        chances = [risk_of(phantom.tumour, risk) for risk in risks]
        covariates.append(covariates_of(phantom, float(suv_max)))
        probabilities.append(chances)
        labels.append(labels_of(seed, chances))
    return Cohort(
        images=images,
        covariates=np.asarray(covariates),
        risks=np.asarray(probabilities),
        labels=np.asarray(labels),
    )


def require_both_classes(labels: Labels, names: Sequence[str], part: str) -> None:
    """Raise ``RecipeUnusable`` where a task has fewer than two cases of either class."""
    for name, positive in zip(names, labels.sum(axis=0), strict=True):
        if not 2 <= positive <= len(labels) - 2:
            raise RecipeUnusable(
                f"{part}: {int(positive)} of {len(labels)} phantoms are positive for {name}; "
                "two of each class are needed, so draw more"
            )


def split(labels: Labels, share: float, rng: np.random.Generator) -> tuple[Indices, Indices]:
    """Split the cases once for all tasks, so that each combination of labels is shared alike.

    Returns the indices of the greater part and of ``share``, each in rising order.
    """
    _, strata = np.unique(labels, axis=0, return_inverse=True)
    chosen = np.zeros(len(labels), dtype=bool)
    for stratum in range(int(strata.max()) + 1):
        members = rng.permutation(np.flatnonzero(strata.ravel() == stratum))
        chosen[members[: round(share * len(members))]] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)
