"""Steps of gradient descent: which optimiser, how fast, on which cases, and averaged how."""

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from training.cohort import Indices, Labels
from training.recipe import FitRecipe, Optimiser, Schedule


def optimiser_of(network: nn.Module, recipe: FitRecipe) -> torch.optim.Optimizer:
    """Return the recipe's optimiser over all weights."""
    if recipe.optimiser is Optimiser.SGD:
        return torch.optim.SGD(
            network.parameters(),
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
        )
    return torch.optim.AdamW(
        network.parameters(),
        lr=recipe.learning_rate,
        betas=(recipe.momentum, 0.999),
        weight_decay=recipe.weight_decay,
    )


def rate_at(epoch: int, recipe: FitRecipe) -> float:
    """Return the learning rate of an epoch (from 0) as a share of the recipe's.

    It rises evenly from a tenth during the warm-up, then falls as the schedule says.
    """
    warm = recipe.warm_up_epochs
    if epoch < warm:
        return 0.1 + 0.9 * epoch / warm
    if recipe.schedule is Schedule.STEP:
        return float(recipe.step_factor ** ((epoch - warm) // recipe.step_epochs))
    share = (epoch - warm) / max(recipe.epochs - warm, 1)
    return 0.5 * (1.0 + math.cos(math.pi * share))


def averaged(network: nn.Module, recipe: FitRecipe) -> AveragedModel | None:
    """Return a running average of the network's weights and statistics, or None if none is asked.

    It begins with the weights after the first step.
    """
    if recipe.ema_decay == 0:
        return None
    average = get_ema_multi_avg_fn(recipe.ema_decay)
    return AveragedModel(network, multi_avg_fn=average, use_buffers=True)


def order_of(
    cases: Indices, labels: Labels, positive_share: float | None, generator: torch.Generator
) -> Indices:
    """Return as many of ``cases`` as there are, in the order of an epoch.

    They are drawn with replacement, such that positive ones have their share; where that is None,
    each comes once. ``labels`` are those of all cases of the pool.
    """
    if positive_share is None:
        drawn = torch.randperm(len(cases), generator=generator)
    else:
        weights = drawing_weights(labels[cases], positive_share)
        drawn = torch.multinomial(weights, len(cases), replacement=True, generator=generator)
    order: Indices = cases[drawn.numpy()]
    return order


def drawing_weights(labels: Labels, positive_share: float) -> Tensor:
    """Return a weight for each case, such that positive ones are drawn at their share."""
    positive = labels.mean()
    if not 0 < positive < 1:
        raise ValueError("training needs cases of both classes")
    weights = np.where(labels, positive_share / positive, (1 - positive_share) / (1 - positive))
    return torch.from_numpy(weights)
