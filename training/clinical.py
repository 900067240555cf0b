"""The model without images: a logistic regression on what a reader writes down."""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from training.cohort import COVARIATES, Labels
from training.images import Floats


def clinical_margins(
    covariates: Floats, labels: Labels, unseen: Floats, *, p_max: float | None = None
) -> Floats:
    """Fit on ``covariates`` and ``labels``; return the log odds of the unseen cases.

    Columns are those of ``COVARIATES``. All enter, or with ``p_max`` those whose univariable p is
    below it, and ``NoOdds`` is raised where there are none.
    """
    if p_max is not None:
        return _chosen(covariates, labels, unseen, p_max)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=1e6, max_iter=1000))
    model.fit(covariates, labels)
    found: Floats = np.asarray(model.decision_function(unseen), dtype=np.float64)
    return found


def _chosen(covariates: Floats, labels: Labels, unseen: Floats, p_max: float) -> Floats:
    # Statsmodels takes seconds to load, which every process of a training run would spend.
    from training.odds import clinical_model  # noqa: PLC0415 - for the reason above

    known, asked = (dict(zip(COVARIATES, table.T, strict=True)) for table in (covariates, unseen))
    return clinical_model(known, labels, p_max=p_max).multivariable.margins(asked)
