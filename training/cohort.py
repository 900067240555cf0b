"""A cohort of phantoms: planes and cubes, covariates, and labels drawn from known risks."""

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from inference.anatomy import hilum
from inference.card import PLANES, Channel, Inputs
from inference.petct import PetCt
from inference.phantom import SCANNERS, Phantom, Tumour, draw, random_phantom
from inference.preprocess import cube_grid, cubes, planes
from training.recipe import InputsRecipe, Risk, weights

Floats: TypeAlias = NDArray[np.float64]
Indices: TypeAlias = NDArray[np.intp]
Halves: TypeAlias = NDArray[np.float16]
Labels: TypeAlias = NDArray[np.bool_]

COVARIATES = ("age_years", "male", "left", "central", "log_diameter", "log_suv_max")
CENTRAL_MM = 50.0
"""A tumour whose centre lies nearer to the hilum than this counts as central."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Images:
    """PET (index 0) and CT (1) of each case, clipped, in SUVbw and HU at half precision.

    ``planes`` is ``(case, modality, plane, row, column)`` as serving sees them; ``cubes`` is
    ``(case, modality, slice, row, column)``, or empty where nothing will be augmented.
    """

    planes: Halves
    cubes: Halves


@dataclass(frozen=True, kw_only=True, eq=False)
class Cohort:
    """Cases in a fixed order; ``risks`` and ``labels`` are ``(case, task)``."""

    images: Images
    covariates: Floats
    risks: Floats
    labels: Labels


def unit_inputs(recipe: InputsRecipe) -> Inputs:
    """Return the recipe's inputs before any normaliser is known: mean 0, SD 1."""
    return Inputs(
        spacing_mm=recipe.spacing_mm,
        cube_side=recipe.cube_side,
        crop_side=recipe.crop_side,
        planes=PLANES,
        pet=Channel(clip=recipe.pet_clip, mean=0.0, sd=1.0, fill=recipe.pet_clip[0]),
        ct=Channel(clip=recipe.ct_clip, mean=0.0, sd=1.0, fill=recipe.ct_clip[0]),
    )


def risk_of(tumour: Tumour, risk: Risk) -> float:
    """Return the probability that a tumour's label is positive: what no network can beat.

    Traits are standardised by the distributions that ``random_phantom`` draws them from.
    """
    even = math.sqrt(12.0)  # 1 / SD of an even distribution from 0 to 1
    traits = {
        "uptake": math.log(tumour.suv / 8.0) / 0.45,
        "size": math.log(tumour.diameter_mm / 28.0) / 0.45,
        "heterogeneity": (tumour.heterogeneity - 0.5) * even,
        "spiculation": (tumour.spiculation - 0.5) * even,
        "texture": (tumour.texture - 0.5) * even,
        "solidity": (tumour.solidity - 0.85) / 0.195,
    }
    logit = risk.intercept + sum(w * traits[name] for name, w in weights(risk).items())
    return 1.0 / (1.0 + math.exp(-logit))


def draw_case(phantom: Phantom, scanner_names: Sequence[str], inputs: Inputs) -> PetCt:
    """Draw the surroundings of a phantom's tumour on the scanner that its seed chooses."""
    assert phantom.tumour is not None
    name = np.random.default_rng([phantom.seed, 10]).choice(list(scanner_names))
    grid = cube_grid(phantom.tumour.centre_lps_mm, inputs, phantom.frame_of_reference_uid)
    low, high = grid.to_patient([[0.0] * 3, [inputs.cube_side - 1.0] * 3])
    margin = 6.0  # more than one voxel of any scanner, so that the cube's edges interpolate
    (x, y, z), (u, v, w) = (low - margin).tolist(), (high + margin).tolist()
    return draw(phantom, SCANNERS[str(name)], box=((x, y, z), (u, v, w)))


def draw_images(
    seeds: Sequence[int],
    scanner_names: Sequence[str],
    inputs: Inputs,
    *,
    keep_cubes: bool,
    processes: int = 1,
    advance: Callable[[], None] = lambda: None,
) -> tuple[Images, Floats]:
    """Draw and preprocess one phantom a seed; also returns each one's greatest SUV.

    ``advance`` is called after each case. The numbers do not depend on ``processes``.
    """
    count, side, crop = len(seeds), inputs.cube_side, inputs.crop_side
    held = np.empty((count if keep_cubes else 0, 2, side, side, side), np.float16)
    seen = np.empty((count, 2, 3, crop, crop), np.float16)
    suv_max = np.empty(count)
    work = functools.partial(_cubes_of, scanner_names=tuple(scanner_names), inputs=inputs)
    for index, pair in enumerate(_map(work, seeds, processes)):
        if keep_cubes:
            held[index] = pair
        for modality in (0, 1):
            seen[index, modality] = planes(pair[modality], inputs)
        middle = slice(side // 4, side - side // 4)
        suv_max[index] = pair[0][middle, middle, middle].max()
        advance()
    return Images(planes=seen, cubes=held), suv_max


def covariates_of(phantom: Phantom, suv_max: float) -> tuple[float, ...]:
    """Return what a clinical model knows, in the order of ``COVARIATES``."""
    tumour = phantom.tumour
    assert tumour is not None
    left = tumour.laterality == "left"
    root = np.asarray(hilum(phantom.body, left=left))
    distance = float(np.linalg.norm(np.asarray(tumour.centre_lps_mm) - root))
    return (
        phantom.patient.age_years or 0.0,
        float(phantom.patient.sex == "M"),
        float(left),
        float(distance < CENTRAL_MM),
        math.log(tumour.diameter_mm),
        math.log(max(suv_max, 0.1)),
    )


def labels_of(seed: int, chances: Sequence[float]) -> Labels:
    """Draw one label a task with these probabilities, decided by the phantom's seed alone."""
    labels: Labels = np.random.default_rng([seed, 11]).random(len(chances)) < np.asarray(chances)
    return labels


def phantom_cohort(risks: Sequence[Risk], images: tuple[Images, Floats], *, first: int) -> Cohort:
    """Join the images of the seeds from ``first`` on with covariates, risks and labels.

    A case's labels come from its own seed, independently for each task given its traits.
    """
    seen, suv_max = images
    covariates, probabilities, labels = [], [], []
    for seed, greatest in zip(range(first, first + len(suv_max)), suv_max, strict=True):
        phantom = random_phantom(seed)
        assert phantom.tumour is not None
        chances = [risk_of(phantom.tumour, risk) for risk in risks]
        covariates.append(covariates_of(phantom, float(greatest)))
        probabilities.append(chances)
        labels.append(labels_of(seed, chances))
    return Cohort(
        images=seen,
        covariates=np.asarray(covariates),
        risks=np.asarray(probabilities),
        labels=np.asarray(labels),
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


def _cubes_of(seed: int, *, scanner_names: Sequence[str], inputs: Inputs) -> Halves:
    phantom = random_phantom(seed)
    assert phantom.tumour is not None
    petct = draw_case(phantom, scanner_names, inputs)
    cut = cubes(petct, phantom.tumour.centre_lps_mm, inputs)
    pair: Halves = np.stack([cut.pet, cut.ct]).astype(np.float16)
    return pair


def _map(work: Callable[[int], Halves], seeds: Sequence[int], processes: int) -> Iterator[Halves]:
    if processes <= 1:
        yield from map(work, seeds)
        return
    # A fresh interpreter each: torch's threads do not survive a fork.
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        yield from pool.map(work, seeds, chunksize=8)
