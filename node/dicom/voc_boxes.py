"""Boxes that readers drew on single images, as Pascal VOC files, become one mark on the CT."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np

from inference.geometry import Grid, Points
from inference.petct import GivenRegion, RegionSource
from inference.volume import Mask, Region
from node.dicom import polygons
from node.dicom.attributes import UNREADABLE
from node.dicom.geometry import PlaneGeometry, plane_geometry
from node.dicom.headers import is_uid
from node.dicom.reading import read_headers
from node.errors import NotUnderstood

FILE_BYTES_MOST = 2**20
"""A thousand boxes; what is larger is no annotation of one image."""
_SAME_PLANE = 0.1
"""In slices."""
_TAGS = (
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "Rows",
    "Columns",
    "FrameOfReferenceUID",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Box:
    """One box on one image: the first and the last row and column that it holds."""

    sop_instance_uid: str
    """The file's name, which names the image."""
    rows: tuple[float, float]
    columns: tuple[float, float]
    image_shape: tuple[int, int] | None
    """Rows and columns of the image that the reader saw; None where the file does not say."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Marked:
    """What the boxes of one study came to."""

    given: GivenRegion | None
    placed: int
    elsewhere: int
    """Boxes on images that are not here, of another size, or in another frame of reference."""


def read_boxes(path: Path) -> tuple[Box, ...]:
    """Read the boxes of one image; ``NotUnderstood`` where the file is no such thing.

    Document types and entities are refused unread, as is all but UTF-8, in which they could hide:
    an annotation needs none, and they are what an XML bomb is made of.
    """
    if not is_uid(path.stem):
        raise NotUnderstood(f"the name of {path.name} is no SOP Instance UID")
    try:
        with path.open("rb") as file:
            held = file.read(FILE_BYTES_MOST + 1)
        written = held.decode("utf-8-sig")
        if len(held) > FILE_BYTES_MOST or "<!" in written:
            raise NotUnderstood(f"{path.name} is too large, or declares what no annotation needs")
        root = ET.fromstring(written)  # noqa: S314  (no declaration is left in it)
        shape = _shape(root.find("size"))
        found = [_box(node, path.stem, shape) for node in root.iter("bndbox")]
    except (ET.ParseError, ValueError, LookupError) as error:
        raise NotUnderstood(f"{path.name} is no Pascal VOC annotation: {error}") from error
    return tuple(found)


def marked_region(
    boxes: Sequence[Box], files: Mapping[str, Path], ct: Grid, *, series_instance_uid: str
) -> Marked:
    """Place boxes in the patient and return the voxels of the CT in them, as a mark.

    A box is no contour: it only marks which avid focus is meant, whose extent the PET's threshold
    gives. ``files`` are the images of the study by SOP Instance UID. An image need not belong to
    the chosen CT, but must lie in its frame of reference, with slices parallel to its own.
    """
    placed = []
    for box in boxes:
        corners = _corners(box, files, ct.frame_of_reference_uid)
        if corners is not None:
            placed.append(corners)
    mask, dropped = _union(placed, ct)
    counted = len(placed) - dropped
    given = GivenRegion(
        region=Region(mask=mask, grid=ct),
        source=RegionSource.BOX,
        name="primary",
        series_instance_uid=series_instance_uid,
        sop_instance_uid="",
        origin=f"a reader boxed it on {counted} images",
        marks_only=True,
    )
    return Marked(
        given=given if mask.any() else None,
        placed=counted,
        elsewhere=len(boxes) - counted,
    )


def _union(boxes: Sequence[Points], ct: Grid) -> tuple[Mask, int]:
    """Return the voxels in any box, and how many boxes lie on no slice.

    Polygons of one plane cut holes in each other; so of each plane one box is drawn at a time.
    """
    layers: dict[int, list[Points]] = {}
    heights: list[float] = []
    for corners in boxes:
        height = float(ct.to_indices(corners)[:, 0].mean())
        before = sum(abs(height - other) < _SAME_PLANE for other in heights)
        layers.setdefault(before, []).append(corners)
        heights.append(height)
    mask: Mask = np.zeros(ct.shape, np.bool_)
    dropped = 0
    for layer in layers.values():
        drawn = polygons.draw(layer, ct)
        mask |= drawn.mask
        dropped += drawn.dropped
    return mask, dropped


def _corners(box: Box, files: Mapping[str, Path], frame_of_reference_uid: str) -> Points | None:
    """Return the corners of a box in LPS mm, or None where its image does not place it."""
    path = files.get(box.sop_instance_uid)
    plane = None if path is None else _plane(path)
    if plane is None or plane.frame_of_reference_uid != frame_of_reference_uid:
        return None
    if box.image_shape not in (None, plane.shape):
        return None
    (top, bottom), (left, right) = box.rows, box.columns
    corners = np.asarray([(top, left), (top, right), (bottom, right), (bottom, left)])
    down = np.asarray(plane.row_axis) * plane.spacing[0]
    along = np.asarray(plane.column_axis) * plane.spacing[1]
    points: Points = np.asarray(plane.position) + corners[:, :1] * down + corners[:, 1:] * along
    return points


def _plane(path: Path) -> PlaneGeometry | None:
    try:
        return plane_geometry(read_headers(path, _TAGS))
    except UNREADABLE:
        return None


def _shape(size: ET.Element | None) -> tuple[int, int] | None:
    if size is None:
        return None
    rows, columns = (int(_text(size, name)) for name in ("height", "width"))
    return (rows, columns) if rows > 0 and columns > 0 else None


def _box(node: ET.Element, sop_instance_uid: str, shape: tuple[int, int] | None) -> Box:
    left, top, right, bottom = (
        float(_text(node, name)) for name in ("xmin", "ymin", "xmax", "ymax")
    )
    if not (0 <= left <= right < 2**16 and 0 <= top <= bottom < 2**16):
        raise ValueError("a box without extent")
    # Half a pixel on either side, so that the pixels at the edges lie inside.
    return Box(
        sop_instance_uid=sop_instance_uid,
        rows=(top - 0.5, bottom + 0.5),
        columns=(left - 0.5, right + 0.5),
        image_shape=shape,
    )


def _text(node: ET.Element, name: str) -> str:
    found = node.findtext(name)
    if found is None:
        raise LookupError(f"no {name}")
    return found
