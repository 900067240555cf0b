"""The key image: where on it sections, projections, scales and words stand."""

from dataclasses import replace
from itertools import pairwise
from typing import Final

import numpy as np
from PIL import Image, ImageDraw

from inference.findings import Findings, Lesion
from inference.petct import PetCt
from node.dicom.capture import projections, scales, sections, words
from node.dicom.capture.colours import FRAME, INK, MUTED, PAPER, PRIMARY, WARN, Pixels
from node.dicom.capture.text import NORMAL, SMALL, Box, broken, write, write_lines
from node.dicom.codes import task_label
from node.dicom.planes import PLANES
from node.dicom.provenance import RESEARCH_USE

SIDE: Final = 1024
_NINE: Final = Box(x=3, y=40, width=697, height=694)
_SIDEBAR: Final = Box(x=720, y=64, width=294, height=670)
_HEADS: Final = 48
_GAP: Final = 14
_WORDS: Final = Box(x=16, y=748, width=992, height=200)
_STATEMENT: Final = Box(x=16, y=956, width=992, height=66)
_COLUMNS: Final = (16, 384, 716)
_SALIENCY: Final = 254
_NAME: Final = 38
_SHOWN_TASKS: Final = 2


def render(petct: PetCt, findings: Findings, body: projections.Body | None = None) -> Pixels:
    """Return the key image as ``(1024, 1024, 3)`` RGB; it holds nothing of the patient's identity.

    Nine sections through the hottest point of the primary (else of the first lesion), the coronal
    projection, where the networks looked, and the numbers. Without a lesion: three projections.
    """
    body = body or projections.body(petct.pet)
    canvas = Image.new("RGB", (SIDE, SIDE), PAPER)
    lesion = findings.primary or next(iter(findings.lesions), None)
    write(canvas, (16, 9), words.title(petct, lesion), size=22)
    write(canvas, (SIDE - 16, 12), RESEARCH_USE, ink=WARN, size=NORMAL, anchor="rt")
    if lesion is None:
        _overview(canvas, body)
    else:
        shown = sections.scene(petct, lesion, findings.lesions)
        sections.draw(canvas, _NINE, shown)
        _sidebar(canvas, shown, findings, body)
    _words(canvas, petct, findings, lesion)
    return np.asarray(canvas, dtype=np.uint8)


def _overview(canvas: Image.Image, body: projections.Body) -> None:
    """Draw the projections onto the three planes side by side, all to the same scale."""
    gap, height = 16, _NINE.height - 24 - scales.SUV_HEIGHT
    sizes = [body.extent_mm(plane) for plane in PLANES]
    room = Box(x=0, y=0, width=SIDE - 2 * gap - 2 * gap, height=height)
    step = projections.fitting_step_mm(
        max(tall for tall, _ in sizes), sum(wide for _, wide in sizes), room
    )
    x = gap
    for plane, (_, wide) in zip(PLANES, sizes, strict=True):
        box = Box(x=x, y=_NINE.y + 24, width=max(int(wide / step), 1), height=height)
        projections.draw(canvas, box, body, plane, step_mm=step)
        head = f"{plane.capitalize()} projection"
        write(canvas, (box.x + box.width // 2, _HEADS), head, anchor="mm")
        x = box.right + gap
    scale = Box(
        x=gap, y=_NINE.bottom - scales.SUV_HEIGHT, width=_SIDEBAR.width, height=scales.SUV_HEIGHT
    )
    scales.suv(canvas, scale, fused=False)


def _sidebar(
    canvas: Image.Image, shown: sections.Scene, findings: Findings, body: projections.Body
) -> None:
    """Draw below each other the projection, the SUV scale and where the networks looked."""
    looked = _SALIENCY if findings.saliency else 0
    head = "Coronal projection (MIP) of the PET"
    write(canvas, (_SIDEBAR.x + _SIDEBAR.width // 2, _HEADS), head, anchor="mm")
    room = replace(_SIDEBAR, height=_SIDEBAR.height - scales.SUV_HEIGHT - looked - _GAP)
    tall, wide = body.extent_mm("coronal")
    step = projections.fitting_step_mm(tall, wide, room)
    room = replace(room, height=min(round(tall / step), room.height))
    lesions = (shown.lesion, *shown.further)
    projections.draw(canvas, room, body, "coronal", step_mm=step, lesions=lesions)
    scale = replace(_SIDEBAR, y=room.bottom + _GAP, height=scales.SUV_HEIGHT)
    scales.suv(canvas, scale, fused=True)
    if findings.saliency:
        _saliency(canvas, replace(_SIDEBAR, y=scale.bottom, height=looked), shown, findings)


def _saliency(canvas: Image.Image, box: Box, shown: sections.Scene, findings: Findings) -> None:
    """Draw a panel for each of the first two networks, and which colour is how much."""
    gap = 8
    side = (box.width - gap) // _SHOWN_TASKS
    write(canvas, (box.x + box.width // 2, box.y + 10), words.WHERE_IT_LOOKED, anchor="mm")
    shown_tasks = findings.saliency[:_SHOWN_TASKS]
    near = sections.close_up(shown, side)
    for number, one in enumerate(shown_tasks):
        tile = Box(x=box.x + number * (side + gap), y=box.y + 24, width=side, height=side)
        sections.draw_saliency(canvas, tile, near, one)
        name = Box(x=tile.x, y=tile.bottom + 4, width=side, height=_NAME)
        write_lines(canvas, name, [(task_label(one.task), INK)], size=SMALL)
    lines = max(len(broken(task_label(one.task), SMALL, side)) for one in shown_tasks)
    y = box.y + 24 + side + 10 + min(lines * 19, _NAME)
    scales.saliency(canvas, replace(box, y=y))


def _words(canvas: Image.Image, petct: PetCt, findings: Findings, lesion: Lesion | None) -> None:
    """Write measures, predictions and reservations beside each other, and the statement below."""
    draw = ImageDraw.Draw(canvas)
    for y in (_WORDS.y - 5, _STATEMENT.y - 6):
        draw.line((16, y, SIDE - 16, y), fill=FRAME)
    boxes = [
        Box(x=x, y=_WORDS.y, width=end - x - 16, height=_WORDS.height)
        for x, end in pairwise((*_COLUMNS, SIDE))
    ]
    if lesion is None:
        write_lines(canvas, boxes[0], [(words.NOTHING_FOUND, INK)])
    else:
        _table(canvas, boxes[0], lesion)
    predictions = words.judgement(findings)
    head = [("Predictions", MUTED)] if predictions else []
    write_lines(canvas, boxes[1], [*head, *predictions])
    notes = words.reservations(petct, findings)
    write_lines(canvas, boxes[2], [("Notes", MUTED), *notes] if notes else [], size=SMALL)
    write_lines(canvas, _STATEMENT, words.statement(findings), size=SMALL)


def _table(canvas: Image.Image, box: Box, lesion: Lesion) -> None:
    head = f"{lesion.label[:1].upper()}{lesion.label[1:]} lesion"
    write_lines(
        canvas, box, [(head, PRIMARY), *((name, MUTED) for name, _ in words.measures(lesion))]
    )
    beside = Box(x=box.x + 152, y=box.y, width=box.width - 152, height=box.height)
    write_lines(canvas, beside, [("", INK), *((value, INK) for _, value in words.measures(lesion))])
