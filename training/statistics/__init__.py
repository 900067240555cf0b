"""Statistics of any table of scores.

What needs statsmodels or lifelines (``calibration``, ``survival``) is imported from its module, so
that training does not load them.
"""

from training.statistics.discrimination import (
    auroc,
    auroc_difference,
    auroc_difference_p,
    auroc_difference_unpaired,
    auroc_interval,
    auroc_interval_logit,
    average_precision,
    delong,
)
from training.statistics.operating_point import Confusion, confusion, high_risk, youden_cutoff
from training.statistics.recalibration import isotonic, platt, prior_shift
from training.statistics.values import Difference, Floats, Interval, Labels, UnusableScores

__all__ = [
    "Confusion",
    "Difference",
    "Floats",
    "Interval",
    "Labels",
    "UnusableScores",
    "auroc",
    "auroc_difference",
    "auroc_difference_p",
    "auroc_difference_unpaired",
    "auroc_interval",
    "auroc_interval_logit",
    "average_precision",
    "confusion",
    "delong",
    "high_risk",
    "isotonic",
    "platt",
    "prior_shift",
    "youden_cutoff",
]
