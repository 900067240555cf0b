"""What a training set looks like to its network, and from where on a study looks unlike it."""

import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import linalg
from sklearn.covariance import LedoitWolf

from inference import onnx_engine
from inference.card import Familiarity, Inputs
from inference.familiar import Familiar, packed
from training.cohort import Group
from training.feeding import as_served
from training.images import Floats
from training.partition import Part

SHARE_WITHIN = 0.99
"""Of studies like those of the validation part, so many shall lie within the limit."""
OFFSET = 0.01
"""Of a feature's mean; it is added before the logarithm is taken."""
DEAD = 0.1
"""A feature whose mean is below this part of all features' mean has an offset as if it were not."""


@dataclass(frozen=True, kw_only=True)
class Learnt:
    """What goes into a bundle for one task: the limit on its card, and the file it names."""

    familiarity: Familiarity
    statistics: bytes


def learnt(task: str, network: bytes, groups: Mapping[Part, Group], inputs: Inputs) -> Learnt:
    """Take statistics from the training part, the limit from validation, and count in the test.

    The features are those that the exported network gives of the images as serving sees them.
    """
    training, validation, test = (
        features_of(network, groups[part], inputs)
        for part in (Part.TRAINING, Part.VALIDATION, Part.TEST)
    )
    familiar = fitted(training)
    held_out, unseen = (familiar.distances(features) for features in (validation, test))
    limit, beyond = limit_of(held_out, SHARE_WITHIN)
    return Learnt(
        familiarity=Familiarity(
            file=f"{task}.npz",
            distance_max=limit,
            cases=len(held_out),
            share_beyond_expected=round(beyond, 6),
            share_beyond_test=round(float((unseen > limit).mean()), 6),
        ),
        statistics=packed(familiar),
    )


def fitted(features: Floats) -> Familiar:
    """Return the statistics of ``(n, feature)`` by the covariance of Ledoit and Wolf.

    It is drawn towards a sphere as far as so few cases demand, so that features that never varied
    in training have a spread too.
    """
    usual = features.mean(axis=0)
    offset = OFFSET * np.maximum(usual, DEAD * usual.mean())
    logarithms = np.log(features + offset)
    covariance = LedoitWolf().fit(logarithms).covariance_
    return whitened(offset, logarithms.mean(axis=0), covariance)


def whitened(offset: Floats, mean: Floats, covariance: Floats) -> Familiar:
    """Return the statistics of a mean and a covariance, which must be positive definite."""
    lower = linalg.cholesky(covariance, lower=True)
    whitening = linalg.solve_triangular(lower, np.eye(len(lower)), lower=True)
    return Familiar(
        offset=offset.astype(np.float32),
        mean=mean.astype(np.float32),
        whitening=whitening.astype(np.float32),
    )


def limit_of(distances: Floats, share: float) -> tuple[float, float]:
    """Return the limit that ``share`` of like distances lies within, and what is expected beyond.

    It is the k-th smallest of the ``n`` distances, k being ``(n + 1) * share`` rounded up: of
    distances drawn as these were, ``1 - k / (n + 1)`` lies beyond, on average over such draws. Of
    too few it is the greatest.
    """
    count = len(distances)
    place = min(math.ceil((count + 1) * share), count)
    limit = float(np.sort(distances)[place - 1])
    return math.ceil(limit * 1e4) / 1e4, 1 - place / (count + 1)


def features_of(network: bytes, group: Group, inputs: Inputs) -> Floats:
    """Return the features ``(n, feature)`` that an ONNX network gives of the cases of a group."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        path.write_bytes(network)
        engine = onnx_engine.open_engine(path, threads=1)
    found = []
    for pet, ct in as_served(group.cohort.images.planes, inputs, group.indices):
        features = engine.explained(pet, ct).features
        if features is None:
            raise ValueError("the network gives no features")
        found.append(features)
    result: Floats = np.concatenate(found).astype(np.float64)
    return result
