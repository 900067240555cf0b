"""One case folder becomes images and measures, found and cut as the node would."""

import inspect
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4
from zipfile import BadZipFile

import numpy as np

from inference import case, foci, lesion, measure, preprocess, resample, thorax
from inference.lesion import LesionRules, locate
from inference.thorax import find_thorax
from training import augment, images, measured
from training.checkpoint import identity_of
from training.images import Drawing, Floats, Views, views_of
from training.measured import MEASURED, measures
from training.outcomes import CohortUnusable
from training.patients import verified

_CODE = (preprocess, resample, augment, images, foci, lesion, measure, thorax, measured)
"""What decides the numbers of a case beside its files and its preparation."""


@dataclass(frozen=True, kw_only=True)
class Patient:
    """A case folder, and the digest that it had when its cohort was made."""

    folder: Path
    digest: str


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """How cases are prepared, and where what came out is kept."""

    drawing: Drawing
    rules: LesionRules
    cache: Path

    def path(self, digest: str) -> Path:
        """Return the file of a case, named by all that decides it, the code included."""
        code = [inspect.getsource(module) for module in _CODE]
        return self.cache / f"{identity_of(digest, self.drawing, self.rules, code)[:24]}.npz"


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """What came out of one case; without a lesion ``measured`` is empty, and there are no views."""

    path: Path
    measured: Floats
    """In the order of ``MEASURED``."""

    @property
    def located(self) -> bool:
        """Whether a lesion was found."""
        return len(self.measured) > 0

    def views(self) -> Views:
        """Read what the networks see."""
        arrays = _arrays(self.path)
        return Views(
            planes=arrays["planes"].astype(np.float16, copy=False),
            moved=arrays["moved"].astype(np.float16, copy=False),
            suv_max=float(np.exp(self.measured[MEASURED.index("log_suv_max")])),
            cubes=arrays["cubes"].astype(np.float16, copy=False) if "cubes" in arrays else None,
        )


def prepare(patient: Patient, preparation: Preparation) -> Prepared:
    """Find the lesion of a case, measure it and cut it out, or read what came out before.

    Everything depends on the case alone: moves are drawn by its digest. ``CohortUnusable`` where
    the case is not what it was when the cohort was made.
    """
    verified(patient.folder, patient.digest)
    path = preparation.path(patient.digest)
    if not path.exists():
        _write(path, _found(patient, preparation))
    return Prepared(path=path, measured=_arrays(path)["measured"].astype(np.float64, copy=False))


def _found(patient: Patient, preparation: Preparation) -> dict[str, np.ndarray]:
    petct = case.read(patient.folder)
    chest = find_thorax(petct.ct)
    lesions = locate(petct, preparation.rules, chest)
    if not lesions:
        return {"measured": np.empty(0)}
    primary = lesions[0]
    seed = int(patient.digest.rpartition(":")[2][:15], 16)
    views = views_of(petct, primary.centroid_lps_mm, preparation.drawing, seed=seed)
    told = measures(petct, primary, chest)
    found = {
        "measured": np.asarray([told[name] for name in MEASURED]),
        "planes": views.planes,
        "moved": views.moved,
    }
    return found if views.cubes is None else {**found, "cubes": views.cubes}


def _write(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write a file that is there whole or not at all; several processes may write the same."""
    part = path.with_name(f".{path.name}.{uuid4().hex}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    with part.open("xb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    part.replace(path)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as held:
            return dict(held)
    except (OSError, EOFError, KeyError, ValueError, BadZipFile) as error:
        raise CohortUnusable(f"{path} is damaged, delete it: {error}") from error
