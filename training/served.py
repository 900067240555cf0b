"""Asks a bundle about one case folder by the code that serves patients."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from inference import bundle as bundles
from inference import case, onnx_engine
from inference.analyze import Model, analyze
from inference.bundle import Bundle
from inference.card import Inputs, Task
from inference.engine import Engine, Explained
from inference.errors import BundleUnusable, InferenceError
from inference.findings import Lesion, Prediction
from inference.lesion import LesionRules
from inference.petct import PetCt
from inference.thorax import find_thorax
from inference.volume import Voxels
from inference.warming import warm
from training.images import Floats, Halves
from training.measured import MEASURED, measures
from training.outcomes import CohortUnusable
from training.patients import verified
from training.preparing import Patient


@dataclass(frozen=True, kw_only=True)
class Asking:
    """Which bundle is asked, and how tumours are found."""

    bundle: Path
    rules: LesionRules


@dataclass(frozen=True, kw_only=True, eq=False)
class Served:
    """What serving tells of one patient, and the margins behind it."""

    predictions: tuple[Prediction, ...]
    """In the order of the card; none where no lesion is found or the card withholds them."""
    margins: tuple[float, ...]
    """Logit 1 - logit 0 of each prediction."""
    risk: str | None
    """``high`` where any task is, else ``low``; None without predictions."""
    reasons: tuple[str, ...]
    """Codes of why the card does not cover the study."""
    measured: Floats
    """In the order of ``MEASURED``; empty without a lesion."""
    planes: Halves | None
    """What the networks saw, ``(modality, plane, row, column)`` in SUVbw and HU, if anything."""


def serve(patient: Patient, asking: Asking) -> Served:
    """Find the primary tumour, judge the study and predict, as the node does.

    ``CohortUnusable`` where the case is not what it was when its cohort was made, or a network
    gives something that is no number.
    """
    petct = case.read(verified(patient.folder, patient.digest))
    model = opened(asking.bundle)
    heard = {name: _Heard(engine) for name, engine in model.engines.items()}
    try:
        findings = analyze(petct, model=replace(model, engines=heard), rules=asking.rules)
    except InferenceError as error:
        raise CohortUnusable(f"{patient.folder}: {error}") from error
    told = [heard[one.task] for one in findings.predictions]
    return Served(
        predictions=findings.predictions,
        margins=tuple(one.margin for one in told),
        risk=findings.risk,
        reasons=tuple(one.code for one in findings.inapplicable),
        measured=_measured(petct, findings.lesions),
        planes=told[0].planes(model.bundle.card.inputs) if told else None,
    )


@cache
def opened(path: Path) -> Model:
    """Open a bundle once in each process, on ONNX Runtime with one thread.

    ``BundleUnusable`` where a network does not take and give what the card says.
    """
    bundle = bundles.load(path)
    return Model(bundle=bundle, engines={task.name: _engine(bundle, task) for task in bundle.tasks})


class _Heard:
    """An engine that keeps what its network was shown and what it said."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.name, self.device, self.precision = engine.name, engine.device, engine.precision
        self._shown: tuple[Voxels, Voxels] | None = None
        self._said: Explained | None = None

    def logits(self, pet: Voxels, ct: Voxels) -> Voxels:
        """Return the logits of one run."""
        return self.explained(pet, ct).logits

    def explained(self, pet: Voxels, ct: Voxels) -> Explained:
        """Return all of one run, and keep it."""
        self._shown, self._said = (pet, ct), self._engine.explained(pet, ct)
        return self._said

    @property
    def margin(self) -> float:
        """Logit 1 - logit 0 of the case."""
        assert self._said is not None
        negative, positive = self._said.logits[0]
        return float(positive) - float(negative)

    def planes(self, inputs: Inputs) -> Halves:
        """Return what the network was shown before it was normalised."""
        assert self._shown is not None
        pairs = zip(self._shown, (inputs.pet, inputs.ct), strict=True)
        seen: Halves = np.stack(
            [shown[0] * channel.sd + channel.mean for shown, channel in pairs]
        ).astype(np.float16)
        return seen


def _engine(bundle: Bundle, task: Task) -> Engine:
    path = bundle.onnx_path(task)
    engine = onnx_engine.open_engine(path, threads=1)
    try:
        warm(engine, bundle.card.inputs)
    except Exception as error:
        # ONNX Runtime raises classes of its own that share no base but Exception.
        raise BundleUnusable(f"{path} does not take the inputs of its card: {error}") from error
    return engine


def _measured(petct: PetCt, lesions: Sequence[Lesion]) -> Floats:
    if not lesions:
        return np.empty(0)
    told = measures(petct, lesions[0], find_thorax(petct.ct))
    return np.asarray([told[name] for name in MEASURED])
