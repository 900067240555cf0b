"""Which colour is which number: the bars beside the images, in the images' own colours."""

from typing import Final

import numpy as np
from PIL import Image, ImageDraw

from node.dicom.capture import colours
from node.dicom.capture.colours import MUTED, SOFT_TISSUE, Colours
from node.dicom.capture.text import Box, write
from node.dicom.planes import Image as Numbers

SUV_HEIGHT: Final = 66
_HIGH: Final = 12
_STEP: Final = 18
_NAMES: Final = 58
_RIGHT: Final = 14
# Above over the black of the CT, below over its white: what lies beneath shines through.
_BENEATH: Final = np.repeat(np.array([[-1000.0], [1000.0]], dtype=np.float32), _HIGH // 2, axis=0)


def suv(canvas: Image.Image, box: Box, *, fused: bool) -> None:
    """Draw the SUV scale of the PET and, where asked for, of the fusion."""
    x, width = box.x + _NAMES, box.width - _NAMES - _RIGHT
    ramp = _ramp(colours.SUV_TOP, width)
    bars = [("PET", colours.inverse(ramp))]
    if fused:
        bars.append(("Fusion", colours.fused(_beneath(width), ramp, SOFT_TISSUE)))
    for number, (name, bar) in enumerate(bars):
        y = box.y + 2 + number * _STEP
        write(canvas, (x - 8, y + _HIGH // 2), name, anchor="rm", ink=MUTED)
        _bar(canvas, (x, y), bar)
    y = box.y + 2 + len(bars) * _STEP
    write(canvas, (x - 8, y), "SUVbw", anchor="rt", ink=MUTED)
    top = round(colours.SUV_TOP)
    for value in range(0, top + 1, 2):
        at = x + round(value / top * (width - 1))
        ImageDraw.Draw(canvas).line((at, y - 5, at, y - 2), fill=MUTED)
        write(canvas, (at, y), f"{value}+" if value == top else f"{value}", anchor="mt")


def saliency(canvas: Image.Image, box: Box) -> None:
    """Draw the scale of where a network looked."""
    x, width = box.x + _NAMES, box.width - _NAMES - _RIGHT
    _bar(canvas, (x, box.y), colours.looked(_beneath(width), _ramp(1, width), SOFT_TISSUE))
    y = box.y + _HIGH + 5
    write(canvas, (x, y), "0", anchor="mt")
    write(canvas, (x + width // 2, y), "share of the greatest", anchor="mt", ink=MUTED)
    write(canvas, (x + width - 1, y), "1", anchor="mt")


def _bar(canvas: Image.Image, corner: tuple[int, int], bar: Colours) -> None:
    x, y = corner
    height, width = bar.shape[:2]
    canvas.paste(Image.fromarray(colours.pixels(bar)), corner)
    ImageDraw.Draw(canvas).rectangle((x - 1, y - 1, x + width, y + height), outline=MUTED)


def _ramp(top: float, width: int) -> Numbers:
    return np.tile(np.linspace(0, top, width, dtype=np.float32), (_HIGH, 1))


def _beneath(width: int) -> Numbers:
    return np.tile(_BENEATH, (1, width))
