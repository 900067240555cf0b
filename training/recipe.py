"""A recipe: every number that decides what a training run gives, read from one YAML file."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import yaml

from inference.card import Limits
from inference.codec import Malformed, decode


class RecipeUnusable(Exception):
    """A recipe does not load; the message names the file and the key."""


@dataclass(frozen=True, kw_only=True)
class PhantomCohort:
    """How many phantoms are drawn, and on which scanners."""

    first_seed: int
    """Seeds of the training phantoms count up from here."""
    test_first_seed: int
    """Seeds of the test phantoms count up from here, and never meet those of training."""
    training: int
    """Phantoms to train with; ``validation_share`` of them choose the epoch and calibrate."""
    validation_share: float
    test: int
    """Phantoms that no training run ever sees."""
    scanners: tuple[str, ...]
    """Names of ``inference.phantom.SCANNERS``; each phantom is drawn on one of them."""

    def __post_init__(self) -> None:
        if self.test_first_seed < self.first_seed + self.training:
            raise ValueError("test_first_seed lies among the seeds of training")


@dataclass(frozen=True, kw_only=True)
class Risk:
    """The logistic model that a phantom's label is drawn from.

    One weight for each standard deviation of a trait. Uptake and heterogeneity are seen in PET
    alone; solidity, spiculation and texture in CT alone; size in both.
    """

    intercept: float
    uptake: float
    heterogeneity: float
    solidity: float
    spiculation: float
    texture: float
    size: float


@dataclass(frozen=True, kw_only=True)
class TaskRecipe:
    """One question: its name, what it means, and what decides the answer in phantoms."""

    name: str
    meaning: str
    risk: Risk


@dataclass(frozen=True, kw_only=True)
class InputsRecipe:
    """What the networks see; mean and SD are computed on the training phantoms."""

    spacing_mm: float
    cube_side: int
    """Voxels along each side of the cube that augmentation moves in."""
    crop_side: int
    """Pixels along each side of the planes that the networks see."""
    pet_clip: tuple[float, float]
    """SUVbw, g/ml."""
    ct_clip: tuple[float, float]
    """HU."""


@dataclass(frozen=True, kw_only=True)
class NetworkRecipe:
    """Two ResNet-18 of these widths, and the head's hidden layer."""

    widths: tuple[int, int, int, int]
    hidden: int
    dropout: float


@dataclass(frozen=True, kw_only=True)
class AugmentationRecipe:
    """How the cube is moved before its planes are taken, the same for PET and CT.

    Moves are drawn once for each variant of a case; intensities anew for each sample.
    """

    variants: int
    """Moved copies of each case to train with."""
    turn_probability: float
    """Share of the samples that are turned about all three axes by any angle."""
    shift_mm: float
    """Greatest shift along each axis: the error in finding a lesion's centroid."""
    scale: tuple[float, float]
    """Magnification, drawn evenly."""
    pet_gain: float
    """SD of the log of a factor on SUV: the error in calibration and timing."""
    ct_noise_hu: float
    """SD of added noise, itself drawn evenly from 0 to this."""


class Optimiser(StrEnum):
    """How weights follow their gradients."""

    SGD = "sgd"
    ADAMW = "adamw"


@dataclass(frozen=True, kw_only=True)
class FitRecipe:
    """Stochastic gradient descent on the focal loss."""

    optimiser: Optimiser

    epochs: int
    patience: int
    """Epochs without a better AUROC in validation before training stops."""
    batch: int
    learning_rate: float
    """After the warm-up; it falls along half a cosine to zero at the last epoch."""
    momentum: float
    """Of SGD; of AdamW the first of its two."""
    weight_decay: float
    warm_up_epochs: int
    """The learning rate rises from a tenth along these."""
    gradient_norm: float
    """Gradients are shortened to this."""
    focal_gamma: float
    auxiliary_weight: float
    """Weight of each single-modality head's loss beside the fusion head's."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All of it; see ``training/recipes`` for one with comments."""

    name: str
    version: str
    seed: int
    """Decides labels, the split, weights and augmentation; phantoms have seeds of their own."""
    intended_use: str
    training_data: str
    cohort: PhantomCohort
    tasks: tuple[TaskRecipe, ...]
    inputs: InputsRecipe
    network: NetworkRecipe
    augmentation: AugmentationRecipe
    fit: FitRecipe
    limits: Limits


def load(path: Path) -> Recipe:
    """Read a recipe; ``RecipeUnusable`` names a key that is unknown, missing or of a wrong type."""
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
        return decode(Recipe, value)
    except (OSError, yaml.YAMLError, Malformed) as error:
        raise RecipeUnusable(f"{path}: {error}") from error


def weights(risk: Risk) -> Mapping[str, float]:
    """Return the weight of each trait by its name, without the intercept."""
    return {name: value for name, value in vars(risk).items() if name != "intercept"}
