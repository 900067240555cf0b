"""What statistics of two made-up models are in truth: closed forms, or integrals of their laws."""

import math
from collections.abc import Callable

import numpy as np
from scipy.integrate import quad
from scipy.special import expit, logit
from scipy.stats import multivariate_normal, norm

NEW, OLD, SHARED = 1.8, 1.0, 0.5
"""How many SD apart the classes lie for two models, and how their scores go together."""
CATEGORIES = (0.1, 0.3)


def risk(scores: np.ndarray, apart: float, prevalence: float) -> np.ndarray:
    """Probability of the positive class at a score: the law of the scores turned over (Bayes)."""
    return expit(apart * scores - apart**2 / 2 + logit(prevalence))


def rates_at(cutoff: float, apart: float, prevalence: float) -> dict[str, float]:
    sensitivity, specificity = norm.sf(cutoff - apart), norm.cdf(cutoff)
    true, false = prevalence * sensitivity, (1 - prevalence) * (1 - specificity)
    missed, spared = prevalence - true, 1 - prevalence - false
    return {
        "sensitivity": sensitivity,
        "specificity": specificity,
        "ppv": true / (true + false),
        "npv": spared / (spared + missed),
        "accuracy": true + spared,
    }


def average_precision_of(apart: float, prevalence: float) -> float:
    def step(score: float) -> float:
        hits = prevalence * norm.sf(score - apart)
        return norm.pdf(score - apart) * hits / (hits + (1 - prevalence) * norm.sf(score))

    return quad(step, -9, 9 + apart)[0]


def expected(what: Callable[[float], float], mean: float) -> float:
    """Mean of a function of a normal score."""
    return quad(lambda score: what(score) * norm.pdf(score - mean), mean - 9, mean + 9)[0]


def score_at(threshold: float, apart: float, prevalence: float) -> float:
    """The score whose risk is a threshold."""
    return (logit(threshold) - logit(prevalence) + apart**2 / 2) / apart


def brier_of(apart: float, prevalence: float) -> float:
    event = expected(lambda s: (1 - risk(s, apart, prevalence)) ** 2, apart)
    other = expected(lambda s: risk(s, apart, prevalence) ** 2, 0)
    return prevalence * event + (1 - prevalence) * other


def discrimination_slope(apart: float, prevalence: float) -> float:
    """Mean risk of events less that of non-events."""
    event = expected(lambda s: risk(s, apart, prevalence), apart)
    return event - expected(lambda s: risk(s, apart, prevalence), 0)


def moved(event: int) -> float:
    """Mean sign of the new less the old log odds, a normal variable."""
    spread = math.sqrt(NEW**2 + OLD**2 - 2 * SHARED * NEW * OLD)
    centre = (event - 0.5) * (NEW**2 - OLD**2)
    return 2 * norm.cdf(centre / spread) - 1


def moved_between_categories(event: int, prevalence: float) -> float:
    """Mean sign of the move between three categories: nine cells of a bivariate normal law."""
    law = multivariate_normal((NEW * event, OLD * event), [[1, SHARED], [SHARED, 1]])
    new, old = (
        [-30.0, *(score_at(threshold, apart, prevalence) for threshold in CATEGORIES), 30.0]
        for apart in (NEW, OLD)
    )
    below = np.array([[law.cdf((b, d)) for d in old] for b in new])
    cells = np.diff(np.diff(below, axis=0), axis=1)
    return np.tril(cells, -1).sum() - np.triu(cells, 1).sum()


def truth_of_scores(prevalence: float) -> dict[str, float]:
    area, old_area = (norm.cdf(apart / math.sqrt(2)) for apart in (NEW, OLD))
    precision, old_precision = (average_precision_of(apart, prevalence) for apart in (NEW, OLD))
    rates = {f"{k}, bootstrap": v for k, v in rates_at(NEW / 2, NEW, prevalence).items()}
    acted = score_at(0.2, NEW, prevalence)
    return {
        "AUROC, DeLong": area,
        "AUROC, DeLong by log odds": area,
        "AUROC difference, DeLong paired": area - old_area,
        "AUROC difference, DeLong unpaired": area - old_area,
        "average precision, jackknife": precision,
        "average precision difference, jackknife": precision - old_precision,
        "AUROC, bootstrap": area,
        **rates,
        "Brier score, bootstrap": brier_of(NEW, prevalence),
        "IDI, bootstrap": discrimination_slope(NEW, prevalence)
        - discrimination_slope(OLD, prevalence),
        "NRI continuous, bootstrap": moved(1) - moved(0),
        "NRI by categories, bootstrap": moved_between_categories(1, prevalence)
        - moved_between_categories(0, prevalence),
        "net benefit at 0.2, bootstrap": prevalence * norm.sf(acted - NEW)
        - (1 - prevalence) * norm.sf(acted) * 0.25,
    }
