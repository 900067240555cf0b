"""The model card: what a bundle's networks take in, give out, were trained on and are good for."""

import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise

from inference.codec import ADDED

SCHEMA = 1
PLANES = ("axial", "coronal", "sagittal")


@dataclass(frozen=True, kw_only=True)
class Channel:
    """How one modality's numbers become network input: clip, then subtract mean, divide by SD.

    ``fill`` stands for what lies outside the image; all four are in the modality's own unit.
    """

    clip: tuple[float, float]
    mean: float
    sd: float
    fill: float

    def __post_init__(self) -> None:
        low, high = self.clip
        if not low < high:
            raise ValueError(f"clip must rise, got {self.clip}")
        if self.sd <= 0:
            raise ValueError(f"sd must be positive, got {self.sd}")
        if not low <= self.fill <= high:
            raise ValueError(f"fill must lie within the clip {self.clip}, got {self.fill}")


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """The cube that is cut out around the lesion, and the planes of it that a network sees.

    The cube has ``cube_side`` voxels of ``spacing_mm`` on the patient's axes; training moves and
    turns within it. A network sees the middle ``crop_side`` squares of three orthogonal planes.
    """

    spacing_mm: float
    cube_side: int
    crop_side: int
    planes: tuple[str, ...]
    pet: Channel
    ct: Channel

    def __post_init__(self) -> None:
        if self.spacing_mm <= 0:
            raise ValueError(f"spacing_mm must be positive, got {self.spacing_mm}")
        if not 0 < self.crop_side <= self.cube_side:
            raise ValueError(f"crop_side {self.crop_side} does not fit the cube {self.cube_side}")
        if self.planes != PLANES:
            raise ValueError(f"planes must be {list(PLANES)}, got {list(self.planes)}")


class CalibrationMethod(StrEnum):
    """How margins were turned into probabilities: by one fitted number, by two, or by many."""

    PRIOR_SHIFT = "prior shift"
    """The slope stays 1: only the prevalence of training is undone."""
    PLATT = "platt"
    ISOTONIC = "isotonic"


_WORDS = {
    CalibrationMethod.PRIOR_SHIFT: "a shift of the prior",
    CalibrationMethod.PLATT: "Platt scaling",
    CalibrationMethod.ISOTONIC: "isotonic regression",
}


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """From the margin logit 1 - logit 0 to a probability: one that rises with it.

    It is sigmoid(slope * margin + intercept); by isotonic regression, which has neither (1 and 0
    stand there), it is read off ``points`` (margin, probability): straight between, level beyond.
    """

    slope: float
    intercept: float
    method: CalibrationMethod = field(default=CalibrationMethod.PLATT, metadata=ADDED)
    points: tuple[tuple[float, float], ...] = field(default=(), metadata=ADDED)

    def __post_init__(self) -> None:
        if self.slope <= 0:
            raise ValueError(f"slope must be positive, or ranks turn over; got {self.slope}")
        if bool(self.points) is not (self.method is CalibrationMethod.ISOTONIC):
            raise ValueError("isotonic calibration needs points, and no other has them")
        if any(a[0] >= b[0] or a[1] >= b[1] for a, b in pairwise(self.points)):
            raise ValueError("points must rise in margin and in probability")
        if self.points and not (self.points[0][1] > 0 and self.points[-1][1] < 1):
            raise ValueError("probabilities of points must lie between 0 and 1")

    @property
    def words(self) -> str:
        """The method as it stands in a sentence."""
        return _WORDS[self.method]

    def probability(self, margin: float) -> float:
        """Map the margin between the two logits to a probability, without overflow."""
        if self.points:
            return self._read_off(margin)
        score = self.slope * margin + self.intercept
        if score >= 0:
            return 1.0 / (1.0 + math.exp(-score))
        return math.exp(score) / (1.0 + math.exp(score))

    def _read_off(self, margin: float) -> float:
        above = bisect_right(self.points, margin, key=lambda point: point[0])
        if above in (0, len(self.points)):
            return self.points[max(above - 1, 0)][1]
        (left, low), (right, high) = self.points[above - 1], self.points[above]
        return low + (high - low) * (margin - left) / (right - left)


class Possible(StrEnum):
    """Which answers a probability leaves possible at the promised coverage."""

    POSITIVE = "positive"
    NEGATIVE = "negative"
    BOTH = "both"
    """The score does not tell."""
    NEITHER = "neither"
    """Too high for a negative case and too low for a positive one."""


@dataclass(frozen=True, kw_only=True)
class AnswerSets:
    """Sets of answers that hold the truth in ``coverage`` of the cases of each class.

    Positive stays possible for probabilities of ``positive_from`` and above, negative for those of
    ``negative_to`` and below: split conformal prediction on so many ``positives`` and ``negatives``
    of the validation data. The promise is for cases drawn as these were.
    """

    coverage: float
    positive_from: float
    negative_to: float
    positives: int
    negatives: int

    def __post_init__(self) -> None:
        for share in (self.coverage, self.positive_from, self.negative_to):
            if not 0 < share < 1:
                raise ValueError(f"coverage and bounds must lie between 0 and 1, got {share}")

    def possible(self, probability: float) -> Possible:
        """Return what a calibrated probability leaves open."""
        positive, negative = probability >= self.positive_from, probability <= self.negative_to
        if positive and negative:
            return Possible.BOTH
        if positive:
            return Possible.POSITIVE
        return Possible.NEGATIVE if negative else Possible.NEITHER


@dataclass(frozen=True, kw_only=True)
class Familiarity:
    """How unlike the training set a study may look to a network before its prediction is marked.

    ``file`` holds the statistics that the distance is computed with. ``distance_max`` is that of
    one of the ``cases`` of the validation part: of studies like them, a share of
    ``share_beyond_expected`` lies beyond it. ``share_beyond_test`` of the test part did.
    """

    file: str
    distance_max: float
    cases: int
    share_beyond_expected: float
    share_beyond_test: float

    def __post_init__(self) -> None:
        if self.distance_max <= 0:
            raise ValueError(f"distance_max must be positive, got {self.distance_max}")


@dataclass(frozen=True, kw_only=True)
class Task:
    """One question, the network that answers it, and where the answer turns high.

    ``cutoff`` is on the calibrated probability; strictly above it is high.
    """

    name: str
    meaning: str
    onnx: str
    cutoff: float
    calibration: Calibration
    answers: AnswerSets | None = field(default=None, metadata=ADDED)
    familiarity: Familiarity | None = field(default=None, metadata=ADDED)
    """Without it nothing tells whether a study looks like those that the network learnt from."""

    def __post_init__(self) -> None:
        if not 0 < self.cutoff < 1:
            raise ValueError(f"cutoff must lie between 0 and 1, got {self.cutoff}")

    @property
    def files(self) -> tuple[str, ...]:
        """The names of the files that the task needs."""
        return (self.onnx, *([] if self.familiarity is None else [self.familiarity.file]))


@dataclass(frozen=True, kw_only=True)
class Auroc:
    """Area under the ROC curve of one model for one task, with its 95 % interval (DeLong).

    ``model`` is ``fusion`` (the bundle's network), ``pet``, ``ct``, ``clinical`` or ``bayes``: the
    risk that labels were drawn from, which nothing can beat. ``p_versus_fusion`` is DeLong's
    two-sided p for the same cases.
    """

    task: str
    model: str
    cases: int
    positives: int
    auroc: float
    low: float
    high: float
    p_versus_fusion: float | None = None


@dataclass(frozen=True, kw_only=True)
class AtCutoff:
    """The confusion counts of the bundle's network at its frozen cut-off, on the test set."""

    task: str
    true_positives: int
    false_negatives: int
    false_positives: int
    true_negatives: int


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """What a task's sets of answers did on the test set; each number but ``task`` is a share.

    ``of_positives`` and ``of_negatives`` had the truth in their set; ``unsure`` had both answers
    there, ``neither`` none.
    """

    task: str
    of_positives: float
    of_negatives: float
    unsure: float
    neither: float


AUROC_LOSS_MAX = 0.002
PROBABILITY_DIFFERENCE_MAX = 0.01
"""What fewer bits may cost: less than another cohort, scanner or reader would."""


@dataclass(frozen=True, kw_only=True)
class Parity:
    """What a network loses when it calculates in fewer bits, on the bundle's validation cases.

    ``engine`` is what ran it: ``openvino``, or ``torch`` with the network rewritten as it is for
    TensorRT. ``sides_changed`` counts the cases on the other side of the cut-off than in float32.
    """

    task: str
    engine: str
    precision: str
    cases: int
    positives: int
    auroc_f32: float
    auroc: float
    probability_difference_max: float
    sides_changed: int
    ranges: Mapping[str, float] = field(default_factory=dict)
    """Of int8: the greatest magnitude of each tensor that a convolution reads, as calibrated."""

    @property
    def holds(self) -> bool:
        """Whether the network may run so."""
        return (
            self.auroc >= self.auroc_f32 - AUROC_LOSS_MAX
            and self.probability_difference_max <= PROBABILITY_DIFFERENCE_MAX
        )


@dataclass(frozen=True, kw_only=True)
class ScannerModel:
    """A PET/CT scanner as its headers name it; without ``model_name`` any of the manufacturer."""

    manufacturer: str
    model_name: str = ""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Outside these a study is marked as not applicable; the first block withholds predictions.

    ``cube_inside_share`` is the share of the field of view that lies inside both images. What the
    last block leaves out is not judged.
    """

    lung_volume_min_ml: float
    lesion_in_thorax: bool
    cube_inside_share_withhold: float

    cube_inside_share_min: float
    uptake_min: tuple[float, float]
    ct_slice_mm_max: float
    pet_slice_mm_max: float
    tracers: tuple[str, ...]
    age_years: tuple[float, float]
    lesion_diameter_mm: tuple[float, float]
    lesion_suv_max: tuple[float, float]

    node_suv_max: float | None = field(default=None, metadata=ADDED)
    """A further focus at a hilum or in the mediastinum above this SUVbw is an overt metastasis."""
    scanners: tuple[ScannerModel, ...] = field(default=(), metadata=ADDED)
    """Those of the training set."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """Everything that the bundle says of itself; ``files`` maps each file to its SHA-256."""

    schema: int
    name: str
    version: str
    intended_use: str
    training_data: str
    training_set: Mapping[str, float]
    architecture: str
    inputs: Inputs
    tasks: tuple[Task, ...]
    performance: tuple[Auroc, ...]
    at_cutoff: tuple[AtCutoff, ...]
    limits: Limits
    files: Mapping[str, str]
    parity: tuple[Parity, ...] = field(default=(), metadata=ADDED)
    coverage: tuple[Coverage, ...] = field(default=(), metadata=ADDED)

    def __post_init__(self) -> None:
        if self.schema != SCHEMA:
            raise ValueError(f"schema must be {SCHEMA}, got {self.schema}")
        if not self.tasks or len({task.name for task in self.tasks}) != len(self.tasks):
            raise ValueError("a card needs tasks, each with a name of its own")
        unlisted = {name for task in self.tasks for name in task.files} - set(self.files)
        if unlisted:
            raise ValueError(f"files without a digest: {sorted(unlisted)}")

    def task(self, name: str) -> Task:
        """Return the task of that name; KeyError where the card has none."""
        for task in self.tasks:
            if task.name == name:
                return task
        raise KeyError(name)

    def allows(self, precision: str, engine: str) -> bool:
        """Whether every network may run in that precision; in float32 it always may.

        ``engine`` is that of the records that count.
        """
        records = (self.record(task.name, precision, engine) for task in self.tasks)
        return precision == "f32" or all(one is not None and one.holds for one in records)

    def record(self, task: str, precision: str, engine: str) -> Parity | None:
        """Return the task's record of that precision by that engine, if there is one."""
        for one in self.parity:
            if (one.task, one.precision, one.engine) == (task, precision, engine):
                return one
        return None
