"""The model without images: a logistic regression on what a reader writes down."""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from training.cohort import Labels
from training.images import Floats


def clinical_margins(covariates: Floats, labels: Labels, unseen: Floats) -> Floats:
    """Fit on ``covariates`` and ``labels``; return the log odds of the unseen cases."""
    model = make_pipeline(StandardScaler(), LogisticRegression(C=1e6, max_iter=1000))
    model.fit(covariates, labels)
    found: Floats = np.asarray(model.decision_function(unseen), dtype=np.float64)
    return found
