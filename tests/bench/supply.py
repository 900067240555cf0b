"""Training's supply of augmented cases, and steps with it: ours beside MONAI's usual way.

Both move the same cubes in the same ranges and hold them in memory. MONAI's way is what its
tutorials show: a CacheDataset of dictionaries, its transforms for each case, its DataLoader.
"""

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from monai.data import CacheDataset, DataLoader
from monai.transforms import (
    CenterSpatialCropd,
    Compose,
    NormalizeIntensityd,
    RandAffined,
    RandFlipd,
    RandGaussianNoised,
    RandScaleIntensityd,
    ScaleIntensityRanged,
    ToTensord,
)
from torch import Tensor

from inference import bundle as bundles
from tests.bench import process
from tests.bench.measure import OURS, Measure, Plan, Sample, compare, interleave
from training.augment import draw_jitter, draw_moves, moved_planes
from training.feeding import Feed, ahead, as_inputs
from training.images import Images
from training.losses import deep_loss
from training.networks import network_of
from training.recipe import Model, Recipe, load

SECTION = "Training"
RECIPE = "dlnms-phantom.yaml"
CASES = 48
BATCH = 8
WORKERS = (0, 2)
"""Processes of MONAI's loader; 0 augments between the steps."""
ROUND_BATCHES = 3
AHEAD_EACH = 2
"""So many batches a worker of the loader has ready; they do not count."""
ANEW = "petct-node, moved for each batch"


Supply: TypeAlias = Iterator[tuple[Tensor, Tensor, Tensor]]
"""PET, CT and labels, batch after batch."""


@dataclass(kw_only=True)
class Supplier:
    """One way of supplying batches without end, in a process of its own."""

    batches: Supply
    ready: int
    """So many batches may lie ready, made while nobody looked."""
    recipe: Recipe
    network: torch.nn.Module
    optimiser: torch.optim.Optimizer

    def step(self) -> None:
        pet, ct, labels = next(self.batches)
        fit = self.recipe.fit
        loss = deep_loss(
            self.network(pet, ct), labels, gamma=fit.focal_gamma, weight=fit.auxiliary_weight
        )
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()


_supplier: list[Supplier] = []
"""That of this process."""


def measure(plan: Plan) -> list[Measure]:
    """Measure cases a second, of the supply alone and of steps with it, and memory."""
    spawn = multiprocessing.get_context("spawn")
    measures: list[Measure] = []
    with ExitStack() as stack:
        pools = {
            name: stack.enter_context(
                ProcessPoolExecutor(
                    1, mp_context=spawn, initializer=_open, initargs=(name, workers)
                )
            )
            for name, workers in _ways().items()
        }
        for case, run in (("planes, supply alone", _supplied), ("planes, with steps", _stepped)):
            subjects = {
                name: lambda pool=pool, run=run: pool.submit(run).result()
                for name, pool in pools.items()
            }
            samples = interleave(subjects, plan)
            measures += compare(SECTION, case, "cases/s", samples, more_is_better=True)
        held = {
            name: (Sample(value=pool.submit(_memory_mb).result()),) for name, pool in pools.items()
        }
        measures += compare(SECTION, "memory, with workers", "MB", held)
    return measures


def _ways() -> dict[str, int | None]:
    theirs = {f"MONAI, {count} workers": count for count in WORKERS}
    return {OURS: None, ANEW: None, **theirs}


def _open(name: str, workers: int | None) -> None:
    """Make the same cases in each process, and what supplies them."""
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.manual_seed(0)
    recipe = load(Path(bundles.__file__).parents[1] / "training" / "recipes" / RECIPE)
    network = network_of(Model.FUSION, recipe.network).train()
    optimiser = torch.optim.SGD(network.parameters(), lr=1e-3)
    if workers is not None:
        supply = _monai(recipe, workers)
    else:
        supply = _ours(recipe) if name == OURS else _ours_anew(recipe)
    _supplier.append(
        Supplier(
            batches=supply,
            ready=AHEAD_EACH * workers if workers else 1,
            recipe=recipe,
            network=network,
            optimiser=optimiser,
        )
    )


def _cubes(side: int) -> np.ndarray:
    """PET and CT of drawn numbers: their time does not depend on what is in them."""
    rng = np.random.default_rng(1)
    return rng.uniform(0, 20, (CASES, 2, side, side, side)).astype(np.float16)


def _labels() -> np.ndarray:
    return np.arange(CASES) % 2


def _ours(recipe: Recipe) -> Supply:
    """Planes moved ahead of training, once for each variant; intensities drawn for each batch."""
    inputs = bundles.load(bundles.default_path()).card.inputs
    rng = np.random.default_rng(1)
    plane = (2, 3, inputs.crop_side, inputs.crop_side)
    variants = recipe.augmentation.variants
    feed = Feed(
        images=Images(
            planes=rng.uniform(0, 20, (CASES, *plane)).astype(np.float16),
            moved=rng.uniform(0, 20, (CASES, variants, *plane)).astype(np.float16),
            suv_max=np.ones(CASES),
        ),
        labels=_labels(),
        inputs=inputs,
        augmentation=recipe.augmentation,
        volumetric=False,
    )
    generator = torch.Generator().manual_seed(1)
    while True:
        order = torch.randperm(CASES, generator=generator).numpy()
        for batch in ahead(feed.batches(order, BATCH, generator)):
            yield batch.pet, batch.ct, batch.labels


def _ours_anew(recipe: Recipe) -> Supply:
    """The same cubes moved by our code for each batch, as MONAI moves them."""
    inputs = bundles.load(bundles.default_path()).card.inputs
    cubes, labels = _cubes(inputs.cube_side), torch.from_numpy(_labels())
    generator = torch.Generator().manual_seed(1)

    def made() -> Supply:
        order = torch.randperm(CASES, generator=generator).numpy()
        for start in range(0, CASES, BATCH):
            chosen = order[start : start + BATCH]
            still = torch.from_numpy(cubes[chosen]).float()
            moves = draw_moves(BATCH, recipe.augmentation, inputs, generator)
            seen = moved_planes(still, moves, inputs)
            shape = seen[:, 1].shape
            jitter = draw_jitter(shape, recipe.augmentation, generator)
            yield *as_inputs(jitter.applied(seen), inputs), labels[chosen]

    while True:
        yield from ahead(made())


def _monai(recipe: Recipe, workers: int) -> Supply:
    """Cubes moved for each case and epoch, then their planes, intensities and normalisation."""
    inputs = bundles.load(bundles.default_path()).card.inputs
    asked, keys = recipe.augmentation, ["pet", "ct"]
    cubes, labels = _cubes(inputs.cube_side), _labels()
    reach = asked.shift_mm / inputs.spacing_mm
    low, high = (scale - 1 for scale in asked.scale)
    noise = RandGaussianNoised(["ct"], prob=1.0, std=asked.ct_noise_hu)
    ranges = [
        ScaleIntensityRanged([key], *channel.clip, *channel.clip, clip=True)
        for key, channel in zip(keys, (inputs.pet, inputs.ct), strict=True)
    ]
    normalised = [
        NormalizeIntensityd([key], subtrahend=channel.mean, divisor=channel.sd)
        for key, channel in zip(keys, (inputs.pet, inputs.ct), strict=True)
    ]
    transforms = Compose(
        [
            ToTensord(keys, dtype=torch.float32),
            RandAffined(
                keys,
                prob=1.0,
                rotate_range=[np.pi] * 3,
                translate_range=[reach] * 3,
                scale_range=[(low, high)] * 3,
                mode="bilinear",
                padding_mode="border",
            ),
            *(RandFlipd(keys, prob=0.5, spatial_axis=axis) for axis in range(3)),
            CenterSpatialCropd(keys, roi_size=[inputs.crop_side] * 3),
            _planes,
            RandScaleIntensityd(["pet"], factors=asked.pet_gain, prob=1.0),
            noise,
            *ranges,
            *normalised,
        ]
    )
    cases = [
        {"pet": cube[:1], "ct": cube[1:], "label": int(label)}
        for cube, label in zip(cubes, labels, strict=True)
    ]
    dataset = CacheDataset(cases, transforms, progress=False)
    loader = DataLoader(
        dataset,
        batch_size=BATCH,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
    while True:
        for batch in loader:
            yield batch["pet"].as_tensor(), batch["ct"].as_tensor(), batch["label"]


def _planes(case: dict) -> dict:
    """The axial, coronal and sagittal plane through the middle, as three channels."""
    found = dict(case)
    for key in ("pet", "ct"):
        cube = case[key][0]
        middle = len(cube) // 2
        found[key] = torch.stack([cube[middle], cube[:, middle], cube[:, :, middle]])
    return found


def _supplied() -> Sample:
    supplier = _supplier[0]
    return _timed(lambda: next(supplier.batches))


def _stepped() -> Sample:
    return _timed(_supplier[0].step)


def _timed(once: Callable[[], object]) -> Sample:
    for _ in range(_supplier[0].ready):
        next(_supplier[0].batches)
    spent, started = process.cpu_s(os.getpid()), time.perf_counter()
    for _ in range(ROUND_BATCHES):
        once()
    cases = ROUND_BATCHES * BATCH
    seconds = time.perf_counter() - started
    cpu_ms = (process.cpu_s(os.getpid()) - spent) * 1000 / cases
    return Sample(value=cases / seconds, cpu_ms=cpu_ms)


def _memory_mb() -> float:
    """What this process and its workers hold, shared pages shared out among them (PSS)."""
    return process.memory_mb(os.getpid())
