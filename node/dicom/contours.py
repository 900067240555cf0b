"""Contours and segments of a study that may show the primary tumour, on the images' grids."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from operator import attrgetter

from pydicom import dcmread
from pydicom.dataset import Dataset

from inference.findings import Reason
from inference.geometry import Grid
from inference.petct import GivenRegion, RegionSource
from inference.resample import region_onto
from inference.volume import Region
from node.dicom import polygons, rtstruct, segments
from node.dicom.attributes import UNREADABLE, text
from node.dicom.naming import Rank, Wanted, rank
from node.dicom.reasons import warning
from node.dicom.rtstruct import References
from node.dicom.series import Choice, Document, ImageSeries

__all__ = ["Wanted", "given_regions"]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Images:
    """The grids that contours can be drawn on, and which instances belong to each."""

    pet: Grid
    ct: Grid
    pet_uids: frozenset[str]
    """The series' own UID and those of its instances."""
    ct_uids: frozenset[str]
    study_uids: frozenset[str]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Match:
    """One wanted contour on a grid, with what it is ranked by."""

    given: GivenRegion
    rank: Rank
    on_ct: bool

    @property
    def key(self) -> tuple[Rank, bool, bool, str, str]:
        is_seg = self.given.source is RegionSource.SEG
        return self.rank, is_seg, self.on_ct, self.given.name, self.given.sop_instance_uid


class _Left(Exception):
    """A contour is left aside; the study is not."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.meaning)
        self.reason = reason


def given_regions(
    choice: Choice, *, pet_grid: Grid, ct_grid: Grid, wanted: Wanted
) -> tuple[tuple[GivenRegion, ...], tuple[Reason, ...]]:
    """Return the wanted contours, best first, and warnings.

    The rank of name or code decides, then a contour before a segment, then one on the PET's grid.
    A contour is drawn on the grid of the images it refers to. One that refers to images outside
    the study, lies in another frame of reference or cannot be read is left with a warning.
    Segments that an algorithm drew alone are left: they would be our own results coming back.
    """
    images = _Images(
        pet=pet_grid,
        ct=ct_grid,
        pet_uids=_uids(choice.pet),
        ct_uids=_uids(choice.ct),
        study_uids=choice.sop_instance_uids,
    )
    matches: list[_Match] = []
    notes: list[Reason] = []
    for document in choice.documents:
        for found in _matches(document, images, wanted):
            if isinstance(found, _Match):
                matches.append(found)
            else:
                notes.append(found)
    matches.sort(key=attrgetter("key"))
    if len(matches) > 1:
        notes.append(warning("CONTOUR_SEVERAL", f"{matches[0].given.name!r} of {len(matches)}"))
    return tuple(match.given for match in matches), tuple(notes)


def _matches(document: Document, images: _Images, wanted: Wanted) -> Iterator[_Match | Reason]:
    try:
        if document.modality == "RTSTRUCT":
            yield from _from_rtstruct(document, dcmread(document.path, force=True), images, wanted)
        elif document.modality == "SEG":
            yield from _from_seg(document, dcmread(document.path, force=True), images, wanted)
    except UNREADABLE as error:
        yield warning("CONTOUR_BAD", f"{document.sop_instance_uid}, {type(error).__name__}")


def _from_rtstruct(
    document: Document, dataset: Dataset, images: _Images, wanted: Wanted
) -> Iterator[_Match | Reason]:
    for roi in rtstruct.rois(dataset):
        ranks = [rank(name, roi.codes, wanted) for name in (roi.name, roi.label) if name]
        known = [found for found in ranks if found is not None]
        if not known or ranks[0] is None:
            continue
        try:
            grid = _grid_of(roi.references(), roi.frame_of_reference_uid, images)
        except _Left as left:
            yield left.reason
            continue
        drawn = polygons.draw(roi.polygons(), grid)
        if drawn.dropped:
            yield warning("CONTOUR_DROPPED", f"{roi.name!r}, {drawn.dropped} of its polygons")
        region = Region(mask=drawn.mask, grid=grid)
        name = (roi.name, RegionSource.RTSTRUCT)
        yield from _match(document, region, name, (min(known), grid is images.ct))


def _from_seg(
    document: Document, dataset: Dataset, images: _Images, wanted: Wanted
) -> Iterator[_Match | Reason]:
    for segment in segments.segments(dataset):
        found = rank(segment.label, segment.codes, wanted)
        if found is None or segment.automatic:
            continue
        try:
            frame = text(dataset, "FrameOfReferenceUID")
            target = _grid_of(segments.references(dataset), frame, images)
        except _Left as left:
            yield left.reason
            continue
        own = segments.region(dataset, segment, image_step_mm=target.spacing[0])
        frame_uid = target.frame_of_reference_uid
        own = replace(own, grid=replace(own.grid, frame_of_reference_uid=frame_uid))
        if not _is_part_of(own.grid, target):
            yield warning("CONTOUR_CARRIED", repr(segment.label))
        name = (segment.label, RegionSource.SEG)
        yield from _match(document, region_onto(own, target), name, (found, target is images.ct))


def _match(
    document: Document, region: Region, name: tuple[str, RegionSource], ranked: tuple[Rank, bool]
) -> Iterator[_Match | Reason]:
    label, source = name
    if region.voxel_count == 0:
        yield warning("CONTOUR_EMPTY", repr(label))
        return
    given = GivenRegion(
        region=region,
        source=source,
        name=label,
        series_instance_uid=document.series_instance_uid,
        sop_instance_uid=document.sop_instance_uid,
    )
    yield _Match(given=given, rank=ranked[0], on_ct=ranked[1])


def _uids(series: ImageSeries) -> frozenset[str]:
    instances = (plane.sop_instance_uid for plane in series.planes)
    return frozenset((series.series_instance_uid, *instances))


def _grid_of(referenced: References, frame_uid: str, images: _Images) -> Grid:
    """Return the grid to draw on: of the images referred to, else the CT's in the same frame.

    A reference to an instance says more than a frame of reference, which some tools make up. A
    copy of a series may have got new instance UIDs: then its series and its frame must be right.
    """
    if referenced.instances & images.pet_uids:
        return images.pet
    if referenced.instances & images.ct_uids:
        return images.ct
    known = (referenced.instances | referenced.series) & (
        images.study_uids | images.pet_uids | images.ct_uids
    )
    if referenced.instances and not known:
        raise _Left(warning("CONTOUR_NO_IMAGE"))
    if frame_uid != images.ct.frame_of_reference_uid:
        raise _Left(warning("CONTOUR_FRAME"))
    return images.pet if referenced.series & images.pet_uids else images.ct


def _is_part_of(own: Grid, target: Grid) -> bool:
    """Tell whether all voxels of a lattice are voxels of another, so that none changes."""
    start = target.to_indices(own.origin)
    end = target.to_indices(own.to_patient([size - 1 for size in own.shape]))
    whole = [abs(index - round(index)) < 0.05 for index in (*start, *end)]
    sizes = zip(abs(end - start), own.shape, strict=True)
    return all(whole) and all(abs(length - (size - 1)) < 0.1 for length, size in sizes)
