"""The PET seen from all sides: maximum projections around the patient's long axis."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image as Pillow

from inference.findings import Findings, Lesion
from inference.geometry import Points
from inference.petct import PetCt
from inference.volume import Voxels
from node.dicom import planes
from node.dicom.capture import colours, panel, projections
from node.dicom.capture.colours import Pixels
from node.dicom.capture.projections import Body
from node.dicom.capture.text import Box
from node.dicom.planes import Image

FRAMES: Final = 24
_MOST_PIXELS: Final = 40_000
_LONGEST: Final = 320
_LEAST_STEP_MM: Final = 2.0
_LEAST_LINES_MM: Final = 1.5


@dataclass(frozen=True, kw_only=True, eq=False)
class _Turntable:
    """The body on its axis, and how finely it is looked at."""

    shown: Body
    columns: Voxels
    """The body with its slices last, so that one column of voxels lies together."""
    lines_mm: float
    """Between one line of sight and the next, and between two points on it."""
    step_mm: float
    """The size of a pixel."""

    @property
    def radius_mm(self) -> float:
        """How far the body reaches from the axis."""
        return _radius_mm(self.shown)


def rotate(petct: PetCt, findings: Findings) -> Pixels:
    """Return ``(24, rows, columns, 3)`` RGB: the first from the front, the seventh from the left.

    The lesions are outlined, and each frame says which side of the patient is where.
    """
    first = findings.primary or next(iter(findings.lesions), None)
    lesions = [] if first is None else [first, *(x for x in findings.lesions if x is not first)]
    table = _turntable(projections.body(petct.pet))
    frames = dict(_frames(table, lesions))
    return np.stack([frames[number] for number in range(FRAMES)])


def _turntable(shown: Body) -> _Turntable:
    height, width = shown.extent_mm("coronal")[0], 2 * _radius_mm(shown)
    by_area = float(np.sqrt(height * width / _MOST_PIXELS))
    return _Turntable(
        shown=shown,
        columns=np.ascontiguousarray(np.moveaxis(np.nan_to_num(shown.voxels), 0, -1)),
        lines_mm=max(min(shown.grid.spacing[1:]), _LEAST_LINES_MM),
        step_mm=max(by_area, max(height, width) / _LONGEST, _LEAST_STEP_MM),
    )


def _radius_mm(shown: Body) -> float:
    depth, width = shown.extent_mm("axial")
    return float(np.hypot(depth, width) / 2)


def _frames(table: _Turntable, lesions: Sequence[Lesion]) -> Iterator[tuple[int, Pixels]]:
    """Yield the number of every frame and the frame."""
    half = FRAMES // 2
    for number in range(half):
        suv = _seen_from(table, number)
        yield number, _frame(suv, table, number, lesions)
        # From behind, the same lines of sight meet the same maximum: the mirror image.
        yield number + half, _frame(suv[:, ::-1], table, number + half, lesions)


def _directions(number: int) -> tuple[Points, Points]:
    """Return the directions to the right of a frame and away from the viewer."""
    angle = 2 * np.pi * number / FRAMES
    cosine, sine = float(np.cos(angle)), float(np.sin(angle))
    return np.array([cosine, sine, 0.0]), np.array([-sine, cosine, 0.0])


def _seen_from(table: _Turntable, number: int) -> Image:
    """Return the greatest SUV along each line of sight; rows are the slices of the body."""
    right, away = _directions(number)
    grid = table.shown.grid
    count = max(int(2 * table.radius_mm / table.lines_mm), 1)
    along = (np.arange(count) - (count - 1) / 2) * table.lines_mm
    points = along[:, None, None] * right + along[None, :, None] * away + np.asarray(grid.centre)
    indices = np.rint(grid.to_indices(points)[..., 1:]).astype(int)
    inside = np.all((indices >= 0) & (indices < table.columns.shape[:2]), axis=-1)
    suv = np.zeros((count, grid.shape[0]), dtype=np.float32)
    for line in range(count):
        met = indices[line][inside[line]]
        if len(met):
            suv[line] = table.columns[met[:, 0], met[:, 1]].max(axis=0)
    return suv.T


def _frame(suv: Image, table: _Turntable, number: int, lesions: Sequence[Lesion]) -> Pixels:
    right, _ = _directions(number)
    grid = table.shown.grid
    top = np.array([*grid.centre[:2], grid.origin[2]])
    view, image = projections.scaled(
        suv,
        top - right * ((suv.shape[1] - 1) / 2 * table.lines_mm),
        axes=(right, planes.directions("coronal")[1]),
        spacing=(grid.spacing[0], table.lines_mm),
        step_mm=table.step_mm,
    )
    rows, columns = view.shape
    canvas = Pillow.new("RGB", (columns, rows))
    box = Box(x=0, y=0, width=columns, height=rows)
    panel.place(canvas, box, colours.inverse(image), projections.outlined(lesions, view))
    panel.mark_sides(canvas, box, view)
    return np.asarray(canvas, dtype=np.uint8)
