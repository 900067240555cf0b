"""Cases as the networks see them, several times moved for training."""

import functools
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TypeAlias, TypeVar
from uuid import uuid4

import numpy as np
import torch
from numpy.typing import NDArray

from inference.card import PLANES, Channel, Inputs
from inference.geometry import Vector
from inference.petct import PetCt
from inference.phantom import SCANNERS, Phantom, draw, random_phantom
from inference.preprocess import Cubes, cube_grid, cubes, planes
from training.augment import draw_moves, moved_planes
from training.recipe import AugmentationRecipe, InputsRecipe

Halves: TypeAlias = NDArray[np.float16]
Floats: TypeAlias = NDArray[np.float64]
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, kw_only=True, eq=False)
class Images:
    """PET (index 0) and CT (1) of each case, clipped, in SUVbw and HU at half precision.

    ``planes`` is ``(case, modality, plane, row, column)`` as serving sees them; ``moved`` is
    ``(case, variant, modality, plane, row, column)``, each variant by another move.
    """

    planes: Halves
    moved: Halves
    suv_max: Floats
    """The greatest SUV near each case's tumour."""
    cubes: Halves | None = None
    """``(case, modality, slice, row, column)``, unmoved; None where no network sees them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Views:
    """The same of one case, without the index of the case."""

    planes: Halves
    moved: Halves
    suv_max: float
    cubes: Halves | None


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """What is made of each case."""

    scanners: tuple[str, ...] = ()
    """What phantoms are drawn on; none for patients."""
    inputs: Inputs
    augmentation: AugmentationRecipe
    variants: int
    """Moved copies of each case; none where nothing will be trained."""
    volumetric: bool = False
    """Whether whole cubes are kept too, for networks that see them."""


def unit_inputs(recipe: InputsRecipe) -> Inputs:
    """Return the recipe's inputs before any normaliser is known: mean 0, SD 1."""
    return Inputs(
        spacing_mm=recipe.spacing_mm,
        cube_side=recipe.cube_side,
        crop_side=recipe.crop_side,
        planes=PLANES,
        pet=Channel(clip=recipe.pet_clip, mean=0.0, sd=1.0, fill=recipe.pet_clip[0]),
        ct=Channel(clip=recipe.ct_clip, mean=0.0, sd=1.0, fill=recipe.ct_clip[0]),
    )


def draw_images(
    seeds: Sequence[int],
    drawing: Drawing,
    *,
    processes: int = 1,
    advance: Callable[[], None] = lambda: None,
) -> Images:
    """Draw one phantom a seed, and call ``advance`` after each.

    Each case depends on its seed alone, so not on ``processes`` nor on the other cases.
    """
    work = functools.partial(_draw_one, drawing=drawing)
    return gathered(spread(work, seeds, processes), len(seeds), drawing, advance=advance)


def gathered(
    views: Iterable[Views],
    count: int,
    drawing: Drawing,
    *,
    advance: Callable[[], None] = lambda: None,
) -> Images:
    """Join the views of ``count`` cases, and call ``advance`` after each; they lie on disk."""
    crop, side = drawing.inputs.crop_side, drawing.inputs.cube_side
    plane = (2, len(PLANES), crop, crop)
    images = Images(
        planes=_room((count, *plane)),
        moved=_room((count, drawing.variants, *plane)),
        suv_max=np.empty(count),
        cubes=_room((count, 2, side, side, side)) if drawing.volumetric else None,
    )
    for index, seen in enumerate(views):
        images.planes[index], images.moved[index] = seen.planes, seen.moved
        images.suv_max[index] = seen.suv_max
        if images.cubes is not None:
            images.cubes[index] = seen.cubes
        advance()
    return images


def save_images(images: Images, folder: Path) -> None:
    """Write images to a folder that is new; it appears whole or not at all."""
    part = folder.with_name(f".{folder.name}.{uuid4().hex}.part")
    part.mkdir(parents=True)
    for name, values in vars(images).items():
        if values is None:
            continue
        np.save(part / f"{name}.npy", values, allow_pickle=False)
    part.rename(folder)


def open_images(folder: Path) -> Images:
    """Open saved images where they lie: processes that open the same folder share the memory."""
    arrays = {
        path.stem: np.load(path, mmap_mode="r", allow_pickle=False) for path in folder.glob("*.npy")
    }
    return Images(**arrays)


def scanner_of(seed: int, scanners: Sequence[str]) -> str:
    """Return the scanner that a phantom's seed chooses."""
    return str(np.random.default_rng([seed, 10]).choice(list(scanners)))


def draw_surroundings(phantom: Phantom, scanners: Sequence[str], inputs: Inputs) -> PetCt:
    """Draw the cube around a phantom's tumour on the scanner that its seed chooses."""
    assert phantom.tumour is not None
    grid = cube_grid(phantom.tumour.centre_lps_mm, inputs, phantom.frame_of_reference_uid)
    low, high = grid.to_patient([[0.0] * 3, [inputs.cube_side - 1.0] * 3])
    margin = 6.0  # more than one voxel of any scanner, so that the cube's edges interpolate
    (x, y, z), (u, v, w) = (low - margin).tolist(), (high + margin).tolist()
    scanner = SCANNERS[scanner_of(phantom.seed, scanners)]
    return draw(phantom, scanner, box=((x, y, z), (u, v, w)))


def views_of(petct: PetCt, centre: Vector, drawing: Drawing, *, seed: int) -> Views:
    """Cut a case around ``centre`` as serving does, and move it by the draws of ``seed``."""
    inputs = drawing.inputs
    cut = cubes(petct, centre, inputs)
    seen = np.stack([planes(cut.pet, inputs), planes(cut.ct, inputs)]).astype(np.float16)
    side = inputs.cube_side
    near = (slice(side // 4, side - side // 4),) * 3
    return Views(
        planes=seen,
        moved=_moved(cut, seed, drawing),
        suv_max=float(cut.pet[near].max()),
        cubes=np.stack([cut.pet, cut.ct]).astype(np.float16) if drawing.volumetric else None,
    )


def spread(
    work: Callable[[T], R], given: Sequence[T], processes: int, *, chunk: int = 8
) -> Iterator[R]:
    """Yield what ``work`` makes of each, in order, in several processes of one thread each."""
    if processes <= 1:
        yield from map(work, given)
        return
    # A fresh interpreter each: torch's threads do not survive a fork.
    context = get_context("spawn")
    with ProcessPoolExecutor(
        processes, mp_context=context, initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        yield from pool.map(work, given, chunksize=chunk)


def _room(shape: tuple[int, ...]) -> Halves:
    """Return room on disk, not in memory: a cube of 72 voxels takes 1.5 MB a case."""
    if 0 in shape:  # nothing can be mapped
        return np.empty(shape, np.float16)
    with tempfile.TemporaryFile() as file:  # the memory map holds it until nobody needs it
        return np.memmap(file, np.float16, "w+", shape=shape)


def _draw_one(seed: int, *, drawing: Drawing) -> Views:
    phantom = random_phantom(seed)
    assert phantom.tumour is not None
    petct = draw_surroundings(phantom, drawing.scanners, drawing.inputs)
    return views_of(petct, phantom.tumour.centre_lps_mm, drawing, seed=seed)


def _moved(cut: Cubes, seed: int, drawing: Drawing) -> Halves:
    if drawing.variants == 0:
        return np.empty((0, 2, len(PLANES), *(drawing.inputs.crop_side,) * 2), np.float16)
    generator = torch.Generator().manual_seed(seed)
    moves = draw_moves(drawing.variants, drawing.augmentation, drawing.inputs, generator)
    pair = torch.from_numpy(np.stack([cut.pet, cut.ct]))
    every = pair.expand(drawing.variants, *pair.shape)
    moved: Halves = moved_planes(every, moves, drawing.inputs).half().numpy()
    return moved
