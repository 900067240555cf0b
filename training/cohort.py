"""Cases with images, covariates and labels; of phantoms these are drawn from known risks."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from inference.anatomy import hilum
from inference.phantom import Phantom, random_phantom
from training.images import Floats, Images, scanner_of
from training.recipe import RecipeUnusable, Risk, weights

Indices: TypeAlias = NDArray[np.intp]
Labels: TypeAlias = NDArray[np.bool_]

COVARIATES = ("age_years", "male", "left", "central", "log_diameter", "log_suv_max")
CENTRAL_MM = 50.0
"""A tumour whose centre lies nearer to the hilum than this counts as central."""
SHARE_CENTRAL = 0.35
"""Of the tumours that ``random_phantom`` draws."""
AGE_MEAN_YEARS = 65.0
AGE_SD_YEARS = math.sqrt((41**2 - 1) / 12)
"""Whole years from 45 to 85, each as likely."""
GROUP_MM = 30.0
"""Subgroups of size: up to this diameter, or larger."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Cohort:
    """Cases in a fixed order; ``risks`` and ``labels`` are ``(case, task)``."""

    cases: tuple[str, ...]
    """The name of each."""
    images: Images
    covariates: Floats
    """One column for each of ``covariate_names``; NaN where it is not known."""
    labels: Labels
    risks: Floats | None = None
    """The probabilities that labels were drawn with; None where nobody knows them."""
    covariate_names: tuple[str, ...] = COVARIATES
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """What a table of scores tells beside (``subgroup:sex``, ``time`` ...), one cell a case."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Group:
    """The cases of one part: those of ``cohort`` at ``indices``."""

    cohort: Cohort
    indices: Indices

    @property
    def cases(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(self.cohort.cases[index] for index in self.indices)

    @property
    def covariates(self) -> Floats:
        """One row a case."""
        table: Floats = self.cohort.covariates[self.indices]
        return table

    def labels(self, task: int) -> Labels:
        """Return the truth of one task."""
        truth: Labels = self.cohort.labels[self.indices, task]
        return truth


def whole(cohort: Cohort) -> Group:
    """Return all cases of a cohort as one part."""
    return Group(cohort=cohort, indices=np.arange(len(cohort.cases)))


def risk_of(phantom: Phantom, risk: Risk, scanner: str = "") -> float:
    """Return the probability that a phantom's label is positive: what no network can beat.

    ``scanner`` is the one that it is drawn on, whose name tells the centre. Traits are standardised
    by the distributions that ``random_phantom`` draws them from.
    """
    return 1.0 / (1.0 + math.exp(-logit_of(phantom, risk, scanner)))


def logit_of(phantom: Phantom, risk: Risk, scanner: str = "") -> float:
    """Return the logit of ``risk_of``."""
    tumour, age_years = phantom.tumour, phantom.patient.age_years
    assert tumour is not None
    even = math.sqrt(12.0)  # 1 / SD of an even distribution from 0 to 1
    spread = math.sqrt(SHARE_CENTRAL * (1 - SHARE_CENTRAL))
    traits = {
        "uptake": math.log(tumour.suv / 8.0) / 0.45,
        "size": math.log(tumour.diameter_mm / 28.0) / 0.45,
        "heterogeneity": (tumour.heterogeneity - 0.5) * even,
        "spiculation": (tumour.spiculation - 0.5) * even,
        "texture": (tumour.texture - 0.5) * even,
        "solidity": (tumour.solidity - 0.85) / 0.195,
        "centrality": (is_central(phantom) - SHARE_CENTRAL) / spread,
        "age": 0.0 if age_years is None else (age_years - AGE_MEAN_YEARS) / AGE_SD_YEARS,
        "male": 2.0 * (phantom.patient.sex == "M") - 1.0,
    }
    site = risk.sites.get(scanner, 0.0)
    return risk.intercept + site + sum(w * traits[name] for name, w in weights(risk).items())


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


def phantom_cohort(
    risks: Sequence[Risk], images: Images, *, first: int, scanners: Sequence[str] = ()
) -> Cohort:
    """Join the images of the seeds from ``first`` on with covariates, risks and labels.

    ``scanners`` are those that the images were drawn on, for risks that depend on them.
    A case's labels come from its own seed, independently for each task given its traits.
    """
    covariates, probabilities, labels = [], [], []
    seeds = range(first, first + len(images.suv_max))
    drawn_on = [scanner_of(seed, scanners) if scanners else "" for seed in seeds]
    for seed, scanner, suv_max in zip(seeds, drawn_on, images.suv_max, strict=True):
        phantom = random_phantom(seed)
        chances = [risk_of(phantom, risk, scanner) for risk in risks]
        covariates.append(covariates_of(phantom, float(suv_max)))
        probabilities.append(chances)
        labels.append(labels_of(seed, chances))
    table = np.asarray(covariates)
    columns = groups_of(table, COVARIATES)
    if scanners:
        columns["subgroup:scanner"] = tuple(drawn_on)
    return Cohort(
        cases=tuple(f"phantom-{seed}" for seed in seeds),
        images=images,
        covariates=table,
        labels=np.asarray(labels),
        risks=np.asarray(probabilities),
        columns=columns,
    )


def groups_of(covariates: Floats, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the subgroups of sex and size as columns of a table of scores; ``""``: not known."""
    known = dict(zip(names, covariates.T, strict=True))
    return {
        "subgroup:sex": _grouped(known["male"], 0.5, ("women", "men")),
        "subgroup:size": _grouped(
            np.exp(known["log_diameter"]), GROUP_MM, (f"up to {GROUP_MM:g} mm", "larger")
        ),
    }


def _grouped(values: Floats, highest: float, names: tuple[str, str]) -> tuple[str, ...]:
    """Name each value by whether it is at most ``highest``, or above; what is not known is ""."""
    return tuple("" if np.isnan(value) else names[int(value > highest)] for value in values)


def require_both_classes(labels: Labels, names: Sequence[str], part: str) -> None:
    """Raise ``RecipeUnusable`` where a task has fewer than two cases of either class."""
    for name, positive in zip(names, labels.sum(axis=0), strict=True):
        if not 2 <= positive <= len(labels) - 2:
            raise RecipeUnusable(
                f"{part}: {int(positive)} of {len(labels)} cases are positive for {name}; "
                "two of each class are needed, so take more"
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
