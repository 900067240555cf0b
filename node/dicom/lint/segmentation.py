"""Whether a Segmentation lies voxel for voxel on its source, names it and can be drawn."""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from node.dicom.lint import segments
from node.dicom.lint.faults import Found, Rule
from node.dicom.lint.identity import own_equipment
from node.dicom.lint.images import Source
from node.dicom.lint.items import Item, numbers, whole
from node.dicom.lint.place import unindexed, wrong_place

_TYPE_1: Final = (
    "SegmentLabel",
    "SegmentAlgorithmType",
    "SegmentedPropertyCategoryCodeSequence",
    "SegmentedPropertyTypeCodeSequence",
)
_AUTOMATIC: Final = frozenset({"AUTOMATIC", "SEMIAUTOMATIC"})


def wrong_segmentation(dataset: Item, source: Source) -> Iterator[Found]:
    """Yield everything that makes a Segmentation wrong or invisible."""
    yield from _wrong_form(dataset)
    yield from _wrong_segments(dataset)
    frames = segments.frames_of(dataset)
    yield from _wrong_frames(dataset, frames)
    yield from wrong_place(dataset, frames, source)


def _wrong_form(dataset: Item) -> Iterator[Found]:
    """Yield what no viewer, or not every viewer, draws."""
    if dataset.get("SegmentationType") != "BINARY":
        yield Rule.VIEWER, "it is not BINARY"
    bits = [dataset.get(keyword) for keyword in ("BitsAllocated", "BitsStored", "HighBit")]
    if bits != [1, 1, 0] or dataset.get("SamplesPerPixel") != 1:
        yield Rule.PIXELS, "it has not one bit a voxel"
    if dataset.get("PhotometricInterpretation") != "MONOCHROME2":
        yield Rule.PIXELS, "its pixels are not MONOCHROME2"
    shown = segments.occupied(dataset)
    if shown is None:
        yield Rule.PIXELS, "Pixel Data does not fit rows, columns and frames"
    elif not all(shown):
        yield Rule.PIXELS, "a frame is empty"


def _wrong_segments(dataset: Item) -> Iterator[Found]:
    described = dataset.get("SegmentSequence", None) or []
    counted = [one.get("SegmentNumber") for one in described]
    if not counted or counted != list(range(1, len(counted) + 1)):
        yield Rule.PIXELS, "segments are not numbered from 1 by 1"
    uids = [one.get("TrackingUID") for one in described]
    if not all(one.get("TrackingID") and one.get("TrackingUID") for one in described):
        yield Rule.TRACKING, "a segment is not tracked"
    elif len(set(uids)) != len(uids):
        yield Rule.TRACKING, "two segments are tracked as one lesion"
    for one in described:
        yield from _wrong_segment(one, own_equipment(dataset))


def _wrong_segment(segment: Item, device: Item) -> Iterator[Found]:
    for keyword in _TYPE_1:
        if not segment.get(keyword):
            yield Rule.TEMPLATE, f"a segment lacks {keyword}"
    if len(numbers(segment, "RecommendedDisplayCIELabValue")) != 3:
        yield Rule.VIEWER, "a segment has no colour"
    yield from _wrong_algorithm(segment, device)


def _wrong_algorithm(segment: Item, device: Item) -> Iterator[Found]:
    by_algorithm = segment.get("SegmentAlgorithmType") in _AUTOMATIC
    if by_algorithm and not segment.get("SegmentAlgorithmName"):
        yield Rule.EQUIPMENT, "a segment does not name its algorithm"
    for item in segment.get("SegmentationAlgorithmIdentificationSequence", None) or [{}]:
        for keyword, other in (
            ("AlgorithmSource", "Manufacturer"),
            ("AlgorithmName", "ManufacturerModelName"),
            ("AlgorithmVersion", "SoftwareVersions"),
        ):
            if str(item.get(keyword)) != str(device.get(other)):
                yield Rule.EQUIPMENT, f"{keyword} differs from Contributing Equipment"
        if not item.get("AlgorithmFamilyCodeSequence"):
            yield Rule.EQUIPMENT, "AlgorithmFamilyCodeSequence is absent"


def _wrong_frames(dataset: Item, frames: list[segments.Frame]) -> Iterator[Found]:
    if whole(dataset, "NumberOfFrames") != len(frames):
        yield Rule.PIXELS, "there are not as many frames as descriptions of frames"
    shown = Counter(frame.segment for frame in frames)
    if set(shown) != set(segments.tracking_of(dataset)):
        yield Rule.PIXELS, "frames and segments do not name each other"
    if any(count > 1 for count in Counter((f.segment, f.position) for f in frames).values()):
        yield Rule.PIXELS, "a segment has two frames at one place"
    yield from unindexed(dataset)
