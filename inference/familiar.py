"""How far the features of a study lie from those of the studies that a network was trained on."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias
from zipfile import BadZipFile

import numpy as np
from numpy.typing import ArrayLike, NDArray

from inference.errors import BundleUnusable

Floats: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class Familiar:
    """The features of one network's training set: their mean, and what turns their spread into one.

    ``whitening`` is ``(component, feature)``: whitened, the training set has unit covariance.
    """

    mean: Floats
    whitening: Floats

    def __post_init__(self) -> None:
        if self.mean.ndim != 1 or self.whitening.ndim != 2:
            raise ValueError("a mean has one axis and a whitening two")
        if self.whitening.shape[1] != len(self.mean) or not self.whitening.size:
            raise ValueError(
                f"a whitening of {self.whitening.shape} does not fit {len(self.mean)} features"
            )
        if not (np.isfinite(self.mean).all() and np.isfinite(self.whitening).all()):
            raise ValueError("mean and whitening must be finite")

    @property
    def features(self) -> int:
        """How many features a study has."""
        return len(self.mean)

    def distances(self, features: ArrayLike) -> NDArray[np.float64]:
        """Return the Mahalanobis distance of each row of ``(n, feature)``.

        For features spread like a Gaussian, its square is chi-squared with as many degrees of
        freedom as there are components.
        """
        apart = np.asarray(features, np.float64) - self.mean
        distances: NDArray[np.float64] = np.linalg.norm(apart @ self.whitening.T, axis=1)
        return distances


def packed(familiar: Familiar) -> bytes:
    """Return the statistics as an npz; the same ones always give the same bytes."""
    held = io.BytesIO()
    np.savez(
        held,
        allow_pickle=False,
        mean=familiar.mean.astype(np.float32),
        whitening=familiar.whitening.astype(np.float32),
    )
    return held.getvalue()


def read(path: Path) -> Familiar:
    """Read the statistics of one network; nothing is unpickled.

    ``BundleUnusable`` names the file and what is wrong with it.
    """
    try:
        # Opened here, because np.load leaves a broken archive open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as held:
            mean, whitening = held["mean"], held["whitening"]
        if mean.dtype != np.float32 or whitening.dtype != np.float32:
            raise ValueError(f"numbers must be float32, got {mean.dtype} and {whitening.dtype}")
        return Familiar(mean=mean, whitening=whitening)
    except (OSError, EOFError, KeyError, TypeError, ValueError, BadZipFile) as error:
        raise BundleUnusable(f"{path}: {error}") from error
