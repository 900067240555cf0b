import math

import pytest
import torch
from torch.nn import functional

from training.losses import deep_loss, focal_loss

LOGITS = torch.tensor([[0.0, 2.0], [1.0, -1.0], [0.5, 0.5]])
LABELS = torch.tensor([1, 1, 0])


def test_without_gamma_the_focal_loss_is_cross_entropy():
    expected = functional.cross_entropy(LOGITS, LABELS)

    assert torch.allclose(focal_loss(LOGITS, LABELS, gamma=0), expected)


def test_gamma_two_weighs_by_the_square_of_what_is_missing():
    """Equal logits: p = 1/2, so the loss is 1/4 of ln 2."""
    found = focal_loss(torch.zeros(1, 2), torch.tensor([0]), gamma=2)

    assert float(found) == pytest.approx(0.25 * math.log(2))


def test_each_call_gives_the_same_loss():
    first, second = (focal_loss(LOGITS, LABELS, gamma=2) for _ in range(2))

    assert torch.equal(first, second)


def test_auxiliary_heads_count_a_tenth_each():
    main, aux = focal_loss(LOGITS, LABELS, gamma=2), focal_loss(-LOGITS, LABELS, gamma=2)

    found = deep_loss((LOGITS, -LOGITS, -LOGITS), LABELS, gamma=2, weight=0.1)

    assert torch.allclose(found, main + 0.2 * aux)


def test_a_positive_case_counts_as_often_as_its_weight_says():
    """Labels 1, 1, 0: the first two losses count threefold, and three cases are three still."""
    each = [focal_loss(LOGITS[i : i + 1], LABELS[i : i + 1], gamma=2) for i in range(len(LABELS))]

    found = focal_loss(LOGITS, LABELS, gamma=2, positive_weight=3)

    assert torch.allclose(found, (3 * each[0] + 3 * each[1] + each[2]) / 3)
