"""Sets of answers that hold the truth as often as was promised.

Split conformal prediction, for each class by itself: an answer stays in the set while it is no
stranger than the strangest tolerated of that class in a calibration set that trained nothing.

* V. Vovk, A. Gammerman, G. Shafer. Algorithmic Learning in a Random World. 2005, chapter 4
  (Mondrian: the promise holds for positive and for negative cases, not for their mixture alone).
* A. N. Angelopoulos, S. Bates. Foundations and Trends in Machine Learning 2023;16:494-591.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import beta

from training.statistics.values import Floats, Labels, UnusableScores, require_scores


@dataclass(frozen=True, kw_only=True)
class Conformal:
    """Which answers a score leaves possible, at one promised coverage.

    Positive stays possible for scores of ``positive_from`` and above, negative for scores of
    ``negative_to`` and below. Both possible means: not sure. Neither: unlike all that was seen.
    """

    coverage: float
    positive_from: float
    negative_to: float
    positives: int
    negatives: int

    def sets(self, scores: Floats) -> Labels:
        """Return ``(n, 2)``: whether negative and whether positive is possible."""
        sets: Labels = np.stack([scores <= self.negative_to, scores >= self.positive_from], axis=1)
        return sets


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """What sets did on cases with known truth: each number is a share of them."""

    of_positives: float
    of_negatives: float
    sure: float
    unsure: float
    empty: float


def conform(labels: Labels, scores: Floats, *, coverage: float) -> Conformal:
    """Take thresholds from calibration cases, for scores in which higher means positive.

    Of k cases of a class the ceil((k + 1) coverage)-th stays inside, so that a new case is covered
    with at least the promised probability whatever the scores' distribution, as long as it comes
    from where these came from. Too few cases to promise it (19 a class for 95 %) are refused.
    """
    require_scores(labels, scores)
    if not 0 < coverage < 1:
        raise UnusableScores(f"coverage lies between 0 and 1, got {coverage:g}")
    return Conformal(
        coverage=coverage,
        positive_from=-_tolerated(-scores[labels], coverage),
        negative_to=_tolerated(scores[~labels], coverage),
        positives=int(labels.sum()),
        negatives=int((~labels).sum()),
    )


def coverage_of(sets: Labels, labels: Labels) -> Coverage:
    """Count how often the truth was in its set, and how often a set told something."""
    size = sets.sum(axis=1)
    return Coverage(
        of_positives=_mean(sets[labels, 1]),
        of_negatives=_mean(sets[~labels, 0]),
        sure=_mean(size == 1),
        unsure=_mean(size == 2),
        empty=_mean(size == 0),
    )


def spread(cases: int, coverage: float, *, share: float = 0.95) -> tuple[float, float]:
    """Return where the coverage of one calibration set lies, ``share`` of the time.

    The promise is over all sets; that of a single one, of ``cases`` of the class, is drawn from a
    beta distribution (Angelopoulos and Bates, section 3.2).
    """
    rank = _rank(cases, coverage)
    law = beta(rank, cases + 1 - rank)
    low, high = law.ppf([0.5 - share / 2, 0.5 + share / 2])
    return float(low), float(high)


def _tolerated(strangeness: Floats, coverage: float) -> float:
    return float(np.sort(strangeness)[_rank(len(strangeness), coverage) - 1])


def _rank(cases: int, coverage: float) -> int:
    # The product may exceed a whole number by rounding alone: 20 * 0.95 must be 19.
    rank = math.ceil(round((cases + 1) * coverage, 9))
    if rank > cases:
        raise UnusableScores(f"{cases} cases of a class are too few to promise {coverage:g}")
    return rank


def _mean(some: Labels) -> float:
    return float(some.mean()) if len(some) else math.nan
