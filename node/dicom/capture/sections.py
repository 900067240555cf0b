"""CT, PET and both fused in three planes through the hottest point of a lesion."""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from PIL import Image
from scipy import ndimage

from inference.beside import each
from inference.findings import Lesion, Saliency
from inference.geometry import Vector
from inference.petct import PetCt
from inference.volume import Mask, Region, Volume
from node.dicom import planes
from node.dicom.capture import colours, panel
from node.dicom.capture.colours import Window
from node.dicom.capture.panel import Outlined
from node.dicom.capture.text import SMALL, Box, write, write_upwards
from node.dicom.planes import PLANES, Plane, View

_LEAST_MM: Final = 200.0
_MOST_MM: Final = 500.0
_ROOM: Final = 2.0
"""How many times as wide as the lesion a panel is, if that is more than the least."""
_AIR_HU: Final = -500.0
_CLOSE_UP: Final = 0.5
_VOXEL_MM: Final = 10.0
"""How far a region may be drawn beyond its outermost voxels' centres."""
_RING_MM: Final = (3.0, 12.0)
_AXES: Final = {"axial": ("z", 2), "coronal": ("y", 1), "sagittal": ("x", 0)}
GAP: Final = 14
HEAD: Final = 24
MARGIN: Final = 27


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """What all panels of one picture look at: a cube around a point of a lesion."""

    petct: PetCt
    lesion: Lesion
    further: tuple[Lesion, ...]
    middle: Vector
    side_mm: float

    def view(self, plane: Plane, pixels: int) -> View:
        """Return the view of one plane through the lesion's hottest point."""
        point = self.lesion.suv_max_lps_mm
        return planes.section(plane, point, middle=self.middle, side_mm=self.side_mm, pixels=pixels)


def scene(petct: PetCt, lesion: Lesion, lesions: tuple[Lesion, ...]) -> Scene:
    """Return a cube of 200 mm around the lesion, more where the lesion is large."""
    side = float(np.clip(_ROOM * lesion.longest_diameter_mm, _LEAST_MM, _MOST_MM))
    return Scene(
        petct=petct,
        lesion=lesion,
        further=tuple(one for one in lesions if one is not lesion),
        middle=planes.box_around(lesion.suv_max_lps_mm, petct.ct.grid, side_mm=side),
        side_mm=side,
    )


def seen_box(petct: PetCt, lesion: Lesion) -> tuple[Vector, Vector]:
    """Return the least and the greatest LPS mm of what the sections of a lesion show."""
    shown = scene(petct, lesion, ())
    half = shown.side_mm / 2
    low, high = np.subtract(shown.middle, half), np.add(shown.middle, half)
    return planes.vector(low), planes.vector(high)


def draw(canvas: Image.Image, box: Box, shown: Scene) -> None:
    """Draw nine panels: rows axial, coronal, sagittal; columns CT, PET, fusion."""
    side = min(
        (box.width - MARGIN - 2 * GAP) // 3,
        (box.height - HEAD - 2 * GAP) // 3,
    )
    # The sagittal one first: it takes as long as both others, since it lies across the memory.
    rows = each(lambda plane: _seen(shown, shown.view(plane, side)), PLANES[::-1])[::-1]
    window = _window_around(rows[PLANES.index("axial")])
    heads = (
        f"CT  {window}",
        f"PET  SUVbw 0 to {colours.SUV_TOP:.0f} g/ml",
        f"Fusion  {colours.SOFT_TISSUE}",
    )
    for column, head in enumerate(heads):
        x = box.x + MARGIN + column * (side + GAP)
        write(canvas, (x + side // 2, box.y + HEAD // 2 - 4), head, anchor="mm")
    for row, (plane, seen) in enumerate(zip(PLANES, rows, strict=True)):
        corner = Box(x=box.x + MARGIN, y=box.y + HEAD + row * (side + GAP), width=side, height=side)
        name, axis = _AXES[plane]
        words = f"{plane.capitalize()}  {name} = {shown.lesion.suv_max_lps_mm[axis]:.1f} mm"
        strip = Box(x=box.x, y=corner.y, width=MARGIN - 10, height=side)
        write_upwards(canvas, strip, words, ink=colours.INK, size=SMALL)
        _row(canvas, corner, shown, seen, window)


def _window_around(axial: "_Seen") -> Window:
    """Return the lung window where most of what surrounds the lesion is air, else soft tissue."""
    near, far = (mm / axial.view.step_mm for mm in _RING_MM)
    mask, hu = axial.on_ct[-1].mask, axial.ct
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    if rows.size:  # what is farther away than counts need not be measured
        margin = int(far) + 2
        part = tuple(slice(max(at[0] - margin, 0), at[-1] + margin + 1) for at in (rows, columns))
        mask, hu = mask[part], hu[part]
    away = ndimage.distance_transform_edt(~mask)
    around = hu[(away > near) & (away < far) & np.isfinite(hu)]
    mostly_air = around.size > 0 and float(np.median(around)) < _AIR_HU
    return colours.LUNG if mostly_air else colours.SOFT_TISSUE


@dataclass(frozen=True, kw_only=True, eq=False)
class CloseUp:
    """The axial CT around a lesion's hottest point, with the lesions on it."""

    view: View
    ct: planes.Image
    outlined: tuple[Outlined, ...]
    height_mm: float
    """Of the plane, as LPS z."""


def close_up(shown: Scene, pixels: int) -> CloseUp:
    """Return what saliency is drawn on, closer up than the sections."""
    point = shown.lesion.suv_max_lps_mm
    side = shown.side_mm * _CLOSE_UP
    view = planes.section("axial", point, middle=point, side_mm=side, pixels=pixels)
    return CloseUp(
        view=view,
        ct=planes.sample(shown.petct.ct.voxels, shown.petct.ct.grid, view),
        outlined=_outlined(shown, view, on_ct=True),
        height_mm=point[2],
    )


def draw_saliency(canvas: Image.Image, box: Box, near: CloseUp, saliency: Saliency) -> None:
    """Draw where one network looked, its greatest from head to feet, on the CT."""
    view = near.view
    flat = _flattened(saliency.on_pet, height_mm=near.height_mm)
    looked = planes.sample(flat.voxels, flat.grid, view)
    image = colours.looked(near.ct, looked, colours.SOFT_TISSUE)
    panel.place(canvas, box, image, near.outlined)
    panel.frame(canvas, box)
    panel.mark_sides(canvas, box, view)
    panel.mark_scale(canvas, box, view.step_mm)


def _flattened(volume: Volume, *, height_mm: float) -> Volume:
    """Return the greatest along the patient as one axial plane at LPS z ``height_mm``."""
    voxels, grid = planes.upright(np.nan_to_num(volume.voxels), volume.grid)
    greatest = planes.project(voxels, "axial")[None]
    origin = (*grid.origin[:2], height_mm)
    one = replace(grid, shape=(1, *grid.shape[1:]), origin=origin)
    return replace(volume, voxels=greatest, grid=one)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Seen:
    """What one view shows of the CT, of the PET and of the lesions on either."""

    view: View
    ct: planes.Image
    pet: planes.Image
    on_ct: tuple[Outlined, ...]
    on_pet: tuple[Outlined, ...]


def _seen(shown: Scene, view: View) -> _Seen:
    return _Seen(
        view=view,
        ct=planes.sample(shown.petct.ct.voxels, shown.petct.ct.grid, view),
        pet=planes.sample(shown.petct.pet.voxels, shown.petct.pet.grid, view),
        on_ct=_outlined(shown, view, on_ct=True),
        on_pet=_outlined(shown, view, on_ct=False),
    )


def _row(canvas: Image.Image, first: Box, shown: Scene, seen: _Seen, window: Window) -> None:
    """Draw the three panels of one plane, the first of them in the box."""
    view = seen.view
    panels = (
        (colours.grey(seen.ct, window), seen.on_ct),
        (colours.inverse(seen.pet), seen.on_pet),
        (colours.fused(seen.ct, seen.pet, colours.SOFT_TISSUE), seen.on_ct),
    )
    for column, (image, outlined) in enumerate(panels):
        x = first.x + column * (first.width + GAP)
        box = Box(x=x, y=first.y, width=first.width, height=first.height)
        panel.place(canvas, box, image, outlined)
        panel.frame(canvas, box)
        panel.mark_sides(canvas, box, view)
        panel.mark_point(canvas, box, view, shown.lesion.suv_max_lps_mm)
        if column == 0:
            panel.mark_scale(canvas, box, view.step_mm)


def _outlined(shown: Scene, view: View, *, on_ct: bool) -> tuple[Outlined, ...]:
    """Return what the lesions cover of a view, the one that it is about last, and so on top."""
    further = [
        Outlined(mask=_mask(one, view, on_ct=on_ct), ink=colours.FURTHER)
        for one in shown.further
        if _reaches(one, view)
    ]
    return (
        *further,
        Outlined(mask=_mask(shown.lesion, view, on_ct=on_ct), ink=colours.PRIMARY),
    )


def _reaches(lesion: Lesion, view: View) -> bool:
    """Whether it can be in the view: no part is farther from its centroid than it is long."""
    away = float(
        abs(
            np.subtract(lesion.centroid_lps_mm, view.origin)
            @ np.cross(np.asarray(view.right), np.asarray(view.down))
        )
    )
    return away <= lesion.longest_diameter_mm + _VOXEL_MM


def _mask(lesion: Lesion, view: View, *, on_ct: bool) -> Mask:
    # A lesion that is too small to have a voxel on the CT has one on the PET.
    region: Region = lesion.on_ct if on_ct and not lesion.on_ct.is_empty else lesion.on_pet
    return planes.covered(region, view)
