"""The segments of a Segmentation, as masks on the lattice of its frames."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from inference.geometry import Grid
from inference.volume import Mask, Region
from node.dicom.attributes import Attributes, codes, frame_headers, items, number, text
from node.dicom.geometry import VOXELS_MOST, PlaneGeometry, Positions, heights, plane_geometry
from node.dicom.reading import stored_pixels
from node.dicom.rtstruct import References

HALF = 0.5
"""A voxel belongs to a fractional segment from this part on."""
_OFF_LATTICE = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """One segment: what it is called and what it shows."""

    number: int
    label: str
    codes: tuple[Code, ...]
    automatic: bool
    """Drawn by an algorithm alone (Segment Algorithm Type)."""
    sites: tuple[Code, ...] = ()
    """Anatomic Region."""


def segments(dataset: Dataset) -> tuple[Segment, ...]:
    """Return what the segments of a Segmentation are."""
    return tuple(
        Segment(
            number=int(number(item, "SegmentNumber") or 0),
            label=text(item, "SegmentLabel"),
            codes=codes(item, "SegmentedPropertyTypeCodeSequence"),
            automatic=text(item, "SegmentAlgorithmType").upper() == "AUTOMATIC",
            sites=codes(item, "AnatomicRegionSequence"),
        )
        for item in items(dataset, "SegmentSequence")
    )


def references(dataset: Dataset) -> References:
    """Return the images that a Segmentation was drawn on, and the series these belong to."""
    listed = items(dataset, "ReferencedSeriesSequence")
    return References(
        instances=frozenset(
            text(image, "ReferencedSOPInstanceUID")
            for series in listed
            for image in items(series, "ReferencedInstanceSequence")
        ),
        series=frozenset(text(series, "SeriesInstanceUID") for series in listed),
    )


def region(dataset: Dataset, segment: Segment, *, image_step_mm: float | None = None) -> Region:
    """Return one segment on its own lattice; raise ValueError where its frames make none.

    Frames may be sparse and in any order: what no frame holds is outside the segment. How far
    planes are apart is told by the first of these that fits the frames: Spacing Between Slices,
    ``image_step_mm`` of the images that were segmented, Slice Thickness, the smallest gap.
    """
    pixels: NDArray[np.generic] = stored_pixels(dataset)
    if pixels.ndim == 2:
        pixels = pixels[None]
    kind = text(dataset, "SegmentationType").upper()
    planes, masks = [], []
    for header, frame in zip(frame_headers(dataset), pixels, strict=True):
        place = plane_geometry(header)
        if place is None:
            raise ValueError("a frame of the Segmentation has no position")
        if kind == "LABELMAP" or _number_of(header) == segment.number:
            planes.append(place)
            masks.append(_member(frame, segment.number, kind, dataset))
    if not planes:
        raise ValueError(f"segment {segment.number} has no frame")
    header = frame_headers(dataset)[0]
    thickness_mm = number(header, "SliceThickness")
    steps = (number(header, "SpacingBetweenSlices"), image_step_mm, thickness_mm)
    return _stacked(planes, masks, [step for step in steps if step is not None and step > 0])


def _number_of(header: Attributes) -> int:
    return int(number(header, "ReferencedSegmentNumber") or 0)


def _member(frame: NDArray[np.generic], segment: int, kind: str, dataset: Dataset) -> Mask:
    if kind == "LABELMAP":
        member: Mask = np.asarray(frame) == segment
    elif kind == "FRACTIONAL":
        whole = number(dataset, "MaximumFractionalValue") or 255.0
        member = np.asarray(frame, np.float64) >= HALF * whole
    else:
        member = np.asarray(frame) > 0
    return member


def _stacked(
    planes: Sequence[PlaneGeometry], masks: Sequence[Mask], steps_mm: Sequence[float]
) -> Region:
    first = planes[0]
    if not all(first.is_parallel_to(plane) for plane in planes):
        raise ValueError("the frames of the Segmentation are not parallel")
    places = heights(planes)
    gaps = np.diff(np.unique(np.round(places, 3)))
    smallest = [float(gaps.min())] if gaps.size else [1.0]
    step_mm = next((step for step in (*steps_mm, *smallest) if _fits(places, step)), None)
    if step_mm is None:
        raise ValueError("the frames of the Segmentation are not evenly spaced")
    indices = np.rint((places - places.min()) / step_mm).astype(int)
    shape = (int(indices.max()) + 1, *first.shape)
    if prod(shape) > VOXELS_MOST:
        raise ValueError("the frames of the Segmentation lie too far apart")
    mask: Mask = np.zeros(shape, np.bool_)
    for index, member in zip(indices, masks, strict=True):
        mask[index] |= member
    grid = Grid(
        shape=mask.shape,
        spacing=(step_mm, *first.spacing),
        origin=planes[int(places.argmin())].position,
        direction=(first.normal, first.row_axis, first.column_axis),
        frame_of_reference_uid=first.frame_of_reference_uid,
    )
    return Region(mask=mask, grid=grid)


def _fits(places: Positions, step_mm: float) -> bool:
    """Tell whether places are whole steps apart, and no two that differ are the same step."""
    steps = (places - places.min()) / step_mm
    whole = np.rint(steps)
    distinct = np.unique(np.round(places, 3)).size
    return bool(np.abs(steps - whole).max() <= _OFF_LATTICE) and np.unique(whole).size == distinct
