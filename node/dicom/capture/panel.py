"""One panel of a picture: an image of the patient with outlines, sides, marks and scale."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from inference.geometry import Points, Vector
from inference.volume import Mask
from node.dicom.capture import colours
from node.dicom.capture.colours import Colours, Ink
from node.dicom.capture.text import Anchor, Box, write
from node.dicom.planes import View

_LETTERS: Final = (("L", "R"), ("P", "A"), ("H", "F"))
_ALONG: Final = 0.38
"""The share of a direction from which on its letter is named: the sine of 22.5 degrees."""
_TICK: Final = 5
_BARS_MM: Final = (50.0, 20.0, 10.0)
_REACH: Final = 4
"""How many pixels from a lesion its line ends at the most."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Outlined:
    """The part of a view that a lesion covers, and the colour of the line around it."""

    mask: Mask
    ink: Ink


def place(canvas: Image.Image, box: Box, image: Colours, outlined: tuple[Outlined, ...]) -> None:
    """Put an image with its outlines into the upper left corner of the box."""
    marked = image
    for one in outlined:
        marked = with_outline(marked, one)
    canvas.paste(Image.fromarray(colours.pixels(marked)), (box.x, box.y))


def frame(canvas: Image.Image, box: Box) -> None:
    """Draw a thin line around the box, so that a panel that is dark at its edge has one."""
    around = (box.x - 1, box.y - 1, box.right, box.bottom)
    ImageDraw.Draw(canvas).rectangle(around, outline=colours.FRAME)


def with_outline(image: Colours, outlined: Outlined) -> Colours:
    """Return the image with a line two pixels wide just outside the mask, the lesion left free."""
    rows, columns = (np.flatnonzero(outlined.mask.any(axis=axis)) for axis in (1, 0))
    if not rows.size:
        return image
    near = tuple(slice(max(at[0] - _REACH, 0), at[-1] + _REACH + 1) for at in (rows, columns))
    away = ndimage.distance_transform_edt(~outlined.mask[near])
    share: Colours = np.clip(1.6 - np.abs(away - 1.9), 0, 1).astype(np.float32)[..., None]
    ink = np.asarray(outlined.ink, dtype=np.float32) / np.float32(255)
    marked = image.copy()
    marked[near] = (1 - share) * image[near] + share * ink
    return marked


def letters(direction: Points) -> str:
    """Return where a direction in LPS points to: ``L``, or ``LP`` where it is askew."""
    named = sorted(
        ((abs(share), _LETTERS[axis][int(share < 0)]) for axis, share in enumerate(direction)),
        reverse=True,
    )
    return "".join(letter for share, letter in named if share > _ALONG)


def mark_sides(canvas: Image.Image, box: Box, view: View, *, beside: bool = False) -> None:
    """Write at the middle of each edge which side of the patient lies there.

    ``beside`` puts the letters at the left and the right beside the panel instead of on it.
    """
    middle, centre = box.x + box.width // 2, box.y + box.height // 2
    first, last = (box.x - 11, box.right + 11) if beside else (box.x + 5, box.right - 5)
    left: Anchor = "rm" if beside else "lm"
    right: Anchor = "lm" if beside else "rm"
    marks: tuple[tuple[Points, tuple[int, int], Anchor], ...] = (
        (-np.asarray(view.right), (first, centre), left),
        (np.asarray(view.right), (last, centre), right),
        (-np.asarray(view.down), (middle, box.y + 5), "mt"),
        (np.asarray(view.down), (middle, box.bottom - 5), "mb"),
    )
    for direction, spot, anchor in marks:
        write(canvas, spot, letters(direction), ink=colours.WARN, anchor=anchor)


def mark_point(canvas: Image.Image, box: Box, view: View, point: Vector) -> None:
    """Point at a place of the patient with small marks outside the four edges of the panel."""
    draw = ImageDraw.Draw(canvas)
    row, column = (round(one) for one in view.pixel(point))
    x, y, half = box.x + column, box.y + row, (_TICK + 1) // 2
    for tip, one, other in (
        ((x, box.y - 2), (x - half, box.y - 1 - _TICK), (x + half, box.y - 1 - _TICK)),
        ((x, box.bottom + 1), (x - half, box.bottom + _TICK), (x + half, box.bottom + _TICK)),
        ((box.x - 2, y), (box.x - 1 - _TICK, y - half), (box.x - 1 - _TICK, y + half)),
        ((box.right + 1, y), (box.right + _TICK, y - half), (box.right + _TICK, y + half)),
    ):
        draw.polygon([tip, one, other], fill=colours.MUTED)


def mark_scale(canvas: Image.Image, box: Box, step_mm: float) -> None:
    """Draw a bar as long as 5, 2 or 1 cm of the patient, as fits left of the letter; say so."""
    room = box.width / 2 - 20
    length_mm = next((mm for mm in _BARS_MM if mm / step_mm < room), _BARS_MM[-1])
    length = round(length_mm / step_mm)
    x, y = box.x + 8, box.bottom - 9
    draw = ImageDraw.Draw(canvas)
    draw.rectangle((x - 1, y - 2, x + length, y + 2), fill=colours.PAPER)
    draw.rectangle((x, y - 1, x + length - 1, y + 1), fill=colours.INK)
    write(canvas, (x, y - 5), f"{length_mm / 10:.0f} cm", anchor="lb")
