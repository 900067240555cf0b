from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from training.networks import Fusion, Late, cube_encoder, network_of
from training.recipe import Model, Shortcut


@pytest.fixture(autouse=True)
def seeded():
    """Draws the same weights each time."""
    torch.manual_seed(0)


@pytest.fixture
def narrow(tiny_recipe):
    return replace(tiny_recipe.network, widths=(4, 4, 4, 4))


def images(model, count=2, side=32):
    generator = torch.Generator().manual_seed(3)
    shape = (count, side if model.volumetric else 3, side, side)
    pet, ct = (torch.randn(shape, generator=generator) for _ in range(2))
    return pet, ct


def parameters(network):
    return sum(value.numel() for value in network.parameters())


def test_the_published_network_has_24_5_million_weights(tiny_recipe):
    """Two ResNet-18 of 11 176 512, a head of 1 055 234 and two of 528 898.

    A head of c channels: batch norm 4 c, dense 2 c * 512 + 512, batch norm 1024, dense 1026.
    """
    published = replace(tiny_recipe.network, widths=(64, 128, 256, 512), hidden=512)

    network = Fusion(published)

    assert parameters(network.pet_encoder) == parameters(network.ct_encoder) == 11_176_512
    assert parameters(network.head) == 4 * 1024 + 2048 * 512 + 512 + 1024 + 1026 == 1_055_234
    assert parameters(network.pet_head) == 4 * 512 + 1024 * 512 + 512 + 1024 + 1026 == 528_898
    assert round(parameters(network) / 1e6, 1) == 24.5


@pytest.mark.parametrize("model", list(Model))
def test_every_model_gives_two_logits_a_head(narrow, model):
    heads = 1 if model.removesuffix("-3d") in ("pet", "ct", "early") else 3

    outputs = network_of(model, narrow).eval()(*images(model))

    assert [tuple(logits.shape) for logits in outputs] == [(2, 2)] * heads


@pytest.mark.parametrize("model", list(Model))
def test_a_model_looks_at_the_modalities_that_it_is_named_for(narrow, model):
    """The gradient of its answer on the image of a modality is nought where it does not look."""
    active = replace(narrow, widths=(16, 16, 16, 16), hidden=64)  # whatever is drawn, some are
    pet, ct = (image.requires_grad_() for image in images(model))
    logits = network_of(model, active).eval()(pet, ct)[0]

    logits[:, 1].sum().backward()

    kind = model.removesuffix("-3d")
    assert (pet.grad is not None and bool(pet.grad.any())) == (kind != "ct")
    assert (ct.grad is not None and bool(ct.grad.any())) == (kind != "pet")


def test_late_fusion_gives_the_mean_of_both_probabilities(narrow):
    network = Late(narrow).eval()

    both, pet, ct = network(*images(Model.LATE))

    mean = (functional.softmax(pet, dim=1) + functional.softmax(ct, dim=1)) / 2
    assert torch.allclose(functional.softmax(both, dim=1), mean, atol=1e-6)


def test_the_stem_of_a_cube_halves_twice_before_the_stages_halve_thrice():
    """64 voxels become 2: a thirty-second."""
    assert cube_encoder((4, 4, 4, 4)).eval()(torch.zeros(1, 1, 64, 64, 64)).shape[2:] == (2, 2, 2)


@pytest.mark.parametrize("shortcut", list(Shortcut))
def test_every_shortcut_of_a_cube_lets_gradients_through(shortcut):
    """Without the inner branches the shortcuts alone carry it, which MONAI's padded ones do not."""
    encoder = cube_encoder((4, 8, 16, 32), shortcut=shortcut).eval()
    for stage in encoder.stages:
        for block in stage:
            torch.nn.init.zeros_(block.bn2.weight)
    maps = torch.rand(1, 4, 16, 16, 16, requires_grad=True)

    encoder.stages(maps).sum().backward()

    assert bool(maps.grad.any())


def test_a_padded_shortcut_takes_every_other_voxel_and_adds_noughts():
    shortcut = cube_encoder((2, 4, 8, 8), shortcut=Shortcut.PADDING).stages[1][0].downsample
    maps = torch.arange(2 * 4 * 4 * 4.0).reshape(1, 2, 4, 4, 4)

    found = shortcut(maps)

    assert np.array_equal(found[0, :2], maps[0, :, ::2, ::2, ::2])
    assert found.shape == (1, 4, 2, 2, 2)
    assert not found[0, 2:].any()
