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
from scipy.optimize import brentq
from scipy.special import expit
from scipy.stats import chi2
from statsmodels.discrete.discrete_model import Logit
from statsmodels.tools.sm_exceptions import ConvergenceWarning, PerfectSeparationWarning

from training.errors import TrainingFailed
from training.statistics.values import Floats, Interval, Labels

STEPS = 200
WIDEST = 60.0
"""A log odds ratio beyond this is as good as infinite."""


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
    """Solve Firth's score equations for the weights that are not held."""
    weights = np.zeros(design.shape[1])
    for index, value in held.items():
        weights[index] = value
    free = [index for index in range(len(weights)) if index not in held]
    for _ in range(STEPS):
        p = expit(design @ weights)
        information = design.T @ (design * (p * (1 - p))[:, None])
        leverage = p * (1 - p) * np.sum(design * np.linalg.solve(information, design.T).T, axis=1)
        score = design.T @ (truth - p + leverage * (0.5 - p))
        step = np.linalg.solve(information[np.ix_(free, free)], score[free])
        weights[free] += step / max(1.0, float(np.abs(step).max()))  # at most one, or it overshoots
        if np.abs(step).max() < 1e-9:
            return weights
    raise NoOdds("Firth's likelihood has no maximum that can be found")


def _likelihood(design: Floats, truth: Floats, weights: Floats) -> float:
    """Return the log likelihood and half the log determinant of the information."""
    logits = design @ weights
    p = expit(logits)
    _, penalty = np.linalg.slogdet(design.T @ (design * (p * (1 - p))[:, None]))
    return float(truth @ logits - np.logaddexp(0, logits).sum() + penalty / 2)


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
