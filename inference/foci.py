"""Finds the foci of raised uptake in a chest, each with its extent and with what lies around it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from inference.geometry import Grid
from inference.resample import Box, bounding_box, crop, region_onto
from inference.thorax import Thorax
from inference.volume import Mask, Region, Volume, Voxels

_itk: Any = sitk  # SimpleITK ships without types

REACH_MM = 40.0
"""How far beyond the cavity a focus that begins in it is followed."""
SADDLE = 0.85
"""Two hot spots are one basin where uptake between them stays above this part of the lower one."""
SHELL_MM = 9.0
LUNG_CONTACT = 0.4
"""From this share of its surface bordering on lung, a focus lies in the lung.

A ball that lies half in the lung's surface has about a half; the free wall of the heart, about 0.3.
"""
MEDIASTINAL_MOST_ML = 150.0
LEVEL_WITH_LUNG = 0.4
"""A slice is of the chest where lung fills at least this part of what it fills at its widest."""


class Place(StrEnum):
    """What a focus is, judged by the CT around it."""

    LUNG = "lung"
    MEDIASTINUM = "mediastinum"
    HEART = "heart"
    ABDOMEN = "abdomen"
    OUTSIDE = "outside the chest"


@dataclass(frozen=True, kw_only=True, eq=False)
class Focus:
    """One focus of uptake on the PET's grid."""

    region: Region
    suv_max: float
    place: Place
    lung_contact: float
    """Share of its surroundings within 9 mm that is aerated lung."""

    @property
    def uptake(self) -> float:
        """SUVmax times volume, in g: how much it takes up in all, however it is spread."""
        return self.suv_max * self.region.volume_ml


@dataclass(frozen=True, kw_only=True, eq=False)
class _Scene:
    """The PET round the cavity with the organs of the CT carried onto it."""

    suv: Voxels
    grid: Grid
    lungs: Mask
    cavity: Mask
    heart: Mask
    chest_level: Mask


def find_foci(
    pet: Volume, thorax: Thorax, *, suv_min: float, threshold_fraction: float
) -> tuple[Focus, ...]:
    """Return the foci that peak at ``suv_min`` or more in the thoracic cavity, the hottest first.

    Uptake is cut into basins at the valleys between hot spots, and each basin is placed by the CT.
    A lesion grows from its peak through basins that can be of a lesion, never into the heart's or
    the liver's, down to ``threshold_fraction`` of the way from the uptake around it to its maximum
    (background-adapted threshold: EANM procedure guidelines 2.0, 2015). Holes count to it: a
    necrotic core is tumour. Physiological foci are returned too; ``place`` tells them apart.
    """
    scene, box = _scene(pet, thorax)
    if scene is None or box is None:
        return ()
    floor = threshold_fraction * suv_min
    labels, peaks, positions = _basins(scene.suv, floor)
    places = [
        _judge(scene, labels == number, peak, position)
        for number, (peak, position) in enumerate(zip(peaks, positions, strict=True), start=1)
    ]
    possible = np.asarray([False, *(p in (Place.LUNG, Place.MEDIASTINUM) for p, _ in places)])
    free = possible[labels]
    foci = []
    for number in np.argsort(-peaks):
        position = positions[number]
        place, _ = places[number]
        if peaks[number] < suv_min or not scene.cavity[position]:
            continue
        if possible[number + 1] and not free[position]:
            continue  # within a hotter lesion
        domain = free if possible[number + 1] else labels == number + 1
        part = _grow(scene, domain, position, threshold_fraction)
        free &= ~part
        place, contact = _place(scene, part) if possible[number + 1] else places[number]
        mask: Mask = np.zeros(pet.grid.shape, np.bool_)
        mask[box] = part
        foci.append(
            Focus(
                region=Region(mask=mask, grid=pet.grid),
                suv_max=float(peaks[number]),
                place=place,
                lung_contact=contact,
            )
        )
    return tuple(foci)


def _scene(pet: Volume, thorax: Thorax) -> tuple[_Scene | None, Box | None]:
    cavity = region_onto(thorax.cavity, pet.grid).mask
    inner = bounding_box(cavity)
    if inner is None:
        return None, None
    steps = [int(np.ceil(REACH_MM / s)) for s in pet.grid.spacing]
    first, second, third = (
        slice(max(b.start - n, 0), min(b.stop + n, size))
        for b, n, size in zip(inner, steps, pet.grid.shape, strict=True)
    )
    box = (first, second, third)
    grid = crop(pet.grid, box)
    area = thorax.lungs.mask.sum(axis=(1, 2))
    level = np.zeros(thorax.body.mask.shape, np.bool_)
    level[area >= LEVEL_WITH_LUNG * area.max()] = True
    scene = _Scene(
        suv=pet.voxels[box],
        grid=grid,
        lungs=region_onto(thorax.lungs, grid).mask,
        cavity=cavity[box],
        heart=region_onto(thorax.heart, grid).mask,
        chest_level=region_onto(Region(mask=level, grid=thorax.body.grid), grid).mask,
    )
    return scene, box


def _basins(
    suv: Voxels, floor: float
) -> tuple[NDArray[np.int64], NDArray[np.float64], list[tuple[int, ...]]]:
    """Cut uptake above ``floor`` at its valleys; return labels, peaks and their positions.

    The watershed runs on the logarithm, so that how deep a valley must be is a ratio.
    """
    logarithm = -np.log(np.maximum(suv, floor)).astype(np.float32)
    flooded = _itk.MorphologicalWatershed(
        _itk.GetImageFromArray(logarithm),
        level=-float(np.log(SADDLE)),
        markWatershedLine=False,
        fullyConnected=True,
    )
    labels: NDArray[np.int64] = _itk.GetArrayFromImage(flooded).astype(np.int64)
    labels[suv < floor] = 0
    present = np.flatnonzero(np.bincount(labels.ravel()))
    present = present[present > 0]
    renumbered = np.zeros(int(labels.max()) + 1, np.int64)
    renumbered[present] = np.arange(1, present.size + 1)
    labels = renumbered[labels]
    index = np.arange(1, present.size + 1)
    peaks = np.asarray(ndimage.maximum(suv, labels, index), dtype=np.float64)
    positions = [tuple(int(i) for i in at) for at in ndimage.maximum_position(suv, labels, index)]
    return labels, peaks, positions


def _judge(
    scene: _Scene, basin: Mask, peak: float, position: tuple[int, ...]
) -> tuple[Place, float]:
    """Place a basin by the half of it that is hot."""
    return _place(scene, _part_with(basin & (scene.suv >= 0.5 * peak), position))


def _place(scene: _Scene, part: Mask) -> tuple[Place, float]:
    """Tell where a set of voxels lies, and how much of its surroundings is lung."""
    box = _around(part, scene.grid, SHELL_MM)
    local = part[box]
    distance = ndimage.distance_transform_edt(~local, sampling=scene.grid.spacing)
    shell = (distance > 0) & (distance <= SHELL_MM)
    contact = float(scene.lungs[box][shell].mean()) if shell.any() else 0.0
    in_heart, in_cavity, at_level = (
        float(mask[box][local].mean()) for mask in (scene.heart, scene.cavity, scene.chest_level)
    )
    volume_ml = int(np.count_nonzero(local)) * scene.grid.voxel_volume_ml
    if in_heart >= 0.6 and contact < LUNG_CONTACT + 0.1:
        return Place.HEART, contact
    if contact >= LUNG_CONTACT:
        return Place.LUNG, contact
    if at_level < 0.5:
        return Place.ABDOMEN, contact
    if in_cavity < 0.5 or volume_ml > MEDIASTINAL_MOST_ML:
        return Place.OUTSIDE, contact
    return Place.MEDIASTINUM, contact


def _grow(scene: _Scene, domain: Mask, position: tuple[int, ...], fraction: float) -> Mask:
    """Return what is joined to ``position`` in ``domain`` above the threshold, holes filled."""
    peak = float(scene.suv[position])
    first = _part_with(domain & (scene.suv >= fraction * peak), position)
    box = _around(first, scene.grid, 2 * SHELL_MM)
    distance = ndimage.distance_transform_edt(~first[box], sampling=scene.grid.spacing)
    around = (distance > SHELL_MM) & (distance <= 2 * SHELL_MM)
    background = float(np.median(scene.suv[box][around])) if around.any() else 0.0
    threshold = background + fraction * max(peak - background, 0.0)
    part = _part_with(domain & (scene.suv >= max(threshold, fraction * peak)), position)
    filled: Mask = ndimage.binary_fill_holes(part)
    return filled


def _part_with(mask: Mask, position: tuple[int, ...]) -> Mask:
    labels, _ = ndimage.label(mask)
    part: Mask = labels == labels[position]
    return part


def _around(mask: Mask, grid: Grid, margin_mm: float) -> Box:
    box = bounding_box(mask)
    assert box is not None  # a part holds at least the position that it grew from
    steps = [int(np.ceil(margin_mm / s)) + 1 for s in grid.spacing]
    first, second, third = (
        slice(max(b.start - n, 0), min(b.stop + n, size))
        for b, n, size in zip(box, steps, mask.shape, strict=True)
    )
    return first, second, third
