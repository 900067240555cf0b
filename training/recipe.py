"""A recipe: every number that decides what a training run gives, read from one YAML file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import yaml

from inference.card import Limits
from inference.codec import Malformed, decode
from inference.lesion import LesionRules


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


class Unlocated(StrEnum):
    """What becomes of a patient of the test, or of an external centre, without any lesion."""

    REFUSE = "refuse"
    """The run ends before training and names them: who is tested on was decided by the split."""
    LEAVE_OUT = "leave_out"
    """They are left out, counted and named, as they are in training and validation."""


@dataclass(frozen=True, kw_only=True)
class PatientCohortRecipe:
    """How cases of a cohort that ``petct-train cohort`` made become images and covariates."""

    split_digest: str = ""
    """The cohort's, where the recipe is for one split and no other."""
    lesion: LesionRules = field(default_factory=LesionRules)
    """How the primary tumour is found: as the node that will serve the bundle is configured."""
    unlocated_in_test: Unlocated = Unlocated.REFUSE
    clinical_columns: tuple[str, ...] = ()
    """Columns of the tables of outcomes that the clinical model may know beside what is measured,
    age and sex: what was known before surgery, and nothing else."""


@dataclass(frozen=True, kw_only=True)
class Risk:
    """The logistic model that a phantom's label is drawn from.

    One weight for each standard deviation of a trait. Uptake and heterogeneity are seen in PET
    alone; solidity, spiculation (the margin) and texture in CT alone; size in both.
    """

    intercept: float
    uptake: float
    heterogeneity: float
    solidity: float
    spiculation: float
    texture: float
    size: float
    centrality: float = 0.0
    """Of lying near the hilum, which the planes show where it is in view."""
    age: float = 0.0
    """Age and sex are seen in no image."""
    male: float = 0.0
    sites: Mapping[str, float] = field(default_factory=dict)
    """Added to the logit by the scanner's name: how ill the patients of its centre are."""


@dataclass(frozen=True, kw_only=True)
class TaskRecipe:
    """One question: its name, what it means, and what decides the answer in phantoms."""

    name: str
    meaning: str
    risk: Risk | None = None
    """Of phantoms; a patient's label is in the cohort."""


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


class Model(StrEnum):
    """A network by how it joins PET and CT, and by whether it sees three planes or the cube."""

    FUSION = "fusion"
    """Feature maps of two encoders, joined: the network that a bundle carries."""
    PET = "pet"
    CT = "ct"
    EARLY = "early"
    """One encoder whose channels are those of PET and CT."""
    LATE = "late"
    """A network for each modality, and the mean of their probabilities."""
    FUSION_3D = "fusion-3d"
    PET_3D = "pet-3d"
    CT_3D = "ct-3d"
    EARLY_3D = "early-3d"
    LATE_3D = "late-3d"

    @property
    def volumetric(self) -> bool:
        """Whether it sees the cube and not its planes."""
        return self.value.endswith("-3d")


class Shortcut(StrEnum):
    """What a block of a ResNet adds where it narrows the maps."""

    CONVOLUTION = "convolution"
    PADDING = "padding"
    """Every other voxel, and noughts for the new channels: MedicalNet's ResNet-18 and -34."""


@dataclass(frozen=True, kw_only=True)
class PretrainedRecipe:
    """Local files that encoders take their first weights from; none means random ones."""

    pet: str | None = None
    ct: str | None = None
    joint: str | None = None
    """For the one encoder of early fusion."""
    share_min: float = 0.9
    """A file that gives less than this share of an encoder's weights is refused."""

    def __post_init__(self) -> None:
        if not 0 < self.share_min <= 1:
            raise ValueError(f"share_min must lie above 0 and be at most 1, got {self.share_min}")


@dataclass(frozen=True, kw_only=True)
class NetworkRecipe:
    """ResNet-18 of these widths, and the head's hidden layer."""

    widths: tuple[int, int, int, int]
    hidden: int
    dropout: float
    pretrained: PretrainedRecipe | None = None
    """For the networks that see planes: ImageNet's files, or ones trained here."""
    cube_pretrained: PretrainedRecipe | None = None
    """For those that see the cube: MedicalNet's files, or ones trained here."""
    cube_shortcut: Shortcut = Shortcut.CONVOLUTION


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


class Schedule(StrEnum):
    """How the learning rate falls after the warm-up."""

    COSINE = "cosine"
    """Along half a cosine, to zero after the last epoch."""
    STEP = "step"
    """By ``step_factor`` every ``step_epochs``."""


class Precision(StrEnum):
    """What a training step multiplies in; weights, loss and validation are always float32."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


@dataclass(frozen=True, kw_only=True)
class FitRecipe:
    """Stochastic gradient descent on the focal loss."""

    optimiser: Optimiser

    epochs: int
    patience: int
    """Epochs without a better AUROC in validation before training stops."""
    batch: int
    learning_rate: float
    """After the warm-up; from there on ``schedule`` says how it falls."""
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
    schedule: Schedule = Schedule.COSINE
    step_epochs: int = 30
    step_factor: float = 0.1
    positive_share: float | None = 0.5
    """Share of positive cases among those drawn; null draws each case once an epoch."""
    positive_weight: float = 1.0
    """How much more a positive case counts in the loss than a negative one."""
    ema_decay: float = 0.0
    """Each step keeps this share of the averaged weights, which are then judged; 0: no average."""
    precision: Precision = Precision.FLOAT32

    def __post_init__(self) -> None:
        if self.positive_share is not None and not 0 < self.positive_share < 1:
            raise ValueError(f"positive_share must lie between 0 and 1, got {self.positive_share}")
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay must be at least 0 and below 1, got {self.ema_decay}")
        if self.step_epochs < 1:
            raise ValueError(f"step_epochs must be positive, got {self.step_epochs}")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All of it; see ``training/recipes`` for one with comments."""

    name: str
    version: str
    seed: int
    """Decides labels, the split, weights and augmentation; phantoms have seeds of their own."""
    intended_use: str
    training_data: str
    cohort: PhantomCohort | None = None
    """Phantoms to draw; or else ``patients``."""
    patients: PatientCohortRecipe | None = None
    tasks: tuple[TaskRecipe, ...]
    inputs: InputsRecipe
    network: NetworkRecipe
    augmentation: AugmentationRecipe
    fit: FitRecipe
    limits: Limits
    rivals: tuple[Model, ...] = (Model.PET, Model.CT)
    """Networks trained in the same way to hold the bundle's against."""
    clinical_p_max: float | None = None
    """Covariates of the clinical model have a univariable p below this; null: all of them."""

    def __post_init__(self) -> None:
        if Model.FUSION in self.rivals or len(set(self.rivals)) != len(self.rivals):
            raise ValueError("rivals must differ from each other and from the bundle's fusion")
        if (self.cohort is None) == (self.patients is None):
            raise ValueError("a recipe has either a cohort of phantoms or patients")
        for task in self.tasks:
            if (task.risk is None) != (self.cohort is None):
                raise ValueError(f"{task.name}: labels of phantoms, and no others, need a risk")

    @property
    def phantoms(self) -> PhantomCohort:
        """The phantoms to draw; ``RecipeUnusable`` where the recipe is for patients."""
        if self.cohort is None:
            raise RecipeUnusable(
                f"the recipe {self.name} draws no phantoms: it is for patients (--cohort, --cases)"
            )
        return self.cohort

    @property
    def enrolment(self) -> PatientCohortRecipe:
        """How patients are taken in; ``RecipeUnusable`` where the recipe draws phantoms."""
        if self.patients is None:
            raise RecipeUnusable(f"the recipe {self.name} draws phantoms and is not for patients")
        return self.patients

    @property
    def risks(self) -> dict[str, Risk]:
        """What decides the labels of phantoms, by task."""
        return {task.name: task.risk for task in self.tasks if task.risk is not None}


def load(path: Path) -> Recipe:
    """Read a recipe; ``RecipeUnusable`` names a key that is unknown, missing or of a wrong type."""
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
        return decode(Recipe, value)
    except (OSError, yaml.YAMLError, Malformed) as error:
        raise RecipeUnusable(f"{path}: {error}") from error


def weights(risk: Risk) -> Mapping[str, float]:
    """Return the weight of each trait by its name, without the intercept and the sites."""
    return {name: one for name, one in vars(risk).items() if name not in ("intercept", "sites")}
