"""Whether an object's frames lie on the planes of the one series that they derive from."""

from collections.abc import Iterator, Sequence
from typing import Final

from node.dicom.lint.faults import Found, Rule
from node.dicom.lint.images import Source, SourceSeries
from node.dicom.lint.items import Item, numbers
from node.dicom.lint.segments import Frame

_TOLERANCE_MM: Final = 0.01


def derived_from(dataset: Item, source: Source) -> SourceSeries | None:
    """Return the series of the source that the object refers to, or None unless it is one."""
    series = [one.get("SeriesInstanceUID") for one in dataset.get("ReferencedSeriesSequence", [])]
    return source.series.get(str(series[0])) if len(series) == 1 else None


def wrong_place(dataset: Item, frames: Sequence[Frame], source: Source) -> Iterator[Found]:
    """Yield where frames are not those of the series, or do not say so."""
    on = derived_from(dataset, source)
    if on is None:
        yield Rule.VIEWER, "it does not refer to one series of the source"
        return
    yield from _wrong_references(dataset, frames, on)
    yield from _wrong_geometry(dataset, frames, on)


def unindexed(dataset: Item) -> Iterator[Found]:
    """Yield where a frame does not tell its place among the frames (C.7.6.17)."""
    for item in dataset.get("PerFrameFunctionalGroupsSequence", []):
        if not all(one.get("DimensionIndexValues") for one in item.get("FrameContentSequence", [])):
            yield Rule.PIXELS, "a frame has no index"
            return


def _wrong_references(dataset: Item, frames: Sequence[Frame], on: SourceSeries) -> Iterator[Found]:
    """Yield where frames and header do not cite the planes that they were made from."""
    if any(frame.source is None for frame in frames):
        yield Rule.VIEWER, "a frame does not derive from one source plane"
    cited = {frame.source[0] for frame in frames if frame.source is not None}
    (referenced,) = dataset["ReferencedSeriesSequence"]
    told = {
        item.get("ReferencedSOPInstanceUID"): item.get("ReferencedSOPClassUID")
        for item in referenced.get("ReferencedInstanceSequence", [])
    }
    if cited - set(told):
        yield Rule.EVIDENCE, "a source plane is not among the referenced instances"
    if any(on.classes.get(str(uid)) != sop_class for uid, sop_class in told.items()):
        yield Rule.EVIDENCE, "a referenced instance is none of the series, or of another class"


def _wrong_geometry(dataset: Item, frames: Sequence[Frame], on: SourceSeries) -> Iterator[Found]:
    """Yield where voxels are not the source's voxels."""
    grid = on.grid
    if dataset.get("FrameOfReferenceUID") != grid.frame_of_reference_uid:
        yield Rule.GEOMETRY, "the frame of reference is another"
    if (dataset.get("Rows"), dataset.get("Columns")) != grid.shape[1:]:
        yield Rule.GEOMETRY, "rows and columns differ from the source's"
    for shared in dataset.get("SharedFunctionalGroupsSequence", None) or [{}]:
        orientation = _values(shared, "PlaneOrientationSequence", "ImageOrientationPatient")
        if not _close(orientation, (*grid.direction[2], *grid.direction[1]), 1e-4):
            yield Rule.GEOMETRY, "the orientation is not the source's"
        spacing = _values(shared, "PixelMeasuresSequence", "PixelSpacing")
        if not _close(spacing, grid.spacing[1:], 1e-4):
            yield Rule.GEOMETRY, "the pixel spacing is not the source's"
    for frame in frames:
        plane = on.planes.get(frame.source) if frame.source is not None else None
        if plane is None or not _close(frame.position, plane.position, _TOLERANCE_MM):
            yield Rule.GEOMETRY, "a frame does not lie on the plane that it derives from"
            return


def _values(groups: Item, sequence: str, keyword: str) -> tuple[float, ...]:
    for item in groups.get(sequence, []):
        return numbers(item, keyword)
    return ()


def _close(ours: tuple[float, ...], theirs: tuple[float, ...], tolerance: float) -> bool:
    return len(ours) == len(theirs) and all(
        abs(one - other) <= tolerance for one, other in zip(ours, theirs, strict=True)
    )
