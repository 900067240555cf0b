"""The best possible AUROC: by hand, by integral, and how far off chance puts it."""

import numpy as np
import pytest

from training.bayes import best_auroc
from training.statistics import auroc


def test_two_cases_by_hand():
    """Positive with 0.8 and 0.2: of the pairs that differ, 0.64 are in order and 0.04 are not."""
    assert best_auroc([0.8, 0.2]).auroc == pytest.approx(0.64 / 0.68)


def test_equal_probabilities_are_worth_nothing():
    found = best_auroc([0.3] * 50)

    assert found.auroc == pytest.approx(0.5)
    assert found.standard_error == pytest.approx(0, abs=1e-12)


def test_probabilities_spread_evenly_from_0_to_1_give_five_sixths():
    """The integral of p (p - p^2 / 2) from 0 to 1 is 5/24, of all pairs 1/4."""
    found = best_auroc((np.arange(2000) + 0.5) / 2000)

    assert found.auroc == pytest.approx(5 / 6, abs=1e-3)


def test_the_error_is_that_of_drawing_again():
    rng = np.random.default_rng(0)
    again = [best_auroc(rng.random(300)) for _ in range(400)]

    spread = np.std([one.auroc for one in again])
    told = np.mean([one.standard_error for one in again])

    assert told == pytest.approx(spread, rel=0.12)
    assert np.mean([one.auroc for one in again]) == pytest.approx(5 / 6, abs=0.002)


def test_it_is_what_drawn_labels_come_to_on_average():
    rng = np.random.default_rng(1)
    risks = rng.random(400) ** 2
    reached = [auroc(rng.random(400) < risks, risks) for _ in range(200)]

    assert best_auroc(risks).auroc == pytest.approx(np.mean(reached), abs=0.005)


@pytest.mark.parametrize("risks", [[], [0.5], [0.0, 0.0], [1.0, 1.0], [0.5, 1.5]])
def test_what_has_no_auroc_is_refused(risks):
    with pytest.raises(ValueError, match="both classes"):
        best_auroc(np.asarray(risks))
