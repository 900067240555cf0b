"""Logistic regression as clinical papers report it: odds ratios with intervals and p values.

Where the data part the classes perfectly, no finite odds ratio is the likeliest. Then Firth's
penalised likelihood is taken (Heinze and Schemper, Statistics in Medicine 2002;21:2409), whose
intervals and p values come from the penalised likelihood itself. The table says so.
"""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq, minimize
from scipy.special import expit
from scipy.stats import chi2
from statsmodels.discrete.discrete_model import Logit
from statsmodels.tools.sm_exceptions import ConvergenceWarning, PerfectSeparationWarning

from training.errors import TrainingFailed
from training.statistics.values import Floats, Interval, Labels

STEPS = 200
WIDEST = 60.0
"""A log odds ratio beyond this is as good as infinite."""
SCORE = 1e-5
"""Where Firth's score is less than this the likelihood is at its maximum."""


class NoOdds(TrainingFailed):
    """A covariate, or all of them together, cannot be fitted; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Term:
    """One covariate of a model."""

    name: str
    odds_ratio: Interval
    """For one unit, with its 95 % interval."""
    p: float
    """Two-sided: of Wald, or of the penalised likelihood's ratio."""
    penalised: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Logistic:
    """A fitted logistic model; ``coefficients`` begin with the intercept."""

    terms: tuple[Term, ...]
    coefficients: Floats
    cases: int
    """Those that have every covariate."""
    penalised: bool

    def margins(self, covariates: Mapping[str, Floats]) -> Floats:
        """Return the log odds of cases."""
        columns = [np.asarray(covariates[term.name], dtype=np.float64) for term in self.terms]
        found: Floats = self.coefficients[0] + sum(
            weight * column for weight, column in zip(self.coefficients[1:], columns, strict=True)
        )
        return found


@dataclass(frozen=True, kw_only=True, eq=False)
class ClinicalModel:
    """Every covariate alone, and those that were chosen together."""

    univariable: tuple[Term, ...]
    multivariable: Logistic


def clinical_model(
    covariates: Mapping[str, Floats], labels: Labels, *, p_max: float = 0.1
) -> ClinicalModel:
    """Fit each covariate alone, then all whose p is below ``p_max`` together.

    A case counts where it has what is asked (not NaN). Raises ``NoOdds`` where none is below, or
    where covariates cannot be told apart.
    """
    alone = tuple(fit({name: values}, labels).terms[0] for name, values in covariates.items())
    chosen = {term.name: covariates[term.name] for term in alone if term.p < p_max}
    if not chosen:
        told = ", ".join(f"{term.name} {term.p:.2g}" for term in alone)
        raise NoOdds(f"no covariate has a univariable p below {p_max:g}: {told}")
    return ClinicalModel(univariable=alone, multivariable=fit(chosen, labels))


def fit(covariates: Mapping[str, Floats], labels: Labels) -> Logistic:
    """Fit all covariates together by likelihood, or by Firth's where the classes part perfectly."""
    names = list(covariates)
    table = np.column_stack([np.asarray(covariates[name], dtype=np.float64) for name in names])
    whole = np.isfinite(table).all(axis=1)
    table, truth = table[whole], np.asarray(labels, dtype=np.float64)[whole]
    _require(names, table, truth)
    # Scaled columns keep Newton's steps sound whatever the units are.
    centre, scale = table.mean(axis=0), table.std(axis=0)
    design = np.column_stack([np.ones(len(table)), (table - centre) / scale])
    found = _likeliest(design, truth)
    penalised = found is None
    weights, lows, highs, ps = found if found is not None else _firth(design, truth)
    terms = tuple(
        Term(
            name=name,
            odds_ratio=Interval(
                value=_exp(weights[column] / scale[column - 1]),
                low=_exp(lows[column] / scale[column - 1]),
                high=_exp(highs[column] / scale[column - 1]),
            ),
            p=float(ps[column]),
            penalised=penalised,
        )
        for column, name in enumerate(names, start=1)
    )
    slopes = weights[1:] / scale
    return Logistic(
        terms=terms,
        coefficients=np.concatenate([[weights[0] - float(slopes @ centre)], slopes]),
        cases=len(truth),
        penalised=penalised,
    )


def _require(names: Sequence[str], table: Floats, truth: Floats) -> None:
    told = " and ".join(names)
    if not 0 < truth.sum() < len(truth):
        raise NoOdds(f"{told}: of {len(truth)} cases that have it, {int(truth.sum())} are positive")
    for name, column in zip(names, table.T, strict=True):
        if np.ptp(column) == 0:
            raise NoOdds(f"{name} is {column[0]:g} in all {len(column)} cases")
    standard = (table - table.mean(axis=0)) / table.std(axis=0)
    if np.linalg.matrix_rank(np.column_stack([np.ones(len(table)), standard])) <= len(names):
        raise NoOdds(f"{told} cannot be told apart in {len(table)} cases")


_Fitted = tuple[Floats, Floats, Floats, Floats]


def _likeliest(design: Floats, truth: Floats) -> _Fitted | None:
    """Return weights, their bounds and p values, or None where there is no finite maximum."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", PerfectSeparationWarning)
        warnings.simplefilter("error", ConvergenceWarning)
        warnings.simplefilter("error", RuntimeWarning)
        try:
            fitted = Logit(truth, design).fit(disp=0, maxiter=STEPS)
            bounds = np.asarray(fitted.conf_int())
        except (
            PerfectSeparationWarning,
            ConvergenceWarning,
            RuntimeWarning,
            np.linalg.LinAlgError,
        ):
            return None
    weights = np.asarray(fitted.params)
    # Newton may stop on a plateau: fitted probabilities of nought and one, and huge errors.
    if np.abs(weights).max() > WIDEST / 4 or np.asarray(fitted.bse).max() > WIDEST:
        return None
    return weights, bounds[:, 0], bounds[:, 1], np.asarray(fitted.pvalues)


def _firth(design: Floats, truth: Floats) -> _Fitted:
    """Return weights that maximise Firth's likelihood, with profile bounds and ratio p values."""
    weights = _penalised(design, truth, {})
    best = _likelihood(design, truth, weights)
    lows, highs, ps = weights.copy(), weights.copy(), np.ones(len(weights))
    for index in range(1, len(weights)):

        def worse(value: float, index: int = index) -> float:
            """Twice the fall in log likelihood where this weight is held at ``value``."""
            held = _penalised(design, truth, {index: value})
            return 2 * (best - _likelihood(design, truth, held))

        ps[index] = chi2.sf(max(worse(0.0), 0.0), 1)
        lows[index] = _crossing(worse, float(weights[index]), -1.0)
        highs[index] = _crossing(worse, float(weights[index]), 1.0)
    return weights, lows, highs, ps


def _penalised(design: Floats, truth: Floats, held: Mapping[int, float]) -> Floats:
    """Return the weights of the greatest penalised likelihood; some may be held at a value."""
    weights = np.zeros(design.shape[1])
    for index, value in held.items():
        weights[index] = value
    free = [index for index in range(len(weights)) if index not in held]

    def descent(some: Floats) -> tuple[float, Floats]:
        weights[free] = some
        p = expit(design @ weights)
        leverage, _ = _penalty(design, weights)
        score = design.T @ (truth - p + leverage * (0.5 - p))  # Firth's
        return -_likelihood(design, truth, weights), -score[free]

    found = minimize(descent, np.zeros(len(free)), jac=True, options={"gtol": SCORE / 1000})
    # Rounding may end the search before gtol does.
    if not np.abs(found.jac).max() < SCORE:
        raise NoOdds("Firth's likelihood has no maximum that can be found")
    weights[free] = found.x
    return weights


def _likelihood(design: Floats, truth: Floats, weights: Floats) -> float:
    """Return the log likelihood and half the log determinant of the information."""
    logits = design @ weights
    _, penalty = _penalty(design, weights)
    return float(truth @ logits - np.logaddexp(0, logits).sum() + penalty)


def _penalty(design: Floats, weights: Floats) -> tuple[Floats, float]:
    """Return each case's leverage, and half the log determinant of the information.

    By QR of its root, and p (1 - p) by two logistic functions: sure cases weigh next to nothing,
    and not nothing.
    """
    logits = design @ weights
    spread = np.sqrt(expit(logits) * expit(-logits))
    frame, triangle = np.linalg.qr(design * spread[:, None])
    return np.sum(frame**2, axis=1), float(np.log(np.abs(np.diag(triangle))).sum())


def _crossing(worse: Callable[[float], float], start: float, direction: float) -> float:
    """Return where the likelihood has fallen by what 95 % allow, on one side of its maximum."""
    allowed = float(chi2.ppf(0.95, 1))
    reach = 1.0
    while worse(start + direction * reach) < allowed:
        reach *= 2
        if reach > WIDEST:
            return direction * math.inf
    far = start + direction * reach
    return float(brentq(lambda value: worse(value) - allowed, min(start, far), max(start, far)))


def _exp(value: float) -> float:
    return math.exp(min(value, 700.0))  # beyond that no float is great enough
