"""The model without images: a logistic regression on what a reader writes down."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from training.cohort import COVARIATES, Labels
from training.errors import TrainingFailed
from training.images import Floats

Clinical: TypeAlias = Callable[[Floats], Floats]
"""Gives the log odds of cases by their covariates, in the columns that it was fitted on."""


class NoCovariates(TrainingFailed):
    """No covariate differs between the cases of training."""


def clinical_model(
    covariates: Floats,
    labels: Labels,
    *,
    names: Sequence[str] = COVARIATES,
    p_max: float | None = None,
) -> Clinical:
    """Fit on the cases of training.

    All covariates enter, or with ``p_max`` those whose univariable p is below it, and ``NoOdds`` is
    raised where there are none. What is not known (NaN) is taken to be the median of training; a
    column without two values there is left out, and ``NoCovariates`` raised where none is left.
    """
    several = [len(np.unique(column[np.isfinite(column)])) > 1 for column in covariates.T]
    if not any(several):
        raise NoCovariates(f"each of {', '.join(names)} has one value or none in training")
    medians = np.nanmedian(covariates[:, several], axis=0)

    def filled(table: Floats) -> Floats:
        whole: Floats = np.where(np.isnan(table[:, several]), medians, table[:, several])
        return whole

    kept = [name for name, varies in zip(names, several, strict=True) if varies]
    fit = _all(filled(covariates), labels)
    if p_max is not None:
        fit = _chosen(filled(covariates), labels, kept, p_max)
    return lambda unseen: fit(filled(unseen))


def _all(covariates: Floats, labels: Labels) -> Clinical:
    model = make_pipeline(StandardScaler(), LogisticRegression(C=1e6, max_iter=1000))
    model.fit(covariates, labels)
    return lambda unseen: np.asarray(model.decision_function(unseen), dtype=np.float64)


def _chosen(covariates: Floats, labels: Labels, names: Sequence[str], p_max: float) -> Clinical:
    # Statsmodels takes seconds to load, which every process of a training run would spend.
    from training import odds  # noqa: PLC0415 - for the reason above

    def by_name(table: Floats) -> dict[str, Floats]:
        return dict(zip(names, table.T, strict=True))

    model = odds.clinical_model(by_name(covariates), labels, p_max=p_max).multivariable
    return lambda unseen: model.margins(by_name(unseen))
