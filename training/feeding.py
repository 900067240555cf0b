"""Brings images to a network: normalised as serving does, moved alike for PET and CT."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from inference.card import Channel, Inputs
from inference.preprocess import normalise
from inference.volume import Voxels
from training.augment import draw_jitter, draw_moves, moved_cubes
from training.cohort import Indices, Labels
from training.distributed import ALONE, World
from training.images import Floats, Halves, Images
from training.recipe import AugmentationRecipe

T = TypeVar("T")

SERVED = 64
"""Cases of one batch that an engine is given."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """The share of one batch that this process works on, on its device."""

    pet: Tensor
    ct: Tensor
    labels: Tensor
    weight: float
    """By which its mean loss counts, so that the mean over all processes is that of the batch."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Feed:
    """Augmented batches of a pool for networks that see planes, or the cube."""

    images: Images
    labels: Labels
    inputs: Inputs
    augmentation: AugmentationRecipe
    volumetric: bool
    world: World = ALONE

    def batches(self, order: Indices, size: int, generator: torch.Generator) -> Iterator[Batch]:
        """Yield ``order`` in batches of ``size``; a rest too small to be shared out is left out.

        Every process draws for the whole batch, so that all draw the same.
        """
        least = max(2, self.world.size)  # a batch norm needs two
        for start in range(0, len(order) - least + 1, size):
            chosen = order[start : start + size]
            mine = self.world.share(len(chosen))
            pet, ct = self._augmented(chosen, mine, generator)
            labels = torch.from_numpy(self.labels[chosen[mine]].astype(np.int64))
            yield Batch(
                pet=pet,
                ct=ct,
                labels=labels.to(self.world.device),
                weight=len(labels) * self.world.size / len(chosen),
            )

    def _augmented(
        self, chosen: Indices, mine: slice, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        side, device = self.inputs.crop_side, self.world.device
        if self.volumetric:
            cubes = cubes_of(self.images)
            moves = draw_moves(len(chosen), self.augmentation, self.inputs, generator).of(mine)
            still = torch.from_numpy(cubes[chosen[mine]]).to(device).float()
            seen, depth = moved_cubes(still, moves, self.inputs), side
        else:
            moved = self.images.moved
            variant = torch.randint(moved.shape[1], (len(chosen),), generator=generator).numpy()
            planes = torch.from_numpy(moved[chosen[mine], variant[mine]])
            seen, depth = planes.to(device).float(), moved.shape[3]
        jitter = draw_jitter((len(chosen), depth, side, side), self.augmentation, generator)
        return as_inputs(jitter.of(mine).applied(seen), self.inputs)


def ahead(batches: Iterator[T]) -> Iterator[T]:
    """Yield the same, each made in a thread while the one before it is used."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = pool.submit(next, batches, None)
            yield batch


def as_inputs(seen: Tensor, inputs: Inputs) -> tuple[Tensor, Tensor]:
    """Clip and normalise ``(n, modality, ..., row, column)`` as serving does; PET, then CT."""
    pet, ct = (
        ((seen[:, index].clamp(*channel.clip) - channel.mean) / channel.sd).contiguous(
            memory_format=torch.channels_last
        )
        for index, channel in enumerate((inputs.pet, inputs.ct))
    )
    return pet, ct


def as_served(
    planes: Halves, inputs: Inputs, cases: Indices | None = None
) -> Iterator[tuple[Voxels, Voxels]]:
    """Yield ``(case, modality, plane, row, column)`` in batches, normalised as serving does.

    All cases or the given ones; PET, then CT, each ``(n, plane, row, column)`` as engines take it.
    """
    wanted = np.arange(len(planes)) if cases is None else cases
    for start in range(0, len(wanted), SERVED):
        seen = planes[wanted[start : start + SERVED]].astype(np.float32)
        yield normalise(seen[:, 0], inputs.pet), normalise(seen[:, 1], inputs.ct)


def seen_by(network: nn.Module, images: Images, inputs: Inputs) -> Halves:
    """Return the unmoved images that a network looks at, where they lie: planes, or middles."""
    if not network.volumetric:
        return images.planes
    start = inputs.cube_side // 2 - inputs.crop_side // 2
    crop = slice(start, start + inputs.crop_side)
    return cubes_of(images)[:, :, crop, crop, crop]


def margins(
    network: nn.Module, seen: Halves, inputs: Inputs, cases: Indices | None = None
) -> Floats:
    """Return logit 1 - logit 0 of each case, or of the given ones, unaugmented, in float32."""
    network.eval()
    device = next(network.parameters()).device
    wanted = np.arange(len(seen)) if cases is None else cases
    found = [np.empty(0)]
    with torch.inference_mode():
        for start in range(0, len(wanted), 128):
            batch = torch.from_numpy(seen[wanted[start : start + 128]].astype(np.float32))
            logits = network(*as_inputs(batch.to(device), inputs))[0]
            found.append((logits[:, 1] - logits[:, 0]).double().cpu().numpy())
    result: Floats = np.concatenate(found)
    return result


def fitted_inputs(planes: Halves, unit: Inputs) -> Inputs:
    """Return ``unit`` with the mean and SD of ``(n, modality, plane, row, column)`` planes."""
    pet, ct = (
        _fitted(planes[:, index], channel) for index, channel in enumerate((unit.pet, unit.ct))
    )
    return replace(unit, pet=pet, ct=ct)


def cubes_of(images: Images) -> Halves:
    """Return the cubes; ``ValueError`` where none were drawn."""
    if images.cubes is None:
        raise ValueError("a network that sees cubes needs images drawn with them")
    return images.cubes


def _fitted(values: Halves, unit: Channel) -> Channel:
    mean, sd = (round(float(f(values, dtype=np.float64)), 6) for f in (np.mean, np.std))
    return replace(unit, mean=mean, sd=sd)
