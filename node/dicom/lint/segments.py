"""A Segmentation as plain values: its segments, and which frame shows which of them where."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from node.dicom.lint.items import Item, numbers, whole
from node.dicom.lint.tree import concept


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a Segmentation as its header tells it."""

    segment: int
    source: tuple[str, int | None] | None
    """Instance and frame number of the source plane, or None where none or several are cited."""
    position: tuple[float, ...]


def segment_of(frame: Item) -> int:
    """Return the number of a frame's segment, or 0 where it tells none."""
    for item in frame.get("SegmentIdentificationSequence", []):
        return int(item.get("ReferencedSegmentNumber") or 0)
    return 0


def frames_of(dataset: Item) -> list[Frame]:
    """Return every frame of a Segmentation, in order; what all share may stand apart."""
    shared = sum(segment_of(one) for one in dataset.get("SharedFunctionalGroupsSequence", []))
    return [
        Frame(segment=segment_of(item) or shared, source=_plane(item), position=_position(item))
        for item in dataset.get("PerFrameFunctionalGroupsSequence", [])
    ]


def occupied(dataset: Item) -> list[bool] | None:
    """Tell for each frame whether it holds a voxel; None where the pixels do not fit the header."""
    size, count = _size(dataset), whole(dataset, "NumberOfFrames") or 0
    packed = np.frombuffer(dataset.get("PixelData") or b"", dtype=np.uint8)
    length = -(-size * count // 8)
    if not size or not count or len(packed) != length + length % 2:
        return None
    if size % 8 == 0:  # no frame shares a byte with another
        frames = packed[:length].reshape(count, -1)
    else:
        frames = _unpacked(packed)[: size * count].reshape(count, -1)
    return [bool(frame.any()) for frame in frames]


def mask_of(dataset: Item, index: int) -> NDArray[np.bool_]:
    """Return one frame's voxels; the pixels must fit the header."""
    size = _size(dataset)
    first, last = index * size // 8, -(-(index + 1) * size // 8)
    packed = np.frombuffer(dataset["PixelData"], dtype=np.uint8)[first:last]
    start = index * size - 8 * first
    bits = _unpacked(packed)[start : start + size]
    mask: NDArray[np.bool_] = bits.reshape(dataset["Rows"], dataset["Columns"]).astype(bool)
    return mask


def tracking_of(dataset: Item) -> dict[int, tuple[str, str]]:
    """Return Tracking ID and Tracking UID by the number of the segment."""
    return {
        int(one.get("SegmentNumber") or 0): (
            str(one.get("TrackingID", "")),
            str(one.get("TrackingUID", "")),
        )
        for one in dataset.get("SegmentSequence", [])
    }


def types_of(dataset: Item) -> dict[int, tuple[str, str]]:
    """Return what each segment is, by its number."""
    return {
        int(one.get("SegmentNumber") or 0): concept(one, "SegmentedPropertyTypeCodeSequence")
        for one in dataset.get("SegmentSequence", [])
    }


def _size(dataset: Item) -> int:
    return int(dataset.get("Rows") or 0) * int(dataset.get("Columns") or 0)


def _unpacked(packed: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.unpackbits(packed, bitorder="little")


def _plane(frame: Item) -> tuple[str, int | None] | None:
    cited = [
        item
        for derivation in frame.get("DerivationImageSequence", [])
        for item in derivation.get("SourceImageSequence", [])
    ]
    if len(cited) != 1:
        return None
    return str(cited[0].get("ReferencedSOPInstanceUID")), whole(cited[0], "ReferencedFrameNumber")


def _position(frame: Item) -> tuple[float, ...]:
    for item in frame.get("PlanePositionSequence", []):
        return numbers(item, "ImagePositionPatient")
    return ()
