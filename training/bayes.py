"""The best AUROC that any model could reach, from the probabilities that labels are drawn with."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class BestAuroc:
    """The Bayes-optimal AUROC and the error of its being computed from a sample of cases."""

    auroc: float
    standard_error: float
    draws: int

    def told(self) -> str:
        """Return both numbers in words."""
        return f"{self.auroc:.4f} (Monte-Carlo error {self.standard_error:.4f}, {self.draws} draws)"


def best_auroc(probabilities: Sequence[float]) -> BestAuroc:
    """Return the AUROC of the probabilities themselves, over all labels that they could give.

    No score ranks better than the probability of the label given all that decides it. Case i is
    positive with p and negative with q = 1 - p, so that the AUROC is the sum over pairs i, j of
    p_i q_j [p_i > p_j] (a half where equal) divided by the sum of p_i q_j: no label is drawn, and
    only the choice of cases is left to chance. Its error is that of the ratio by its influence
    function, over independent cases.
    """
    p = np.asarray(probabilities, dtype=np.float64)
    if len(p) < 2 or p.min() < 0 or p.max() > 1 or p.sum() * (1 - p).sum() == 0:
        raise ValueError("two probabilities or more are needed, and both classes must be possible")
    q = 1 - p
    n = len(p)
    above, below = p * _weight_below(p, q), q * _weight_below(-p, p)
    # A case is never paired with itself, where p equals p and would count a half.
    above, below = above - 0.5 * p * q, below - 0.5 * p * q
    pairs = p * (q.sum() - q)
    auroc = float(above.sum() / pairs.sum())
    partners = p * (q.sum() - q) + q * (p.sum() - p)
    influence = (above + below - auroc * partners) / (pairs.sum() / n)
    error = float(np.sqrt(np.sum(influence**2)) / n)
    return BestAuroc(auroc=auroc, standard_error=error, draws=n)


def _weight_below(scores: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return for each score the weight of those below it, with half of those equal to it."""
    _, place = np.unique(scores, return_inverse=True)
    each = np.bincount(place, weights=weights)
    below: NDArray[np.float64] = (np.cumsum(each) - 0.5 * each)[place]
    return below
