"""Maximum projections of a PET, cropped to the body, with the lesions' outlines."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image as Pillow
from scipy import ndimage

from inference.findings import Lesion
from inference.geometry import Grid, Points
from inference.volume import Mask, Region, Volume, Voxels
from node.dicom import planes
from node.dicom.capture import colours, panel
from node.dicom.capture.panel import Outlined
from node.dicom.capture.text import Box
from node.dicom.planes import PLANES, Image, Plane, View

_BODY_SUV: Final = 0.4
_BODY_MARGIN_MM: Final = 15.0
_LEAST_STEP_MM: Final = 0.5
_MOST_PARTS: Final = 32
_BESIDE: Final = 50
"""How many pixels of room in all the letters at both sides of a projection need."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Body:
    """The PET upright and cropped to the body from side to side and from front to back."""

    voxels: Voxels
    grid: Grid

    def extent_mm(self, plane: Plane) -> tuple[float, float]:
        """Return height and width of the projection onto a plane."""
        sides = [count * mm for count, mm in zip(self.grid.shape, self.grid.spacing, strict=True)]
        sides.pop(PLANES.index(plane))
        height, width = sides
        return height, width


def body(pet: Volume) -> Body:
    """Return all slices of the part of the PET with uptake in it; all of it where it is cold."""
    voxels, grid = planes.upright(pet.voxels, pet.grid)
    from_above = ndimage.uniform_filter(planes.project(voxels, "axial"), 3, mode="nearest")
    warm = from_above > _BODY_SUV
    if not warm.any():
        return Body(voxels=voxels, grid=grid)
    start, stop = [0], [grid.shape[0]]
    for axis in (1, 2):
        found = np.flatnonzero(warm.any(axis=2 - axis))
        margin = round(_BODY_MARGIN_MM / grid.spacing[axis])
        start.append(max(int(found[0]) - margin, 0))
        stop.append(min(int(found[-1]) + margin + 1, grid.shape[axis]))
    window = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    return Body(voxels=voxels[window], grid=grid.crop(start, stop))


def fitting_step_mm(height_mm: float, width_mm: float, box: Box) -> float:
    """Return the size of a pixel with which so many mm fill the box; a tiny volume stays small."""
    return max(height_mm / box.height, width_mm / box.width, _LEAST_STEP_MM)


def draw(
    canvas: Pillow.Image,
    box: Box,
    shown: Body,
    plane: Plane,
    *,
    step_mm: float,
    lesions: Sequence[Lesion] = (),
) -> None:
    """Draw one projection in the middle of the box; the first lesion is the one it is about."""
    right, down = planes.directions(plane)
    view, suv = scaled(
        planes.project(shown.voxels, plane),
        shown.grid.to_patient((0, 0, 0)),
        axes=(right, down),
        spacing=_spacing(shown.grid, plane),
        step_mm=step_mm,
    )
    rows, columns = view.shape
    inner = Box(
        x=box.x + (box.width - columns) // 2,
        y=box.y + (box.height - rows) // 2,
        width=columns,
        height=rows,
    )
    panel.place(canvas, inner, colours.inverse(suv), outlined(lesions, view))
    panel.frame(canvas, inner)
    panel.mark_sides(canvas, inner, view, beside=box.width - columns > _BESIDE)
    for one in lesions[:1]:
        panel.mark_point(canvas, inner, view, one.suv_max_lps_mm)
    panel.mark_scale(canvas, inner, view.step_mm)


def outlined(lesions: Sequence[Lesion], view: View) -> tuple[Outlined, ...]:
    """Return the lesions' shadows on a view; the first is the one that the picture is about."""
    inks = [colours.PRIMARY] + [colours.FURTHER] * (len(lesions) - 1)
    marked = [
        Outlined(mask=shadow(points_of(one.on_pet, view.step_mm), view), ink=ink)
        for one, ink in zip(lesions, inks, strict=False)
    ]
    return tuple(reversed(marked))


def points_of(region: Region, step_mm: float) -> Points:
    """Return points in LPS mm that fill every voxel of the region, about a pixel apart."""
    parts = [min(max(int(np.ceil(mm / step_mm)), 1), _MOST_PARTS) for mm in region.grid.spacing]
    inside = np.stack(
        np.meshgrid(*[(np.arange(n) + 0.5) / n - 0.5 for n in parts], indexing="ij"), axis=-1
    ).reshape(-1, 3)
    return region.grid.to_patient((region.voxels[:, None, :] + inside).reshape(-1, 3))


def shadow(points: Points, view: View) -> Mask:
    """Return the pixels of a view onto which points fall, small gaps between them closed."""
    mask: Mask = np.zeros(view.shape, np.bool_)
    away = points - np.asarray(view.origin)
    rows, columns = (
        np.rint(away @ np.asarray(axis) / view.step_mm).astype(int)
        for axis in (view.down, view.right)
    )
    within = (rows >= 0) & (rows < view.shape[0]) & (columns >= 0) & (columns < view.shape[1])
    mask[rows[within], columns[within]] = True
    closed: Mask = ndimage.binary_closing(np.pad(mask, 2))[2:-2, 2:-2] | mask
    return closed


def scaled(
    image: Image,
    first: Points,
    *,
    axes: tuple[Points, Points],
    spacing: tuple[float, float],
    step_mm: float,
) -> tuple[View, Image]:
    """Return the image at square pixels of ``step_mm``, and where these lie.

    ``first`` is the centre of its first pixel, ``axes`` the directions of columns and rows,
    ``spacing`` the mm between rows and between columns.
    """
    right, down = axes
    rows, columns = (
        max(int(count * mm / step_mm + 1e-6), 1)
        for count, mm in zip(image.shape, spacing, strict=True)
    )
    part = [
        min(count * step_mm / mm, whole)
        for count, mm, whole in zip((rows, columns), spacing, image.shape, strict=True)
    ]
    shown = Pillow.fromarray(np.ascontiguousarray(image)).resize(
        (columns, rows), Pillow.Resampling.BILINEAR, box=(0, 0, part[1], part[0])
    )
    to_corner = [(step_mm - mm) / 2 for mm in spacing]
    origin = first + down * to_corner[0] + right * to_corner[1]
    view = View(
        origin=planes.vector(origin),
        right=planes.vector(right),
        down=planes.vector(down),
        shape=(rows, columns),
        step_mm=step_mm,
    )
    return view, np.asarray(shown, dtype=np.float32)


def _spacing(grid: Grid, plane: Plane) -> tuple[float, float]:
    between = list(grid.spacing)
    between.pop(PLANES.index(plane))
    rows, columns = between
    return rows, columns
