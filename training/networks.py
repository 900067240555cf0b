"""The networks: ResNet-18 encoders of PET and CT, joined early, in their maps, late or not at all.

Each takes PET and CT as ``(n, plane, row, column)``, or as ``(n, slice, row, column)`` where it is
volumetric, and gives logits ``(n, 2)``: those of its answer first, then those of its auxiliary
heads.
"""

from collections.abc import Sequence

import torch
from monai.networks.nets import ResNet
from monai.networks.nets.resnet import ResNetBlock
from torch import Tensor, nn
from torch.nn import functional

from inference.card import PLANES
from training.recipe import Model, NetworkRecipe, Shortcut


def encoder(widths: Sequence[int], *, channels: int = len(PLANES)) -> nn.Module:
    """Return a 2D ResNet-18 of these widths that gives its last feature map."""
    network = ResNet(
        ResNetBlock,
        [2, 2, 2, 2],
        list(widths),
        spatial_dims=2,
        n_input_channels=channels,
        conv1_t_stride=2,
        bias_downsample=False,
        feed_forward=False,
    )
    return _FeatureMap(network)


def cube_encoder(
    widths: Sequence[int], *, channels: int = 1, shortcut: Shortcut = Shortcut.CONVOLUTION
) -> nn.Module:
    """Return a 3D ResNet-18 of these widths that gives its last feature map.

    Its stem has stride 2, as MedicalNet's has and MONAI's class has not by itself.
    """
    padding = shortcut is Shortcut.PADDING
    network = ResNet(
        ResNetBlock,
        [2, 2, 2, 2],
        list(widths),
        spatial_dims=3,
        n_input_channels=channels,
        conv1_t_stride=2,
        shortcut_type="A" if padding else "B",
        bias_downsample=False,
        feed_forward=False,
    )
    if padding:
        # MONAI's own shortcut of this type lets no gradient through.
        for stage, width in zip(_stages(network), widths, strict=True):
            for block in stage:
                if block.downsample is not None:
                    block.downsample = _PaddedShortcut(width, block.stride)
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
        """Map ``(n, channel, row, column)``, or ``(n, channel, slice, row, column)``, to logits."""
        places = tuple(range(2, maps.ndim))
        pooled = torch.cat([maps.amax(dim=places), maps.mean(dim=places)], dim=1)
        return self.dense(pooled)


class Fusion(nn.Module):  # type: ignore[misc]  # as above
    """PET and CT encoders that share no weight, joined map by map (DLNMS).

    Each modality has a head of its own beside the fusion head; they only help in training.
    """

    def __init__(self, recipe: NetworkRecipe, *, volumetric: bool = False) -> None:
        super().__init__()
        last = recipe.widths[-1]
        self.volumetric = volumetric
        self.pet_encoder = _encoder(recipe, volumetric=volumetric)
        self.ct_encoder = _encoder(recipe, volumetric=volumetric)
        self.head = Head(2 * last, recipe)
        self.pet_head = Head(last, recipe)
        self.ct_head = Head(last, recipe)

    def forward(self, pet: Tensor, ct: Tensor) -> tuple[Tensor, ...]:
        """Return the logits of fusion, PET alone and CT alone."""
        pet, ct = (_channels(image, volumetric=self.volumetric) for image in (pet, ct))
        pet_maps, ct_maps = self.pet_encoder(pet), self.ct_encoder(ct)
        joined = self.head(torch.cat([pet_maps, ct_maps], dim=1))
        return joined, self.pet_head(pet_maps), self.ct_head(ct_maps)


class Single(nn.Module):  # type: ignore[misc]  # as above
    """One modality alone, for comparison; ``modality`` is ``pet`` or ``ct``."""

    def __init__(self, recipe: NetworkRecipe, modality: str, *, volumetric: bool = False) -> None:
        super().__init__()
        self.modality = modality
        self.volumetric = volumetric
        self.encoder = _encoder(recipe, volumetric=volumetric)
        self.head = Head(recipe.widths[-1], recipe)

    def forward(self, pet: Tensor, ct: Tensor) -> tuple[Tensor, ...]:
        """Return the logits of the one modality; the other is not looked at."""
        image = _channels(pet if self.modality == "pet" else ct, volumetric=self.volumetric)
        return (self.head(self.encoder(image)),)


class Early(nn.Module):  # type: ignore[misc]  # as above
    """One encoder, whose first layer joins the channels of PET and CT."""

    def __init__(self, recipe: NetworkRecipe, *, volumetric: bool = False) -> None:
        super().__init__()
        self.volumetric = volumetric
        self.encoder = _encoder(recipe, volumetric=volumetric, images=2)
        self.head = Head(recipe.widths[-1], recipe)

    def forward(self, pet: Tensor, ct: Tensor) -> tuple[Tensor, ...]:
        """Return the logits of both modalities seen as one image."""
        pet, ct = (_channels(image, volumetric=self.volumetric) for image in (pet, ct))
        return (self.head(self.encoder(torch.cat([pet, ct], dim=1))),)


class Late(nn.Module):  # type: ignore[misc]  # as above
    """A whole network for each modality; the answer is the mean of their probabilities."""

    def __init__(self, recipe: NetworkRecipe, *, volumetric: bool = False) -> None:
        super().__init__()
        self.volumetric = volumetric
        self.pet = Single(recipe, "pet", volumetric=volumetric)
        self.ct = Single(recipe, "ct", volumetric=volumetric)

    def forward(self, pet: Tensor, ct: Tensor) -> tuple[Tensor, ...]:
        """Return the log of twice the mean probability of each class, PET alone and CT alone."""
        (pet_logits,), (ct_logits,) = self.pet(pet, ct), self.ct(pet, ct)
        both = torch.logaddexp(
            functional.log_softmax(pet_logits, dim=1), functional.log_softmax(ct_logits, dim=1)
        )
        return both, pet_logits, ct_logits


def network_of(model: Model, recipe: NetworkRecipe) -> nn.Module:
    """Return the untrained network of a model's name."""
    volumetric = model.volumetric
    kind = model.removesuffix("-3d")
    if kind == Model.FUSION:
        return Fusion(recipe, volumetric=volumetric)
    if kind == Model.EARLY:
        return Early(recipe, volumetric=volumetric)
    if kind == Model.LATE:
        return Late(recipe, volumetric=volumetric)
    return Single(recipe, kind, volumetric=volumetric)


class _FeatureMap(nn.Module):  # type: ignore[misc]  # as above
    """A MONAI ResNet cut before its pooling."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.stem = nn.Sequential(network.conv1, network.bn1, nn.ReLU(), network.maxpool)
        self.stages = nn.Sequential(*_stages(network))

    def forward(self, image: Tensor) -> Tensor:
        """Map ``(n, channel, ...)`` to maps a thirty-second as long on each side."""
        maps: Tensor = self.stages(self.stem(image))
        return maps


class _PaddedShortcut(nn.Module):  # type: ignore[misc]  # as above
    """Takes every ``stride``-th voxel, and adds noughts up to ``width`` channels."""

    def __init__(self, width: int, stride: int) -> None:
        super().__init__()
        self.width, self.stride = width, stride

    def forward(self, maps: Tensor) -> Tensor:
        step = self.stride
        thinned = maps[:, :, ::step, ::step, ::step]
        missing = self.width - maps.shape[1]
        padded: Tensor = functional.pad(thinned, (0, 0, 0, 0, 0, 0, 0, missing))
        return padded


def _stages(network: nn.Module) -> tuple[nn.Module, ...]:
    return network.layer1, network.layer2, network.layer3, network.layer4


def _encoder(recipe: NetworkRecipe, *, volumetric: bool, images: int = 1) -> nn.Module:
    if volumetric:
        return cube_encoder(recipe.widths, channels=images, shortcut=recipe.cube_shortcut)
    return encoder(recipe.widths, channels=images * len(PLANES))


def _channels(image: Tensor, *, volumetric: bool) -> Tensor:
    """Planes are channels already; a volume is one channel."""
    return image.unsqueeze(1) if volumetric else image
