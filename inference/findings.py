"""What was found: lesions with their measures, predictions, and reasons in codes."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from inference.card import AnswerSets, Possible
from inference.geometry import Vector
from inference.volume import Region, Volume


@dataclass(frozen=True, kw_only=True)
class Reason:
    """A code for machines and its meaning for people; never holds anything of the patient."""

    code: str
    """UPPER_SNAKE_CASE; at most 16 characters, so that it fits a DICOM Code Value (VR SH)."""
    meaning: str

    def __post_init__(self) -> None:
        if not 0 < len(self.code) <= 16:
            raise ValueError(f"a reason's code has 1 to 16 characters, got {self.code!r}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Lesion:
    """One lesion: where it is and how much it takes up.

    ``on_pet`` and ``on_ct`` are the same region on the two grids. SUVs are SUVbw in g/ml.
    ``suv_mean`` and ``tlg_g`` are taken over the metabolic volume (voxels of the region at or above
    the threshold fraction of ``suv_max``), so that ``tlg_g == suv_mean * mtv_ml``.
    """

    label: str
    source: str
    on_pet: Region
    on_ct: Region
    suv_max: float
    suv_mean: float
    suv_peak: float | None
    mtv_ml: float
    tlg_g: float
    volume_ml: float
    longest_axial_diameter_mm: float
    longest_diameter_mm: float
    centroid_lps_mm: Vector
    suv_max_lps_mm: Vector
    laterality: str | None
    """``left``, ``right``, ``midline``, or None where it cannot be told."""
    site: str | None = None
    """``thorax`` where most of it lies in the thoracic cavity; None where the CT does not tell."""
    place: str | None = None
    """``lung``, ``border of the lung`` or ``mediastinum`` by the CT around it; None where drawn."""
    explanation: str = ""
    """Why this lesion was chosen, in one sentence."""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The probability of one task and what the card's cut-off makes of it (above it: high)."""

    task: str
    probability: float
    cutoff: float
    distance: float | None = None
    """How far what the network saw lies from its training set; None where the bundle cannot tell.

    Mahalanobis, of the features that the probability is made of.
    """
    distance_max: float | None = None
    """Beyond this it is unlike the training set."""
    answers: AnswerSets | None = None
    """Which answers probabilities leave possible; None where the bundle does not tell."""

    @property
    def possible(self) -> Possible | None:
        """Which answers remain possible at the coverage that ``answers`` promise."""
        return None if self.answers is None else self.answers.possible(self.probability)

    @property
    def familiar(self) -> bool:
        """Whether what the network saw is not known to be unlike its training set."""
        if self.distance is None or self.distance_max is None:
            return True
        return self.distance <= self.distance_max

    @property
    def high(self) -> bool:
        """Whether the probability exceeds the cut-off."""
        return self.probability > self.cutoff


@dataclass(frozen=True, kw_only=True, eq=False)
class Saliency:
    """Where the network of one task looked: HiResCAM, a kind of Grad-CAM, of its fused features.

    ``on_pet`` lies on whole voxels of the PET grid, cut to a box around the network's field of
    view. Its numbers have no unit: 1 is the most in this study, 0 is nothing or out of view.
    """

    task: str
    on_pet: Volume


def in_percent(probability: float, cutoff: float) -> tuple[str, str]:
    """Return both in per cent, with as few decimals (one at least) as tell them apart."""
    shown = f"{100 * probability:.1f}", f"{100 * cutoff:.1f}"
    for decimals in range(2, 7):
        if shown[0] != shown[1]:
            break
        shown = f"{100 * probability:.{decimals}f}", f"{100 * cutoff:.{decimals}f}"
    return shown


@dataclass(frozen=True, kw_only=True)
class BundleIdentity:
    """Which model bundle made the predictions."""

    name: str
    version: str
    digest: str
    """``sha256:`` and 64 hex digits over the whole bundle."""
    training_data: str = ""
    """One sentence on what it was trained on; shown wherever a prediction is shown."""
    calibration: str = ""
    """One sentence on how its scores became probabilities, and for whom these hold."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Findings:
    """The outcome of inference for one study.

    ``applicable`` is False when the bundle's card does not cover this study; ``inapplicable`` then
    holds the reasons, and predictions are withheld where the card's rule says so.
    """

    lesions: tuple[Lesion, ...]
    predictions: tuple[Prediction, ...]
    applicable: bool
    inapplicable: tuple[Reason, ...]
    bundle: BundleIdentity
    engine: str
    device: str = "CPU"
    precision: str = "f32"
    saliency: tuple[Saliency, ...] = ()
    """One for each prediction whose network tells where it looked, in the predictions' order."""
    warnings: tuple[Reason, ...] = ()
    timings_s: Mapping[str, float] = field(default_factory=dict)

    @property
    def risk(self) -> str | None:
        """``high`` if any task is above its cut-off, else ``low``; None without predictions."""
        if not self.predictions:
            return None
        return "high" if any(p.high for p in self.predictions) else "low"

    @property
    def primary(self) -> Lesion | None:
        """The primary tumour, or None where none was found."""
        return next((lesion for lesion in self.lesions if lesion.label == "primary"), None)
