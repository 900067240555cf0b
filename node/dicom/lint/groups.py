"""Whether measurement groups track the segments' lesions, and whether a viewer would draw them."""

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np
from pydicom.sr.codedict import codes

from node.dicom.lint import segments
from node.dicom.lint.faults import Found, Rule
from node.dicom.lint.images import Source, SourceSeries
from node.dicom.lint.items import Item, numbers, whole
from node.dicom.lint.report import GROUP
from node.dicom.lint.tree import Node, key

_IDENTIFIER: Final = key(codes.DCM.TrackingIdentifier)
_UID: Final = key(codes.DCM.TrackingUniqueIdentifier)
_SEGMENT: Final = key(codes.DCM.ReferencedSegment)
_SOURCE: Final = key(codes.DCM.SourceSeriesForSegmentation)
_FINDING: Final = key(codes.DCM.Finding)
_REPORT: Final = key(codes.DCM.ImagingMeasurementReport)
_REGIONS: Final = frozenset({"SCOORD", "SCOORD3D"})


def wrong_tracking(root: Node, segmentations: Mapping[str, Item]) -> Iterator[Found]:
    """Yield groups that are not tracked, and segments and groups that do not know each other.

    ``segmentations`` are those that go out with the report, by SOP Instance UID.
    """
    for group in root.below(GROUP):
        for code, what in ((_IDENTIFIER, "Identifier"), (_UID, "Unique Identifier")):
            if len([node for node in group.named(code) if node.text]) != 1:
                yield Rule.TRACKING, f"a group has no Tracking {what}, or several"
        if len(group.named(_FINDING)) != 1:
            yield Rule.TEMPLATE, "a group does not tell its finding"
        for node in group.named(_SEGMENT):
            yield from _wrong_segment(group, node, segmentations)


def missing_segments(root: Node, segmentations: Mapping[str, Item]) -> Iterator[Found]:
    """Yield segments of which the report tells nothing."""
    told = {
        (str(item.get("ReferencedSOPInstanceUID")), int(item.get("ReferencedSegmentNumber") or 0))
        for group in root.below(GROUP)
        for node in group.named(_SEGMENT)
        for item in node.references
    }
    there = {(uid, n) for uid, one in segmentations.items() for n in segments.tracking_of(one)}
    if there - told:
        yield Rule.TRACKING, "the report tells nothing of a segment"


def not_drawn(root: Node) -> Iterator[Found]:
    """Yield what leaves OHIF's viewport black, or offers a contour for another tool."""
    groups = root.below(GROUP)
    if groups and root.name != _REPORT:
        yield Rule.VIEWER, "under this title no viewer draws the contours"
    drawn = {
        _tracking(group)
        for group in groups
        for node in (*group.children, *(n for one in group.children for n in one.children))
        if node.value_type in _REGIONS
    }
    for group in groups:
        if _tracking(group) not in drawn:
            yield Rule.VIEWER, "a tracked lesion has no contour: the viewport stays black"
        for node in group.children:
            yield from _taken_for_a_tool(node)


def wrong_contours(
    root: Node, source: Source, segmentations: Mapping[str, Item]
) -> Iterator[Found]:
    """Yield contours that do not lie on a plane of the source, or not where the segment is."""
    for group in root.below(GROUP):
        for node in group:
            if node.value_type != "SCOORD":
                continue
            if [child.relationship for child in node.children] != ["SELECTED FROM"]:
                yield Rule.TEMPLATE, "a contour is not selected from one image"
            for item in (one for child in node.children for one in child.references):
                yield from _misplaced(group, node, item, source, segmentations)


def _wrong_segment(group: Node, node: Node, segmentations: Mapping[str, Item]) -> Iterator[Found]:
    item = next(iter(node.references), {})
    number = int(item.get("ReferencedSegmentNumber") or 0)
    dataset = segmentations.get(str(item.get("ReferencedSOPInstanceUID")))
    tracking = segments.tracking_of(dataset).get(number) if dataset is not None else None
    if dataset is None or tracking is None:
        yield Rule.TRACKING, "a group refers to a segment that does not go out with it"
        return
    identifier = "".join(one.text for one in group.named(_IDENTIFIER))
    if tracking != (identifier, _tracking(group)):
        yield Rule.TRACKING, "a group and its segment are tracked as different lesions"
    if {one.code for one in group.named(_FINDING)} != {segments.types_of(dataset)[number]}:
        yield Rule.TRACKING, "a group and its segment are different findings"
    series = [one.get("SeriesInstanceUID") for one in dataset.get("ReferencedSeriesSequence", [])]
    if [one.text for one in group.named(_SOURCE)] != series:
        yield Rule.TRACKING, "a group and its segment come from different series"


def _tracking(group: Node) -> str:
    return "".join(node.text for node in group.named(_UID))


def _taken_for_a_tool(node: Node) -> Iterator[Found]:
    """Yield a region that OHIF offers as probe or rectangle whatever its identifier."""
    if node.value_type != "SCOORD":
        return
    kind = node.dataset.get("GraphicType")
    points = len(numbers(node.dataset, "GraphicData")) // 2
    if kind == "POINT" or (kind == "POLYLINE" and points in {3, 4, 5}):
        yield Rule.VIEWER, f"a {kind} of {points} points is taken for another tool"


def _misplaced(
    group: Node, node: Node, item: Item, source: Source, segmentations: Mapping[str, Item]
) -> Iterator[Found]:
    plane = (str(item.get("ReferencedSOPInstanceUID")), whole(item, "ReferencedFrameNumber"))
    series = next((one for one in source.series.values() if plane in one.planes), None)
    points = np.asarray(numbers(node.dataset, "GraphicData"))
    if series is None or not len(points) or len(points) % 2:
        yield Rule.GEOMETRY, "a contour lies on no plane of PET or CT"
        return
    outline = points.reshape(-1, 2)
    if _outside(outline, series):
        yield Rule.GEOMETRY, "a contour leaves its image"
    for dataset in segmentations.values():
        yield from _beside(_tracking(group), node, outline, plane, dataset)


def _outside(outline: np.ndarray, series: SourceSeries) -> bool:
    _, rows, columns = series.grid.shape
    return bool((outline < 0).any() or (outline > (columns, rows)).any())


def _beside(
    tracking: str,
    node: Node,
    outline: np.ndarray,
    plane: tuple[str, int | None],
    dataset: Item,
) -> Iterator[Found]:
    """Yield a closed contour that goes beyond the voxels of the segment that it stands for."""
    polyline = node.dataset.get("GraphicType") == "POLYLINE"
    closed = polyline and np.array_equal(outline[0], outline[-1])
    own = {n for n, (_, uid) in segments.tracking_of(dataset).items() if uid == tracking}
    if not own or not closed or segments.occupied(dataset) is None:
        return
    for index, frame in enumerate(segments.frames_of(dataset)):
        if frame.segment in own and frame.source == plane:
            rows, columns = np.nonzero(segments.mask_of(dataset, index))
            if not len(rows):
                return
            low, high = (columns.min(), rows.min()), (columns.max() + 1, rows.max() + 1)
            if (outline < np.subtract(low, 1)).any() or (outline > np.add(high, 1)).any():
                yield Rule.GEOMETRY, "a contour does not lie on its segment"
            return
    yield Rule.GEOMETRY, "a contour lies on a plane that its segment does not reach"
