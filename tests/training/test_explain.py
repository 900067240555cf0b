import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from training.explain import SMOOTHING, Explained, by_autograd
from training.networks import Fusion


def lively(recipe, seed=0):
    """A network nobody trained, with batch norms that are not the identity."""
    torch.manual_seed(seed)
    network = Fusion(recipe)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.weight.uniform_(0.5, 2.0)
                module.bias.normal_()
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2.0)
    return network.eval()


def mirrored(network):
    """The network whose two classes have changed places."""
    mirror = copy.deepcopy(network)
    last = mirror.head.dense[-1]
    with torch.no_grad():
        last.weight.copy_(last.weight.flip(0).clone())
        last.bias.copy_(last.bias.flip(0).clone())
    return mirror


def without_biases(network):
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.bias.zero_()
                module.running_mean.zero_()
            if isinstance(module, nn.Linear):
                module.bias.zero_()
    return network


def images(count, side, seed=1):
    generator = torch.Generator().manual_seed(seed)
    pet, ct = (torch.randn(count, 3, side, side, generator=generator) for _ in range(2))
    return pet, ct


@pytest.mark.parametrize("side", [32, 40, 48, 64])
def test_the_gradient_that_is_written_out_is_the_one_of_autograd(tiny_recipe, side):
    """40 halves to 20, 10, 5, 3 and 2: odd sides need another padding on the way back."""
    network = lively(tiny_recipe.network)

    with torch.inference_mode():
        logits, saliency, features = Explained(network)(*images(5, side))
    expected_logits, expected, hidden = by_autograd(network, *images(5, side))

    assert saliency.shape == (5, side // 2, side // 2)
    assert expected.max() > 0
    assert torch.allclose(logits, expected_logits, atol=1e-5)
    assert hidden.max() > 0.1
    assert torch.allclose(features, hidden, atol=1e-5)
    assert torch.allclose(saliency, expected, atol=1e-5 * float(expected.max()))


def test_it_is_so_for_networks_as_wide_as_the_shipped_ones(tiny_recipe):
    network = lively(replace(tiny_recipe.network, widths=(16, 32, 48, 96), hidden=96))

    with torch.inference_mode():
        _, saliency, _ = Explained(network)(*images(2, 48))
    _, expected, _ = by_autograd(network, *images(2, 48))

    assert torch.allclose(saliency, expected, atol=1e-5 * float(expected.max()))


def test_what_speaks_for_one_class_in_a_network_speaks_against_it_in_its_mirror(tiny_recipe):
    network = lively(tiny_recipe.network)

    with torch.inference_mode():
        logits, here, _ = Explained(network)(*images(2, 32))
        swapped, there, _ = Explained(mirrored(network))(*images(2, 32))

    assert torch.allclose(logits.flip(1), swapped, atol=1e-6)
    assert here.max() > 0
    assert there.max() > 0
    assert float((here * there).max()) == 0


@pytest.mark.parametrize("flat", [False, True], ids=["noise", "flat"])
def test_the_cells_of_a_network_without_biases_add_up_to_its_margin(tiny_recipe, flat):
    """Such a network is linear piece by piece, so that its margin is activation times gradient.

    Its stem is 0 where the image is, so that smoothing carries nothing over the edge. In a flat
    image most cells of a window are equally great, and must share what they add, not multiply it.
    """
    network = without_biases(lively(tiny_recipe.network))
    pet, ct = images(1, 32)
    if flat:
        pet, ct = torch.ones_like(pet), torch.ones_like(ct)
    pet, ct = (nn.functional.pad(image, (16, 16, 16, 16)) for image in (pet, ct))

    with torch.inference_mode():
        logits, speaks_for, _ = Explained(network)(pet, ct)
        _, speaks_against, _ = Explained(mirrored(network))(pet, ct)

    margin = float(logits[0, 1] - logits[0, 0])
    assert abs(margin) > 0.1
    assert float((speaks_for - speaks_against).sum()) == pytest.approx(margin, rel=1e-4)


def test_smoothing_keeps_the_sum_and_has_an_sd_of_one_cell():
    places = range(-2, 3)

    assert sum(SMOOTHING) == 1
    assert sum(w * p**2 for w, p in zip(SMOOTHING, places, strict=True)) == 1


def test_the_network_that_was_given_stays_as_it_was(tiny_recipe):
    network = lively(tiny_recipe.network)
    before = {name: value.clone() for name, value in network.state_dict().items()}

    Explained(network)

    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
