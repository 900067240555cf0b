"""Writes out, in forward operations alone, where a fusion network looked and what it saw.

An inference engine has no autograd, so the gradient of the margin (logit 1 - logit 0) is spelt out:
each operation gives its result and the way back, from a gradient on the result to one on its input.
"""

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from training.networks import Fusion

Back = Callable[[Tensor], Tensor]
"""Carries the margin's gradient from an operation's result to its input."""

SMOOTHING = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)
"""Along rows and columns: SD one cell. Strides leave a chequered gradient, which this evens out."""


class Explained(nn.Module):  # type: ignore[misc]  # torch is not followed, so Module is Any
    """A trained fusion network that gives its saliency and its features beside its logits.

    The saliency is HiResCAM (Draelos and Carin, arXiv:2011.08891), that is Grad-CAM whose gradients
    are not averaged over the map before they meet the activations, of the maps that both stems give
    before their pooling: half as many cells as pixels along each side, cell ``i`` on pixel ``2 i``.
    A cell's number is what it adds to the margin, smoothed, and 0 where it takes away. The features
    are mean and maximum of each map of both stems and of both first stages: what later layers make
    of them tells less of whether the images are like those of training.
    """

    def __init__(self, network: Fusion) -> None:
        super().__init__()
        self.pet, self.ct = (_Encoder(e) for e in (network.pet_encoder, network.ct_encoder))
        self.head = _Head(network.head.dense)
        self.register_buffer("places", torch.eye(9).reshape(9, 1, 3, 3))
        self.register_buffer("kernel", _kernel())

    def forward(self, pet: Tensor, ct: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map two ``(n, plane, row, column)`` to logits, saliency and features.

        These are ``(n, 2)``, ``(n, row, column)`` and ``(n, feature)``.
        """
        pet_stem, pet_early, pet_maps, pet_back = self.pet(pet)
        ct_stem, ct_early, ct_maps, ct_back = self.ct(ct)
        features = _features([pet_stem, pet_early, ct_stem, ct_early])
        logits, gradient = self.head(torch.cat([pet_maps, ct_maps], dim=1))
        channels = pet_maps.shape[1]
        shares = self._shares(pet_stem, pet_back(gradient[:, :channels]))
        shares = shares + self._shares(ct_stem, ct_back(gradient[:, channels:]))
        smooth = functional.conv2d(shares, self.kernel, padding=len(SMOOTHING) // 2)
        return logits, functional.relu(smooth).squeeze(1), features

    def _shares(self, stem: Tensor, gradient: Tensor) -> Tensor:
        """Return gradient times activation of each cell of ``stem``, summed over the channels.

        ``gradient`` is that on the pooled stem. Where several cells of a window are the greatest
        they share it.
        """
        pooled = _pool(stem)
        rows, columns = pooled.shape[2:]
        padded = functional.pad(stem, (1, 1, 1, 1))
        greatest = torch.stack(
            [
                padded[:, :, y : y + 2 * rows - 1 : 2, x : x + 2 * columns - 1 : 2] == pooled
                for y in range(3)
                for x in range(3)
            ],
            dim=1,
        ).to(stem.dtype)
        each = (gradient * pooled).unsqueeze(1) / greatest.sum(dim=1, keepdim=True)
        return _transposed((greatest * each).sum(dim=2), self.places, stem, stride=2)


def by_autograd(network: Fusion, pet: Tensor, ct: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the same as ``Explained`` does, by torch's autograd: what the export is held against.

    The network must be in evaluation mode. The two differ only where several activations of one
    pooling window are equally great: torch gives all of the gradient to the first of them.
    """
    found: list[Tensor] = []
    hooks = [
        layer.register_forward_hook(lambda _module, _given, maps: found.append(maps))
        for encoder in (network.pet_encoder, network.ct_encoder)
        for layer in (encoder.stem[2], encoder.stages[0])
    ]
    try:
        logits: Tensor = network(pet, ct)[0]
    finally:
        for hook in hooks:
            hook.remove()
    stems = found[::2]
    gradients = torch.autograd.grad((logits[:, 1] - logits[:, 0]).sum(), stems)
    shares = sum(
        (gradient * stem).sum(dim=1, keepdim=True)
        for gradient, stem in zip(gradients, stems, strict=True)
    )
    smooth = functional.conv2d(shares, _kernel(), padding=len(SMOOTHING) // 2)
    return logits.detach(), functional.relu(smooth).squeeze(1).detach(), _features(found).detach()


class _Encoder(nn.Module):  # type: ignore[misc]  # as above
    """An encoder without its batch norms, which are folded into the convolutions before them."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        stem = copy.deepcopy(encoder.stem).eval()
        self.stem = fuse_conv_bn_eval(stem[0], stem[1])
        self.blocks = nn.ModuleList(_Block(b) for stage in encoder.stages for b in stage)
        self.first_stage = len(encoder.stages[0])

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Back]:
        """Return the maps of the stem and of the first stage, the last maps, and the way back.

        That leads from the last maps to the pooled stem.
        """
        stem = functional.relu(self.stem(image))
        every, ways = [_pool(stem)], []
        for block in self.blocks:
            maps, back = block(every[-1])
            every.append(maps)
            ways.append(back)

        def all_back(gradient: Tensor) -> Tensor:
            for back in reversed(ways):
                gradient = back(gradient)
            return gradient

        return stem, every[self.first_stage], every[-1], all_back


class _Block(nn.Module):  # type: ignore[misc]  # as above
    """A basic block of a ResNet without its batch norms."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        block = copy.deepcopy(block).eval()
        self.first = fuse_conv_bn_eval(block.conv1, block.bn1)
        self.second = fuse_conv_bn_eval(block.conv2, block.bn2)
        self.aside = None if block.downsample is None else fuse_conv_bn_eval(*block.downsample)

    def forward(self, maps: Tensor) -> tuple[Tensor, Back]:
        inner = functional.relu(self.first(maps))
        aside = maps if self.aside is None else self.aside(maps)
        result = functional.relu(self.second(inner) + aside)

        def back(gradient: Tensor) -> Tensor:
            gradient = _unrectified(gradient, result)
            within = _unrectified(_unconvolved(gradient, self.second, inner), inner)
            beside = gradient if self.aside is None else _unconvolved(gradient, self.aside, maps)
            return _unconvolved(within, self.first, maps) + beside

        return result, back


class _Head(nn.Module):  # type: ignore[misc]  # as above
    """The fusion head as two dense layers, each with the batch norm before it folded in."""

    def __init__(self, dense: nn.Sequential) -> None:
        super().__init__()
        first_norm, _, first, _, second_norm, _, second = dense
        self.first = _normed_first(first_norm, first)
        self.second = _normed_first(second_norm, second)

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits, and the margin's gradient on the maps."""
        channels, cells = maps.shape[1], maps.shape[2] * maps.shape[3]
        most = maps.amax(dim=(2, 3), keepdim=True)
        pooled = torch.cat([most.flatten(1), maps.mean(dim=(2, 3))], dim=1)
        hidden = functional.relu(self.first(pooled))
        logits = self.second(hidden)

        margin = self.second.weight[1] - self.second.weight[0]
        gradient = (_unrectified(margin, hidden) @ self.first.weight)[..., None, None]
        greatest = (maps == most).to(maps.dtype)
        shared = gradient[:, :channels] / greatest.sum(dim=(2, 3), keepdim=True)
        return logits, greatest * shared + gradient[:, channels:] / cells


def _normed_first(norm: nn.BatchNorm1d, dense: nn.Linear) -> nn.Linear:
    """Return the dense layer that does what ``norm``, then ``dense`` do."""
    folded = copy.deepcopy(dense)
    with torch.no_grad():
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        folded.bias += dense.weight @ (norm.bias - norm.running_mean * scale)
        folded.weight *= scale
    return folded


def _features(every: Sequence[Tensor]) -> Tensor:
    """Return mean and maximum of each map, first those of the first tensor, as ``(n, feature)``."""
    told = [part for maps in every for part in (maps.mean(dim=(2, 3)), maps.amax(dim=(2, 3)))]
    return torch.cat(told, dim=1)


def _kernel() -> Tensor:
    along = torch.tensor(SMOOTHING)
    return torch.outer(along, along)[None, None]


def _pool(stem: Tensor) -> Tensor:
    pooled: Tensor = functional.max_pool2d(stem, 3, stride=2, padding=1)
    return pooled


def _unrectified(gradient: Tensor, activation: Tensor) -> Tensor:
    """Carry a gradient back through the ReLU that gave ``activation``, which is never negative."""
    carried: Tensor = gradient * torch.sign(activation)
    return carried


def _unconvolved(gradient: Tensor, convolution: nn.Conv2d, like: Tensor) -> Tensor:
    """Carry a gradient back through a convolution whose input is as large as ``like``."""
    (stride, _), (padding, _) = convolution.stride, convolution.padding
    return _transposed(gradient, convolution.weight, like, stride=stride, padding=padding)


def _transposed(
    values: Tensor, weight: Tensor, like: Tensor, *, stride: int, padding: int = 1
) -> Tensor:
    """Convolve with the transpose of a square kernel; the result is as large as ``like``."""
    missing = [
        int(wanted) - ((int(given) - 1) * stride - 2 * padding + weight.shape[-1])
        for wanted, given in zip(like.shape[2:], values.shape[2:], strict=True)
    ]
    carried: Tensor = functional.conv_transpose2d(
        values, weight, stride=stride, padding=padding, output_padding=missing
    )
    return carried
