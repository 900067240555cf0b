"""The key image as pixels: what a viewer without Segmentation and report can still show."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont
from scipy import ndimage

from inference.findings import Findings, Lesion, Prediction, in_percent
from inference.petct import PetCt
from inference.volume import Mask, Region
from node.dicom import planes
from node.dicom.codes import task_label
from node.dicom.provenance import RESEARCH_USE

SIDE: Final = 1024
_PANEL: Final = 500
_TOP: Final = 56
_LINE: Final = 26
_SUV_SHOWN: Final = 10.0
_MIP_STEP_MM: Final = 4.0
_WINDOW: Final = (-160.0, 240.0)
_OUTLINE: Final = (0, 230, 255)
_INK: Final = (235, 235, 235)
_WARN: Final = (255, 200, 60)
_GREY: Final = (150, 150, 150)

Pixels = NDArray[np.uint8]


def render(petct: PetCt, findings: Findings) -> Pixels:
    """Return the key image as ``(1024, 1024, 3)`` RGB; it holds nothing of the patient's identity.

    Above: the fused axial plane through the hottest point of the primary (or, without a lesion,
    the sagittal projection) and the coronal maximum projection of the PET. Below: the numbers.
    """
    canvas = Pillow.new("RGB", (SIDE, SIDE))
    draw = ImageDraw.Draw(canvas)
    lesion = findings.primary or next(iter(findings.lesions), None)
    if lesion is None:
        canvas.paste(_projection(petct, None, planes.sagittal_view), (8, _TOP))
        _sides(draw, (8, _TOP), "A", "P")
    else:
        canvas.paste(_axial(petct, lesion), (8, _TOP))
        _sides(draw, (8, _TOP), "R", "L")
    second = (SIDE - _PANEL - 8, _TOP)
    canvas.paste(_projection(petct, lesion, planes.coronal_view), second)
    _sides(draw, second, "R", "L")
    _heading(draw, lesion)
    _colour_bar(canvas, draw, fused=lesion is not None)
    _lines(draw, (16, _TOP + _PANEL + 60), _measures(lesion), _font(19))
    said = [*_judgement(findings), *_cautions(petct, findings)]
    _lines(draw, (SIDE // 2 + 16, _TOP + _PANEL + 60), said, _font(19))
    _footer(draw, findings)
    return np.asarray(canvas, dtype=np.uint8)


def _axial(petct: PetCt, lesion: Lesion) -> Pillow.Image:
    """Return CT and PET through the hottest point of the lesion, and the lesion's outline."""
    view = planes.axial_view(petct.ct.grid, height_mm=lesion.suv_max_lps_mm[2], pixels=_PANEL)
    hu = planes.sample(petct.ct.voxels, petct.ct.grid, view, order=1, outside=-1000)[0]
    suv = planes.sample(petct.pet.voxels, petct.pet.grid, view, order=1, outside=0)[0]
    low, high = _WINDOW
    grey = np.clip((hu - low) / (high - low), 0, 1)[..., None]
    heat = np.clip(suv / _SUV_SHOWN, 0, 1)
    share = (0.65 * np.sqrt(heat))[..., None]
    image = (1 - share) * np.repeat(grey, 3, axis=-1) + share * _hot(heat)
    return _with_outline(image, _seen(lesion.on_ct, view)[0])


def _projection(petct: PetCt, lesion: Lesion | None, view_of: planes.ViewOf) -> Pillow.Image:
    """Return the maximum projection of the PET, dark where hot, with the lesion's outline."""
    view = view_of(petct.pet.grid, step_mm=_MIP_STEP_MM)
    suv = planes.sample(petct.pet.voxels, petct.pet.grid, view, order=1, outside=0).max(axis=0)
    image = np.repeat((1 - np.clip(suv / _SUV_SHOWN, 0, 1))[..., None], 3, axis=-1)
    rows, columns = suv.shape
    scale = _PANEL / max(rows, columns)
    size = (max(1, round(columns * scale)), max(1, round(rows * scale)))
    drawn = _picture(image).resize(size, Pillow.Resampling.BILINEAR)
    if lesion is not None:
        mask = _seen(lesion.on_pet, view).any(axis=0)
        shown = Pillow.fromarray(mask.astype(np.uint8) * 255).resize(
            size, Pillow.Resampling.NEAREST
        )
        drawn = _with_outline(np.asarray(drawn) / 255, np.asarray(shown) > 127)
    panel = Pillow.new("RGB", (_PANEL, _PANEL), (255, 255, 255))
    panel.paste(drawn, ((_PANEL - size[0]) // 2, (_PANEL - size[1]) // 2))
    return panel


def _seen(region: Region, view: planes.View) -> Mask:
    seen: Mask = planes.sample(region.mask, region.grid, view, order=0, outside=0) > 0.5
    return seen


def _with_outline(image: NDArray[np.floating], mask: Mask) -> Pillow.Image:
    """Return the image with a line just outside the mask, so that the lesion stays visible."""
    around = ndimage.binary_dilation(mask, iterations=3) & ~ndimage.binary_dilation(mask)
    marked = np.array(image)
    marked[around] = np.asarray(_OUTLINE) / 255
    return _picture(marked)


def _picture(image: NDArray[np.floating]) -> Pillow.Image:
    return Pillow.fromarray(np.round(np.clip(image, 0, 1) * 255).astype(np.uint8))


def _hot(heat: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return black, red, yellow, white for 0 to 1 (the map that nuclear medicine calls hot)."""
    channels: NDArray[np.floating] = np.stack(
        [np.clip(heat * 3, 0, 1), np.clip(heat * 3 - 1, 0, 1), np.clip(heat * 3 - 2, 0, 1)], axis=-1
    )
    return channels


def _sides(draw: ImageDraw.ImageDraw, corner: tuple[int, int], left: str, right: str) -> None:
    """Write the patient's sides into the upper corners of a panel, legible on black and white."""
    x, y = corner
    for letter, place in ((left, x + 8), (right, x + _PANEL - 24)):
        draw.text((place, y + 4), letter, _WARN, _font(24), stroke_width=2, stroke_fill=(0, 0, 0))


def _heading(draw: ImageDraw.ImageDraw, lesion: Lesion | None) -> None:
    subject = "no lesion found" if lesion is None else f"{lesion.label} lesion"
    draw.text((16, 14), f"FDG PET/CT analysis: {subject}", _INK, _font(26))


def _colour_bar(canvas: Pillow.Image, draw: ImageDraw.ImageDraw, *, fused: bool) -> None:
    """Draw the SUV scale of each panel below it, in the panel's own colours."""
    ramp = np.tile(np.linspace(0, 1, 300), (12, 1))
    grey = np.repeat(1 - ramp[..., None], 3, axis=-1)
    for x, image in ((16, _hot(ramp) if fused else grey), (SIDE - _PANEL, grey)):
        y = _TOP + _PANEL + 12
        canvas.paste(_picture(image), (x, y))
        draw.rectangle((x - 1, y - 1, x + 300, y + 12), outline=_GREY)
        draw.text((x, y + 15), "0", _INK, _font(15))
        draw.text((x + 286, y + 15), f"{_SUV_SHOWN:.0f}", _INK, _font(15))
        draw.text((x + 110, y + 15), "SUVbw (g/ml)", _INK, _font(15))


def _measures(lesion: Lesion | None) -> list[tuple[str, tuple[int, int, int]]]:
    if lesion is None:
        return [("No lesion that meets the rules was found.", _INK)]
    peak = "-" if lesion.suv_peak is None else f"{lesion.suv_peak:.2f}"
    side = f" ({lesion.laterality})" if lesion.laterality else ""
    lines = [
        f"SUVmax {lesion.suv_max:.2f}, mean {lesion.suv_mean:.2f}, peak {peak} g/ml",
        f"Metabolic volume {lesion.mtv_ml:.2f} ml, TLG {lesion.tlg_g:.2f} g",
        f"Volume {lesion.volume_ml:.2f} ml",
        f"Longest axial diameter {lesion.longest_axial_diameter_mm:.1f} mm",
        f"Longest diameter {lesion.longest_diameter_mm:.1f} mm",
        f"Region from: {lesion.source}{side}",
    ]
    return [(line, _INK) for line in lines]


def _judgement(findings: Findings) -> list[tuple[str, tuple[int, int, int]]]:
    lines = [(_prediction(one), _WARN if one.high else _INK) for one in findings.predictions]
    if findings.risk is not None:
        lines.append((f"Risk of occult nodal metastasis: {findings.risk.upper()}", _INK))
    elif findings.lesions:
        lines.append(("No prediction", _INK))
    if not findings.applicable:
        lines.append(("The model does not apply to this study:", _WARN))
        lines += [(f"{one.code}: {one.meaning}", _WARN) for one in findings.inapplicable]
    return lines


def _cautions(petct: PetCt, findings: Findings) -> list[tuple[str, tuple[int, int, int]]]:
    """Return how many further lesions there are, then every warning; the report has them whole."""
    further = len(findings.lesions) - 1
    lines = [(f"{further} further lesion(s): see the report", _INK)] if further > 0 else []
    warnings = dict.fromkeys((*petct.warnings, *findings.warnings))
    return lines + [(f"{one.code}: {one.meaning}", _GREY) for one in warnings]


def _prediction(one: Prediction) -> str:
    level = "HIGH" if one.high else "low"
    name = task_label(one.task)
    probability, cutoff = in_percent(one.probability, one.cutoff)
    return f"{name[:1].upper()}{name[1:]}: {probability} % (cut-off {cutoff} %) {level}"


def _footer(draw: ImageDraw.ImageDraw, findings: Findings) -> None:
    bundle = findings.bundle
    said = [
        (RESEARCH_USE, _WARN),
        (bundle.training_data, _WARN),
        (f"{bundle.name} {bundle.version}, {bundle.digest[:19]}", _GREY),
    ]
    shown = [line for line in said if line[0]]
    _lines(draw, (16, SIDE - 150), shown, _font(18), width=SIDE - 32, bottom=SIDE)


def _lines(
    draw: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    lines: Sequence[tuple[str, tuple[int, int, int]]],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    *,
    width: int = SIDE // 2 - 32,
    bottom: int = SIDE - 170,
) -> None:
    """Write lines below each other, each broken at blanks to fit ``width`` pixels.

    What does not fit above ``bottom`` is left out, and dots say so.
    """
    parts = [(part, colour) for line, colour in lines for part in _broken(line, font, width)]
    x, y = corner
    room = (bottom - y) // _LINE
    if len(parts) > room:
        parts = [*parts[: room - 1], ("...", _INK)]
    for part, colour in parts:
        draw.text((x, y), part, colour, font)
        y += _LINE


def _broken(line: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> list[str]:
    parts = [""]
    for word in line.split(" "):
        longer = f"{parts[-1]} {word}".strip()
        if font.getlength(longer) <= width or not parts[-1]:
            parts[-1] = longer
        else:
            parts.append(word)
    return parts


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
