"""Gives encoders the weights of a local file, and tells which it did not find there."""

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor, nn

from training.errors import PretrainedUnusable
from training.recipe import NetworkRecipe, PretrainedRecipe

logger = logging.getLogger(__name__)

PREFIXES = ("module.", "model.", "backbone.", "resnet.")
"""What wrappers put before a key."""


@dataclass(frozen=True, kw_only=True)
class Match:
    """What an encoder took from a file."""

    taken: tuple[str, ...]
    missing: tuple[str, ...]
    """Weights of the encoder that the file has not, or of another shape."""
    unused: tuple[str, ...]
    """Keys of the file that the encoder has no place for, such as a classifier's."""
    share: float
    """Of the encoder's tensors or of their numbers, whichever is less."""


def load_encoders(network: nn.Module, recipe: NetworkRecipe) -> nn.Module:
    """Give each encoder of ``network`` the weights that the recipe names for it; returns it.

    Raises ``PretrainedUnusable`` where a file is none, or holds too little.
    """
    asked = recipe.cube_pretrained if network.volumetric else recipe.pretrained
    if asked is None:
        return network
    for modality, encoder in _encoders(network):
        path = _path(asked, modality)
        if path is not None:
            match = load_encoder(encoder, path, modality=modality, share_min=asked.share_min)
            told = logger.warning if match.missing else logger.info
            told(
                "%s encoder: %.1f %% of its weights from %s; not found: %s; not used: %s",
                *(modality, 100 * match.share, path.name),
                *(", ".join(match.missing) or "none", ", ".join(match.unused) or "none"),
            )
    return network


def load_encoder(encoder: nn.Module, path: Path, *, modality: str, share_min: float) -> Match:
    """Copy what fits by name and shape from ``path``; the encoder is unchanged where it refuses.

    Understood are files of torchvision (ImageNet) and MedicalNet, and networks trained here, of
    which the encoder of the same modality is taken.
    """
    found = dict(_renamed(_read(path), modality))
    wanted = {
        name: value
        for name, value in encoder.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    taken = {
        name: found[name]
        for name, value in wanted.items()
        if name in found and found[name].shape == value.shape
    }
    numbers = sum(value.numel() for value in taken.values())
    match = Match(
        taken=tuple(taken),
        missing=tuple(name for name in wanted if name not in taken),
        unused=tuple(name for name in found if name not in taken and name not in _counters(found)),
        share=min(len(taken) / len(wanted), numbers / sum(v.numel() for v in wanted.values())),
    )
    if match.share < share_min:
        raise PretrainedUnusable(
            f"{path} has {100 * match.share:.1f} % of the {modality} encoder's weights, less than "
            f"the {100 * share_min:.0f} % of share_min; missing: {', '.join(match.missing)}"
        )
    encoder.load_state_dict(taken, strict=False)
    return match


def _counters(found: Mapping[str, Tensor]) -> set[str]:
    """Batch norms count their batches, which is no weight."""
    return {name for name in found if name.endswith("num_batches_tracked")}


def _read(path: Path) -> Mapping[str, Tensor]:
    """Read tensors by name, also from under ``state_dict`` or ``weights``; no code is unpickled."""
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, UnpicklingError, EOFError, ValueError) as error:
        raise PretrainedUnusable(f"{path} cannot be read: {error}") from error
    for wrapper in ("weights", "state_dict", "network"):
        if isinstance(held, Mapping) and isinstance(held.get(wrapper), Mapping):
            held = held[wrapper]
            break
    if not isinstance(held, Mapping) or not any(torch.is_tensor(v) for v in held.values()):
        raise PretrainedUnusable(f"{path} holds no weights by name")
    return {str(name): value for name, value in held.items() if torch.is_tensor(value)}


def _renamed(held: Mapping[str, Tensor], modality: str) -> Iterator[tuple[str, Tensor]]:
    """Yield tensors by the names that an encoder has here."""
    own = _own_prefix(held, modality)
    for name, value in held.items():
        plain = name
        while plain.startswith(PREFIXES):
            plain = plain.partition(".")[2]
        if own is not None:
            if plain.startswith(own):
                yield plain.removeprefix(own), value
            continue
        plain = re.sub(r"^conv1\.", "stem.0.", plain)
        plain = re.sub(r"^bn1\.", "stem.1.", plain)
        plain = re.sub(r"^layer([1-4])\.", lambda m: f"stages.{int(m[1]) - 1}.", plain)
        yield plain, value


def _own_prefix(held: Mapping[str, Tensor], modality: str) -> str | None:
    """Return where a network trained here keeps this modality's encoder, or None if it is none."""
    for prefix in (f"{modality}_encoder.", f"{modality}.encoder.", "encoder.", ""):
        if f"{prefix}stem.0.weight" in held:
            return prefix
    return None


def _encoders(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield each encoder with the modality that it sees."""
    for name, module in network.named_modules():
        if name.endswith("encoder"):
            owner = network.get_submodule(name.rpartition(".")[0])
            yield _modality(name, owner), module


def _modality(name: str, owner: nn.Module) -> str:
    if name in ("pet_encoder", "ct_encoder"):
        return name.removesuffix("_encoder")
    return str(getattr(owner, "modality", "joint"))


def _path(asked: PretrainedRecipe, modality: str) -> Path | None:
    named = {"pet": asked.pet, "ct": asked.ct, "joint": asked.joint}[modality]
    return None if named is None else Path(named)
