from dataclasses import replace

import numpy as np
import pytest
import torch

from inference.preprocess import crop_start, planes
from training.augment import (
    Moves,
    draw_moves,
    jitter_intensities,
    moved_cubes,
    moved_planes,
    still,
)


@pytest.fixture(scope="module")
def cubes(tiny_inputs):
    side = tiny_inputs.cube_side
    return torch.rand(2, 2, side, side, side, generator=torch.Generator().manual_seed(0))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_what_does_not_move_is_what_serving_sees(cubes, tiny_inputs):
    found = moved_planes(cubes, still(2), tiny_inputs).numpy()

    for case in range(2):
        for modality in range(2):
            expected = planes(cubes[case, modality].numpy(), tiny_inputs)
            assert np.allclose(found[case, modality], expected, atol=1e-5)


def test_a_quarter_turn_about_the_slice_axis_turns_the_axial_plane(cubes, tiny_inputs):
    turn = torch.tensor([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]]).repeat(2, 1, 1)
    moves = Moves(turn=turn, shift_voxels=torch.zeros(2, 3))

    found = moved_planes(cubes, moves, tiny_inputs)[0, 0, 0].numpy()

    # Pixel (row r, column c) from the middle shows what was at (-c, r).
    before = cubes[0, 0, tiny_inputs.cube_side // 2].numpy()
    middle, reach = tiny_inputs.cube_side // 2, tiny_inputs.crop_side // 2
    assert found[reach + 3, reach + 5] == pytest.approx(before[middle - 5, middle + 3], abs=1e-4)


def test_a_shift_of_whole_voxels_shows_the_neighbours(cubes, tiny_inputs):
    moves = Moves(turn=torch.eye(3).repeat(2, 1, 1), shift_voxels=torch.tensor([[1.0, 2, -1]] * 2))

    found = moved_planes(cubes, moves, tiny_inputs)[1, 1, 0].numpy()

    middle, reach = tiny_inputs.cube_side // 2, tiny_inputs.crop_side // 2
    expected = cubes[1, 1, middle + 1, middle + 2, middle - 1]
    assert found[reach, reach] == pytest.approx(float(expected), abs=1e-4)


def test_pet_and_ct_of_a_case_move_together(cubes, tiny_inputs, tiny_recipe):
    twins = cubes[:, :1].repeat(1, 2, 1, 1, 1)
    moves = draw_moves(2, tiny_recipe.augmentation, tiny_inputs, generator())

    found = moved_planes(twins, moves, tiny_inputs)

    assert torch.equal(found[:, 0], found[:, 1])
    assert not torch.allclose(found, moved_planes(twins, still(2), tiny_inputs))


def test_turns_are_rotations_and_magnifications_stay_in_their_range(tiny_inputs, tiny_recipe):
    recipe = replace(tiny_recipe.augmentation, turn_probability=1.0)

    moves = draw_moves(200, recipe, tiny_inputs, generator())

    product = moves.turn @ moves.turn.transpose(1, 2)
    size = product.diagonal(dim1=1, dim2=2).mean(1)
    assert torch.allclose(product, size[:, None, None] * torch.eye(3), atol=1e-5)
    low, high = recipe.scale
    assert bool(((size > (1 / high) ** 2 - 1e-5) & (size < (1 / low) ** 2 + 1e-5)).all())
    reach = recipe.shift_mm / tiny_inputs.spacing_mm
    assert float(moves.shift_voxels.abs().max()) <= reach


def test_about_the_asked_share_is_turned(tiny_inputs, tiny_recipe):
    moves = draw_moves(1000, tiny_recipe.augmentation, tiny_inputs, generator())

    off_diagonal = moves.turn - torch.diag_embed(moves.turn.diagonal(dim1=1, dim2=2))
    turned = (off_diagonal.abs().amax(dim=(1, 2)) > 1e-6).float().mean()
    assert 0.45 < float(turned) < 0.55


def test_suv_and_hu_err_independently(tiny_recipe):
    flat = torch.ones(50, 2, 3, 8, 8)

    found = jitter_intensities(flat, tiny_recipe.augmentation, generator())

    gain = found[:, 0].flatten(1)
    assert torch.equal(gain.amin(1), gain.amax(1))
    assert 0.02 < float(gain[:, 0].log().std()) < 0.09
    assert float((found[:, 1] - 1).mean().abs()) < 0.5
    assert 2 < float((found[:, 1] - 1).std()) < 15


def test_the_same_generator_draws_the_same_moves(tiny_inputs, tiny_recipe):
    first, second = (
        draw_moves(5, tiny_recipe.augmentation, tiny_inputs, generator(7)) for _ in range(2)
    )

    assert torch.equal(first.turn, second.turn)
    assert torch.equal(first.shift_voxels, second.shift_voxels)


def test_a_cube_that_does_not_move_is_cut_to_its_middle(tiny_inputs):
    cubes = torch.randn(2, 2, *(tiny_inputs.cube_side,) * 3)
    start = crop_start(tiny_inputs)
    crop = slice(start, start + tiny_inputs.crop_side)

    found = moved_cubes(cubes, still(2), tiny_inputs)

    assert torch.allclose(found, cubes[:, :, crop, crop, crop], atol=1e-4)


def test_the_planes_of_a_moved_cube_are_the_moved_planes(tiny_inputs, tiny_recipe):
    """Both by the same draw, so through the middle voxel they must be the same."""
    cubes = torch.randn(3, 2, *(tiny_inputs.cube_side,) * 3)
    generator = torch.Generator().manual_seed(1)
    moves = draw_moves(3, tiny_recipe.augmentation, tiny_inputs, generator)
    middle = tiny_inputs.crop_side // 2

    whole = moved_cubes(cubes, moves, tiny_inputs)
    flat = moved_planes(cubes, moves, tiny_inputs)

    assert torch.allclose(whole[:, :, middle], flat[:, :, 0], atol=1e-4)
    assert torch.allclose(whole[:, :, :, middle], flat[:, :, 1], atol=1e-4)
    assert torch.allclose(whole[:, :, :, :, middle], flat[:, :, 2], atol=1e-4)


def test_pet_and_ct_of_a_cube_move_alike(tiny_inputs, tiny_recipe):
    one = torch.randn(2, 1, *(tiny_inputs.cube_side,) * 3)
    generator = torch.Generator().manual_seed(2)
    moves = draw_moves(2, tiny_recipe.augmentation, tiny_inputs, generator)

    found = moved_cubes(one.expand(-1, 2, -1, -1, -1), moves, tiny_inputs)

    assert torch.equal(found[:, 0], found[:, 1])
