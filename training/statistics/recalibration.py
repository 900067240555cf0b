"""Maps scores to probabilities: chosen on validation, then frozen.

* J. C. Platt. Advances in Large Margin Classifiers. 1999:61-74.
* B. Zadrozny, C. Elkan. KDD 2002:694-699 (isotonic).
* A. P. Oron, N. Flournoy. Statistics in Biopharmaceutical Research 2017;9:258-267 (centred).
* M. Saerens, P. Latinne, C. Decaestecker. Neural Computation 2002;14:21-41 (prior shift, eq. 2.4).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression, minimize
from scipy.special import expit

from inference.card import Calibration
from training.statistics.values import Floats, Labels, UnusableScores, logit, require_scores

Recalibration: TypeAlias = Callable[[Floats], Floats]
"""Maps scores to probabilities."""
Way: TypeAlias = Callable[[Labels, Floats], Recalibration]
"""Fits one to validation cases."""


def platt(labels: Labels, margins: Floats) -> Calibration:
    """Fit sigmoid(slope * margin + intercept) by greatest likelihood.

    The slope is kept above 0.01, so that calibration never turns the order over.
    """
    signs = np.where(labels, 1.0, -1.0)

    def loss(parameters: Floats) -> float:
        score = parameters[0] * margins + parameters[1]
        return float(np.logaddexp(0.0, -signs * score).mean())

    found = minimize(loss, np.array([1.0, 0.0]), bounds=[(0.01, 100.0), (-50.0, 50.0)])
    slope, intercept = (round(float(value), 6) for value in found.x)
    return Calibration(slope=slope, intercept=intercept)


@dataclass(frozen=True, kw_only=True)
class Isotonic:
    """A rising curve from scores to probabilities, straight between its knots."""

    scores: tuple[float, ...]
    probabilities: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.scores) != len(self.probabilities) or not self.scores:
            raise ValueError("an isotonic curve needs a probability for each of its scores")
        if np.any(np.diff(self.scores) <= 0) or np.any(np.diff(self.probabilities) < 0):
            raise ValueError("an isotonic curve must rise")

    def probability(self, scores: Floats) -> Floats:
        """Read off probabilities; beyond the ends the curve is level."""
        found: Floats = np.interp(scores, self.scores, self.probabilities)
        return found


def isotonic(labels: Labels, scores: Floats) -> Isotonic:
    """Fit the rising curve with the least squares (pool adjacent violators); ties share one knot.

    It needs some hundred cases: with few it learns their noise, and ends at exactly 0 and 1.
    """
    require_scores(labels, scores)
    knots, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    shares = np.bincount(place, weights=labels) / counts
    fitted = np.clip(isotonic_regression(shares, weights=counts).x, 0.0, 1.0)
    return Isotonic(
        scores=tuple(float(knot) for knot in knots),
        probabilities=tuple(float(value) for value in fitted),
    )


def centred_isotonic(labels: Labels, scores: Floats) -> Isotonic:
    """Fit ``isotonic`` and draw it through the middle of each level stretch, so that it rises.

    A stretch becomes one knot at its cases' mean score. Ranks are kept between the outer knots, and
    so is the side of any cut-off there. No probability is nearer to 0 or 1 than half a case.
    """
    curve = isotonic(labels, scores)
    levels = curve.probability(scores)
    heights, place, counts = np.unique(levels, return_inverse=True, return_counts=True)
    middles = np.bincount(place, weights=scores) / counts
    half_a_case = 0.5 / len(scores)
    return Isotonic(
        scores=tuple(float(middle) for middle in middles),
        probabilities=tuple(
            float(height) for height in np.clip(heights, half_a_case, 1 - half_a_case)
        ),
    )


def prior_shift(probabilities: Floats, *, seen: float, true: float) -> Floats:
    """Bring probabilities from the prevalence of training to the true one.

    ``seen`` is the share of positives that the network was shown, after oversampling: each odds is
    multiplied by the ratio of the two prevalences' odds. It is right where oversampling alone
    shifted the scores, not where the network is overconfident as well.
    """
    for prevalence in (seen, true):
        if not 0 < prevalence < 1:
            raise UnusableScores(f"a prevalence lies between 0 and 1, got {prevalence:g}")
    by = logit(np.array([true])) - logit(np.array([seen]))
    shifted: Floats = expit(logit(probabilities) + by)
    return shifted


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The way to probabilities that did best, and the Brier score of each by cross-validation."""

    method: str
    brier: dict[str, float]
    probability: Recalibration


def chosen(
    labels: Labels, scores: Floats, *, seen: float | None = None, folds: int = 5, seed: int = 0
) -> Choice:
    """Choose among Platt, isotonic and (with ``seen``, see ``prior_shift``) a shift of the prior.

    Each is fitted on some folds of the validation cases and judged on the others. The simplest of
    those whose Brier score is within one standard error of the least is then fitted on all (Breiman
    et al., Classification and Regression Trees, 1984, section 3.4.3). A shift needs scores between
    0 and 1.
    """
    require_scores(labels, scores, each=folds)
    fits = _fits(scores, seen)
    method, brier = choice_of(labels, scores, fits, folds=folds, seed=seed)
    return Choice(method=method, brier=brier, probability=fits[method](labels, scores))


def choice_of(
    labels: Labels, scores: Floats, fits: Mapping[str, Way], *, folds: int = 5, seed: int = 0
) -> tuple[str, dict[str, float]]:
    """Return the name of the way that ``chosen`` would take, and the Brier score of each.

    ``fits`` begins with the simplest.
    """
    require_scores(labels, scores, each=folds)
    place = _folds(labels, folds, np.random.default_rng(seed))
    errors = {name: np.empty(len(labels)) for name in fits}
    for name, fit in fits.items():
        for fold in range(folds):
            out = place == fold
            probability = fit(labels[~out], scores[~out])
            errors[name][out] = (probability(scores[out]) - labels[out]) ** 2
    return _simplest(errors), {name: float(one.mean()) for name, one in errors.items()}


def _simplest(errors: dict[str, Floats]) -> str:
    """Return the first whose errors are on average not clearly greater than the least."""
    least = min(errors.values(), key=lambda one: float(one.mean()))
    apart = {name: one - least for name, one in errors.items()}
    return next(
        name for name, one in apart.items() if one.mean() <= one.std(ddof=1) / math.sqrt(len(one))
    )


def _fits(scores: Floats, seen: float | None) -> dict[str, Way]:
    """Return each way to fit, the simplest first; Platt scales log odds of probabilities."""
    bounded = bool(scores.min() >= 0 and scores.max() <= 1)

    def by_platt(labels: Labels, some: Floats) -> Recalibration:
        found = platt(labels, logit(some) if bounded else some)
        return lambda new: expit(found.slope * (logit(new) if bounded else new) + found.intercept)

    def by_isotonic(labels: Labels, some: Floats) -> Recalibration:
        return isotonic(labels, some).probability

    fits: dict[str, Way] = {"platt": by_platt, "isotonic": by_isotonic}
    if seen is None:
        return fits
    if not bounded:
        raise UnusableScores("a shift of the prior needs scores between 0 and 1")

    def by_shift(labels: Labels, _some: Floats) -> Recalibration:
        true = float(labels.mean())
        return lambda new: prior_shift(new, seen=seen, true=true)

    return {"prior shift": by_shift, **fits}


def _folds(labels: Labels, folds: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Deal the cases of each class to folds in turn, in an order drawn at random."""
    place = np.empty(len(labels), dtype=np.intp)
    for some in (np.flatnonzero(labels), np.flatnonzero(~labels)):
        place[rng.permutation(some)] = np.arange(len(some)) % folds
    return place
