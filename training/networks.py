"""The networks: two 2D ResNet-18 whose feature maps are joined, and one modality alone."""

from collections.abc import Sequence

import torch
from monai.networks.nets import ResNet
from monai.networks.nets.resnet import ResNetBlock
from torch import Tensor, nn

from inference.card import PLANES
from training.recipe import NetworkRecipe


def encoder(widths: Sequence[int]) -> nn.Module:
    """Return a ResNet-18 of these widths that gives its last feature map."""
    network = ResNet(
        ResNetBlock,
        [2, 2, 2, 2],
        list(widths),
        spatial_dims=2,
        n_input_channels=len(PLANES),
        conv1_t_stride=2,
        bias_downsample=False,
        feed_forward=False,
    )
    return _FeatureMap(network)


class Head(nn.Module):  # type: ignore[misc]  # torch is not followed, so Module is Any
    """Greatest and mean of each map, then two dense layers to two logits."""

    def __init__(self, channels: int, recipe: NetworkRecipe) -> None:
        super().__init__()
        self.dense = nn.Sequential(
            nn.BatchNorm1d(2 * channels),
            nn.Dropout(recipe.dropout),
            nn.Linear(2 * channels, recipe.hidden),
            nn.ReLU(),
            nn.BatchNorm1d(recipe.hidden),
            nn.Dropout(recipe.dropout),
            nn.Linear(recipe.hidden, 2),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Map ``(n, channel, row, column)`` to ``(n, 2)``."""
        pooled = torch.cat([maps.amax(dim=(2, 3)), maps.mean(dim=(2, 3))], dim=1)
        return self.dense(pooled)


class Fusion(nn.Module):  # type: ignore[misc]  # as above
    """PET and CT encoders that share no weight, joined map by map (DLNMS).

    Each modality has a head of its own beside the fusion head; they only help in training.
    """

    def __init__(self, recipe: NetworkRecipe) -> None:
        super().__init__()
        last = recipe.widths[-1]
        self.pet_encoder = encoder(recipe.widths)
        self.ct_encoder = encoder(recipe.widths)
        self.head = Head(2 * last, recipe)
        self.pet_head = Head(last, recipe)
        self.ct_head = Head(last, recipe)

    def forward(self, pet: Tensor, ct: Tensor) -> tuple[Tensor, ...]:
        """Return the logits of fusion, PET alone and CT alone."""
        pet_maps, ct_maps = self.pet_encoder(pet), self.ct_encoder(ct)
        joined = self.head(torch.cat([pet_maps, ct_maps], dim=1))
        return joined, self.pet_head(pet_maps), self.ct_head(ct_maps)


class Single(nn.Module):  # type: ignore[misc]  # as above
    """One modality alone, for comparison; ``modality`` is ``pet`` or ``ct``."""

    def __init__(self, recipe: NetworkRecipe, modality: str) -> None:
        super().__init__()
        self.modality = modality
        self.encoder = encoder(recipe.widths)
        self.head = Head(recipe.widths[-1], recipe)

    def forward(self, pet: Tensor, ct: Tensor) -> tuple[Tensor, ...]:
        """Return the logits of the one modality; the other is not looked at."""
        return (self.head(self.encoder(pet if self.modality == "pet" else ct)),)


class _FeatureMap(nn.Module):  # type: ignore[misc]  # as above
    """A MONAI ResNet cut before its pooling."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.stem = nn.Sequential(network.conv1, network.bn1, nn.ReLU(), network.maxpool)
        self.stages = nn.Sequential(network.layer1, network.layer2, network.layer3, network.layer4)

    def forward(self, image: Tensor) -> Tensor:
        """Map ``(n, plane, row, column)`` to maps a thirty-second as wide and high."""
        maps: Tensor = self.stages(self.stem(image))
        return maps
