"""Trains one network on one task, the same way each time it is run."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from inference.card import Channel, Inputs
from training.augment import jitter_intensities
from training.cohort import Indices, Labels
from training.images import Floats, Halves, Images
from training.losses import deep_loss
from training.recipe import AugmentationRecipe, FitRecipe, Optimiser
from training.statistics import auroc

Epoch = Callable[[int, float, float], None]
"""Told after each epoch: its number, the mean loss and the AUROC in validation."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Examples:
    """Images of a pool, and which of its cases train and which validate one task."""

    images: Images
    labels: Labels
    training: Indices
    validation: Indices


@dataclass(frozen=True, kw_only=True)
class Trainer:
    """Everything of the recipe that training one network needs."""

    fit: FitRecipe
    augmentation: AugmentationRecipe
    inputs: Inputs
    seed: int

    def train(
        self, build: Callable[[], nn.Module], examples: Examples, *, report: Epoch
    ) -> nn.Module:
        """Return the network with the weights of the epoch that was best in validation.

        Only the AUROC in validation chooses the epoch. On a CPU the same seed, number of threads
        and machine give the same weights; the global random state is left as it was.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            # Channels last is a fifth faster on a CPU; it changes no shape.
            network = build().to(memory_format=torch.channels_last)
            generator = torch.Generator().manual_seed(self.seed)
            self._descend(network, examples, generator, report)
        return network.to(memory_format=torch.contiguous_format).eval()

    def _descend(
        self, network: nn.Module, examples: Examples, generator: torch.Generator, report: Epoch
    ) -> None:
        optimiser = optimiser_of(network, self.fit)
        held_out = examples.validation
        best, best_epoch = -1.0, -1
        weights: dict[str, Tensor] = {}
        for epoch in range(self.fit.epochs):
            for group in optimiser.param_groups:
                group["lr"] = self.fit.learning_rate * rate_at(epoch, self.fit)
            loss = self._epoch(network, examples, optimiser, generator)
            scores = margins(network, examples.images.planes[held_out], self.inputs)
            reached = auroc(examples.labels[held_out], scores)
            report(epoch, loss, reached)
            if reached > best:
                best, best_epoch = reached, epoch
                weights = {k: v.clone() for k, v in network.state_dict().items()}
            elif epoch - best_epoch >= self.fit.patience:
                break
        network.load_state_dict(weights)

    def _epoch(
        self,
        network: nn.Module,
        examples: Examples,
        optimiser: torch.optim.Optimizer,
        generator: torch.Generator,
    ) -> float:
        """Draw as many cases as there are, both classes alike, and step once a batch."""
        network.train()
        drawn = torch.multinomial(
            balancing_weights(examples.labels[examples.training]),
            len(examples.training),
            replacement=True,
            generator=generator,
        )
        order = examples.training[drawn.numpy()]
        losses = []
        for start in range(0, len(order) - 1, self.fit.batch):  # a batch norm needs two
            chosen = order[start : start + self.fit.batch]
            pet, ct = self._augmented(examples.images, chosen, generator)
            labels = torch.from_numpy(examples.labels[chosen].astype(np.int64))
            loss = deep_loss(
                network(pet, ct),
                labels,
                gamma=self.fit.focal_gamma,
                weight=self.fit.auxiliary_weight,
            )
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), self.fit.gradient_norm)
            optimiser.step()
            losses.append(float(loss.detach()))
        return sum(losses) / len(losses)

    def _augmented(
        self, images: Images, chosen: Indices, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        variants = images.moved.shape[1]
        variant = torch.randint(variants, (len(chosen),), generator=generator).numpy()
        planes = torch.from_numpy(images.moved[chosen, variant]).float()
        return as_inputs(jitter_intensities(planes, self.augmentation, generator), self.inputs)


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

    It rises evenly from a tenth during the warm-up, then falls along half a cosine.
    """
    warm = recipe.warm_up_epochs
    if epoch < warm:
        return 0.1 + 0.9 * epoch / warm
    share = (epoch - warm) / max(recipe.epochs - warm, 1)
    return 0.5 * (1.0 + math.cos(math.pi * share))


def balancing_weights(labels: Labels) -> Tensor:
    """Return a weight for each case, such that both classes are drawn equally often."""
    positive = labels.mean()
    if not 0 < positive < 1:
        raise ValueError("training needs cases of both classes")
    return torch.from_numpy(np.where(labels, 0.5 / positive, 0.5 / (1 - positive)))


def as_inputs(planes: Tensor, inputs: Inputs) -> tuple[Tensor, Tensor]:
    """Clip and normalise ``(n, modality, plane, row, column)`` as serving does; PET, then CT."""
    pet, ct = (
        ((planes[:, index].clamp(*channel.clip) - channel.mean) / channel.sd).contiguous(
            memory_format=torch.channels_last
        )
        for index, channel in enumerate((inputs.pet, inputs.ct))
    )
    return pet, ct


def margins(network: nn.Module, planes: Halves, inputs: Inputs) -> Floats:
    """Return logit 1 - logit 0 of each case, unaugmented."""
    network.eval()
    found = []
    with torch.inference_mode():
        for start in range(0, len(planes), 128):
            batch = torch.from_numpy(planes[start : start + 128].astype(np.float32))
            logits = network(*as_inputs(batch, inputs))[0]
            found.append((logits[:, 1] - logits[:, 0]).double().numpy())
    result: Floats = np.concatenate(found)
    return result


def fitted_inputs(planes: Halves, unit: Inputs) -> Inputs:
    """Return ``unit`` with the mean and SD of ``(n, modality, plane, row, column)`` planes."""
    pet, ct = (
        _fitted(planes[:, index], channel) for index, channel in enumerate((unit.pet, unit.ct))
    )
    return replace(unit, pet=pet, ct=ct)


def _fitted(values: Halves, unit: Channel) -> Channel:
    mean, sd = (round(float(f(values, dtype=np.float64)), 6) for f in (np.mean, np.std))
    return replace(unit, mean=mean, sd=sd)
