"""The focal loss: cross-entropy that counts hard cases more."""

import torch
from torch import Tensor
from torch.nn import functional


def focal_loss(
    logits: Tensor, labels: Tensor, *, gamma: float, positive_weight: float = 1.0
) -> Tensor:
    """Mean of ``-(1 - p)^gamma log p``, p being the softmax probability of the true class.

    ``logits`` is ``(n, class)``, ``labels`` ``(n,)`` whole numbers; gamma 0 is cross-entropy. A
    case of class 1 counts ``positive_weight`` times; the mean is over the number of cases still.
    """
    log_p = functional.log_softmax(logits, dim=1).gather(1, labels[:, None])[:, 0]
    losses = torch.pow(1.0 - log_p.exp(), gamma) * log_p
    if positive_weight != 1.0:
        losses = losses * torch.where(labels == 1, positive_weight, 1.0)
    return -losses.mean()


def deep_loss(
    outputs: tuple[Tensor, ...],
    labels: Tensor,
    *,
    gamma: float,
    weight: float,
    positive_weight: float = 1.0,
) -> Tensor:
    """Add the auxiliary heads' losses, each at ``weight``, to the main head's."""
    main, *others = (
        focal_loss(logits, labels, gamma=gamma, positive_weight=positive_weight)
        for logits in outputs
    )
    return main + weight * sum(others)
