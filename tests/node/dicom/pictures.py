"""Where things are on the key image, and odd studies to draw."""

from dataclasses import replace

import numpy as np

from inference.findings import Findings, Lesion
from inference.geometry import Grid, axial_grid
from inference.petct import PetCt
from inference.volume import Quantity, Region, Volume
from tests import made_study

SIDE = 214
PRIMARY = (0, 200, 255)
FURTHER = (255, 90, 255)
NO_DATA = (34, 38, 46)
PLANES = ("axial", "coronal", "sagittal")
KINDS = ("CT", "PET", "fusion")
ALL_PANELS = [(plane, kind) for plane in PLANES for kind in KINDS]
SIDEBAR = np.s_[64:734, 720:1014]


def panel(plane: str, kind: str) -> tuple[slice, slice]:
    """The pixels of one of the nine panels."""
    y, x = 64 + PLANES.index(plane) * 228, 30 + KINDS.index(kind) * 228
    return np.s_[y : y + SIDE, x : x + SIDE]


def of_colour(image, where, colour) -> np.ndarray:
    """(row, column) of the pixels of exactly this colour."""
    return np.argwhere(np.all(image[where] == colour, axis=-1))


def fine(*, ct=(2, 2, 2), pet=(4, 4, 4)) -> tuple[PetCt, Findings]:
    """A block of lung of 240 mm with a ball of 20 mm radius in its middle, at the origin."""
    grids = [
        axial_grid(shape=tuple(round(240 / mm) for mm in spacing), spacing=spacing)
        for spacing in (ct, pet)
    ]
    data = block(*grids)
    return data, made_study.findings(ball_lesion(*grids))


def block(ct: Grid, pet: Grid, *, hu: float = -850, suv: float = 1) -> PetCt:
    """The same everywhere, but for what a test plants."""
    return replace(
        made_study.petct(),
        ct=Volume(voxels=np.full(ct.shape, hu, np.float32), grid=ct, quantity=Quantity.HU),
        pet=Volume(voxels=np.full(pet.shape, suv, np.float32), grid=pet, quantity=Quantity.SUVBW),
    )


def ball_lesion(ct: Grid, pet: Grid, centre=(0.0, 0.0, 0.0), **changes) -> Lesion:
    return made_study.lesion(
        on_ct=made_study.ball(ct, centre),
        on_pet=made_study.ball(pet, centre),
        centroid_lps_mm=centre,
        suv_max_lps_mm=centre,
        **changes,
    )


def planted(volume: Volume, centre, value: float, radius_mm: float = 8) -> Volume:
    """The volume with a ball of one value in it."""
    voxels = volume.voxels.copy()
    voxels[made_study.ball(volume.grid, centre, radius_mm).mask] = value
    return replace(volume, voxels=voxels)


def feet_first(volume: Volume | Region):
    """The same box stored from the other end: slices to the feet, columns to the right."""
    grid = volume.grid
    far = grid.to_patient((grid.shape[0] - 1, 0, grid.shape[2] - 1))
    slice_axis, row_axis, column_axis = (np.array(axis) for axis in grid.direction)
    other = replace(
        grid,
        origin=tuple(float(v) for v in far),
        direction=(tuple(-slice_axis), tuple(row_axis), tuple(-column_axis)),
    )
    if isinstance(volume, Region):
        return Region(mask=volume.mask[::-1, :, ::-1], grid=other)
    return replace(volume, voxels=volume.voxels[::-1, :, ::-1], grid=other)


def all_feet_first(data: PetCt, findings: Findings) -> tuple[PetCt, Findings]:
    lesions = tuple(
        replace(one, on_ct=feet_first(one.on_ct), on_pet=feet_first(one.on_pet))
        for one in findings.lesions
    )
    other = replace(data, ct=feet_first(data.ct), pet=feet_first(data.pet))
    return other, replace(findings, lesions=lesions)
