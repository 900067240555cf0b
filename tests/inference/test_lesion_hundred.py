"""The primary tumour is found, and found whole, in a hundred phantoms that nobody has drawn on."""

import numpy as np
import pytest

from inference.lesion import LesionRules, locate
from inference.phantom import SCANNERS, draw, random_phantom, tumour_region


def is_found(seed: int) -> bool:
    """Whether the primary overlaps the tumour (Dice 0.7) and reaches its SUVmax (5 %)."""
    phantom = random_phantom(seed)
    petct = draw(phantom, SCANNERS["small"])
    lesions = locate(petct, LesionRules())
    if not lesions:
        return False
    truth = tumour_region(phantom, petct.pet.grid).mask
    found = lesions[0].on_pet.mask
    dice = 2 * np.count_nonzero(found & truth) / (found.sum() + truth.sum())
    true_max = float(petct.pet.voxels[truth].max())
    return dice >= 0.7 and abs(lesions[0].suv_max - true_max) <= 0.05 * true_max


@pytest.mark.slow
def test_the_primary_is_found_in_at_least_95_of_100_phantoms():
    """Measured: 99. The one that is missed is 10 mm wide, four voxels, and comes out too large."""
    missed = [seed for seed in range(100) if not is_found(seed)]

    assert len(missed) <= 5, missed
