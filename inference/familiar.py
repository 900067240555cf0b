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
    """The logarithms of the features of one network's training set, told by mean and covariance.

    Uptake varies by factors, so that features have a long tail and their logarithms have none;
    ``offset`` is added to each before, lest a feature of nearly 0 count for more than all others.
    ``whitening`` is ``(component, feature)``: whitened, the training set has unit covariance.
    """

    offset: Floats
    mean: Floats
    whitening: Floats

    def __post_init__(self) -> None:
        arrays = vars(self)
        if wrong := [name for name, array in arrays.items() if array.dtype != np.float32]:
            raise ValueError(f"numbers must be float32, those of {', '.join(wrong)} are not")
        if wrong := [name for name, array in arrays.items() if not np.isfinite(array).all()]:
            raise ValueError(f"numbers must be finite, those of {', '.join(wrong)} are not")
        features = (self.mean.size,)
        if not (self.mean.shape == self.offset.shape == self.whitening.shape[1:] == features):
            raise ValueError(
                f"shapes do not fit: offset {self.offset.shape}, mean {self.mean.shape}, "
                f"whitening {self.whitening.shape}"
            )
        if not self.whitening.size or self.offset.min() <= 0:
            raise ValueError("there must be features, and their offsets must be positive")

    @property
    def features(self) -> int:
        """How many features a study has."""
        return len(self.mean)

    def distances(self, features: ArrayLike) -> NDArray[np.float64]:
        """Return the Mahalanobis distance of each row of ``(n, feature)``, which are 0 or more.

        Where logarithms are spread like a Gaussian, its square is chi-squared with as many degrees
        of freedom as there are components.
        """
        apart = np.log(np.asarray(features, np.float64) + self.offset) - self.mean
        distances: NDArray[np.float64] = np.linalg.norm(apart @ self.whitening.T, axis=1)
        return distances


def packed(familiar: Familiar) -> bytes:
    """Return the statistics as an npz; the same ones always give the same bytes."""
    held = io.BytesIO()
    np.savez(
        held,
        allow_pickle=False,
        offset=familiar.offset,
        mean=familiar.mean,
        whitening=familiar.whitening,
    )
    return held.getvalue()


def read(path: Path) -> Familiar:
    """Read the statistics of one network; nothing is unpickled.

    ``BundleUnusable`` names the file and what is wrong with it.
    """
    try:
        # Opened here, because np.load leaves a broken archive open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as held:
            return Familiar(**{name: held[name] for name in ("offset", "mean", "whitening")})
    except (OSError, EOFError, KeyError, TypeError, ValueError, BadZipFile) as error:
        raise BundleUnusable(f"{path}: {error}") from error
