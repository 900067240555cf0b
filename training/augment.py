"""Moves a cube before its planes are taken, with one draw for PET and CT."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from inference.card import Inputs
from training.recipe import AugmentationRecipe


@dataclass(frozen=True, kw_only=True, eq=False)
class Moves:
    """One move for each case of a batch, in (slice, row, column).

    ``turn`` is ``(n, 3, 3)`` and holds the magnification too; ``shift_voxels`` is ``(n, 3)``.
    """

    turn: Tensor
    shift_voxels: Tensor

    def of(self, cases: slice) -> "Moves":
        """Return those of some of the cases."""
        return Moves(turn=self.turn[cases], shift_voxels=self.shift_voxels[cases])


def draw_moves(
    count: int, recipe: AugmentationRecipe, inputs: Inputs, generator: torch.Generator
) -> Moves:
    """Draw turns (evenly over all rotations), flips, magnifications and shifts."""
    turned = torch.rand(count, generator=generator) < recipe.turn_probability
    rotations = torch.where(
        turned[:, None, None], _rotations(count, generator), torch.eye(3).expand(count, 3, 3)
    )
    flips = torch.randint(0, 2, (count, 1, 3), generator=generator) * 2.0 - 1.0
    low, high = recipe.scale
    zoom = low + (high - low) * torch.rand(count, 1, 1, generator=generator)
    reach = recipe.shift_mm / inputs.spacing_mm
    shift = (torch.rand(count, 3, generator=generator) * 2 - 1) * reach
    return Moves(turn=rotations * flips / zoom, shift_voxels=shift)


def still(count: int) -> Moves:
    """Return the moves that leave everything where it is."""
    return Moves(turn=torch.eye(3).repeat(count, 1, 1), shift_voxels=torch.zeros(count, 3))


def moved_planes(cubes: Tensor, moves: Moves, inputs: Inputs) -> Tensor:
    """Move ``(n, modality, side, side, side)`` cubes and take their planes.

    Returns ``(n, modality, plane, row, column)``. Only the voxels of the planes are interpolated,
    which is the same as moving the whole cube first. Beyond the cube its edge is repeated.
    """
    return _sampled(cubes, _plane_offsets(inputs), moves, inputs)


def moved_cubes(cubes: Tensor, moves: Moves, inputs: Inputs) -> Tensor:
    """Move ``(n, modality, side, side, side)`` cubes and take their middle, on the cubes' device.

    Returns ``(n, modality, slice, row, column)`` of ``crop_side`` voxels each.
    """
    ticks = torch.arange(inputs.crop_side, dtype=torch.float32) - inputs.crop_side // 2
    offsets = torch.stack(torch.meshgrid(ticks, ticks, ticks, indexing="ij"), dim=-1)
    return _sampled(cubes, offsets, moves, inputs)


def _sampled(cubes: Tensor, offsets: Tensor, moves: Moves, inputs: Inputs) -> Tensor:
    """Interpolate at ``offsets`` from the middle, ``(a, b, c, 3)``, after each case's own move."""
    offsets, turn, shift = (
        values.to(cubes.device) for values in (offsets, moves.turn, moves.shift_voxels)
    )
    points = offsets @ turn.transpose(1, 2)[:, None, None]
    points = points + shift[:, None, None, None] + inputs.cube_side // 2
    scaled = points * (2.0 / (inputs.cube_side - 1)) - 1.0
    return functional.grid_sample(
        cubes,
        scaled.flip(-1),  # grid_sample wants (column, row, slice)
        mode="bilinear",
        padding_mode="border",
        align_corners=True,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Jitter:
    """A factor on SUV, ``(n, 1, 1, 1)``, and HU to add to each pixel, for each case of a batch."""

    gain: Tensor
    noise_hu: Tensor

    def of(self, cases: slice) -> "Jitter":
        """Return that of some of the cases."""
        return Jitter(gain=self.gain[cases], noise_hu=self.noise_hu[cases])

    def applied(self, images: Tensor) -> Tensor:
        """Change ``(n, modality, ...)`` images: PET and CT err independently."""
        gain, noise = self.gain.to(images.device), self.noise_hu.to(images.device)
        return torch.stack([images[:, 0] * gain, images[:, 1] + noise], dim=1)


def draw_jitter(
    shape: Sequence[int], recipe: AugmentationRecipe, generator: torch.Generator
) -> Jitter:
    """Draw for a batch whose images of one modality have this shape, the number of cases first."""
    count = shape[0]
    gain = torch.exp(recipe.pet_gain * torch.randn(count, 1, 1, 1, generator=generator))
    sd_hu = recipe.ct_noise_hu * torch.rand(count, 1, 1, 1, generator=generator)
    return Jitter(gain=gain, noise_hu=sd_hu * torch.randn(*shape, generator=generator))


def jitter_intensities(
    planes: Tensor, recipe: AugmentationRecipe, generator: torch.Generator
) -> Tensor:
    """Scale SUV by one factor a case and add noise to HU: PET and CT err independently."""
    return draw_jitter(planes[:, 1].shape, recipe, generator).applied(planes)


def _plane_offsets(inputs: Inputs) -> Tensor:
    """Offsets of each pixel from the middle voxel: ``(plane, row, column, 3)``."""
    ticks = torch.arange(inputs.crop_side, dtype=torch.float32) - inputs.crop_side // 2
    down, along = torch.meshgrid(ticks, ticks, indexing="ij")
    nought = torch.zeros_like(down)
    return torch.stack(
        [
            torch.stack([nought, down, along], dim=-1),
            torch.stack([down, nought, along], dim=-1),
            torch.stack([down, along, nought], dim=-1),
        ]
    )


def _rotations(count: int, generator: torch.Generator) -> Tensor:
    """Rotations spread evenly: from unit quaternions of normal numbers."""
    q = functional.normalize(torch.randn(count, 4, generator=generator), dim=1)
    w, x, y, z = q.unbind(1)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)
