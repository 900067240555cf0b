"""Contours and segments of a study that may show the primary tumour, on the images' grids."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from inference.findings import Reason
from inference.geometry import Grid
from inference.petct import GivenRegion, RegionSource
from inference.resample import region_onto
from inference.volume import Region
from node.dicom import foreign_sr, graphics, polygons, rtstruct, segments
from node.dicom.attributes import UNREADABLE, text
from node.dicom.drawn_on import Images, Left, images_of
from node.dicom.foreign_sr import Group
from node.dicom.graphics import Graphic
from node.dicom.naming import Rank, Wanted, best_rank, in_thorax
from node.dicom.provenance import Equipment
from node.dicom.reading import read
from node.dicom.reasons import warning
from node.dicom.series import Choice, Document

__all__ = ["Wanted", "given_regions"]

_NOT_OF_A_WANTED = frozenset({"CONTOUR_OWN", "CONTOUR_BAD"})
_ORDER = (RegionSource.RTSTRUCT, RegionSource.SEG, RegionSource.SR)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Drawing:
    """What is said of one region, before anyone looks at its voxels."""

    document: Document
    source: RegionSource
    names: tuple[str, ...]
    """The first is the one that people see."""
    codes: tuple[Code, ...]
    sites: tuple[Code, ...] = ()
    maker: str
    """Manufacturer and model of what wrote it."""
    ours: bool
    automatic: bool
    """Drawn by an algorithm alone, and no person stands behind it."""


class _Unwanted:
    """A region of a structure set or a segment that neither name nor code marks as the tumour."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Match:
    """One wanted region on a grid, with what it is ranked by."""

    given: GivenRegion
    rank: Rank
    on_ct: bool
    automatic: bool

    @property
    def key(self) -> tuple[bool, bool, Rank, int, bool, float, str, str]:
        given = self.given
        return (
            self.automatic,
            given.marks_only,
            self.rank,
            _ORDER.index(given.source),
            self.on_ct,
            -given.region.volume_ml,
            given.name,
            given.sop_instance_uid,
        )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Report:
    """A structured report, and whether a person stands behind what it says."""

    document: Document
    dataset: Dataset
    groups: tuple[Group, ...]
    confirmed: bool


def given_regions(
    choice: Choice, *, pet_grid: Grid, ct_grid: Grid, wanted: Wanted
) -> tuple[tuple[GivenRegion, ...], tuple[Reason, ...]]:
    """Return the wanted regions, best first, and warnings.

    What a person drew or confirmed goes before what an algorithm drew alone, a volume before a
    contour on one plane; then the rank of name or code decides, then a structure set before a
    segment before a report, one on the PET's grid, the larger one. A region is drawn on the grid of
    the images it refers to. Left with a warning is one that refers to images outside the study,
    lies in another frame of reference or cannot be read; one whose coded site is not where a lung
    tumour arises; an algorithm's that names no such site; and our own results coming back. Where no
    region is wanted at all, a warning counts those that there are.
    """
    images = images_of(choice, pet=pet_grid, ct=ct_grid)
    reports, notes = _reports(choice.documents)
    found = [f for d in choice.documents for f in _matches(d, reports, images, wanted)]
    matches = sorted((f for f in found if isinstance(f, _Match)), key=attrgetter("key"))
    left = [f for f in found if isinstance(f, Reason)]
    notes += left
    if matches:
        notes += _told_of_choice(matches)
    elif all(reason.code in _NOT_OF_A_WANTED for reason in left):
        notes += _told_of_none(sum(isinstance(f, _Unwanted) for f in found))
    given = [match.given for match in matches]
    if len(given) > 1:
        how = f"the first of {len(given)} by who drew it, extent, name and code"
        given[0] = replace(given[0], origin="; ".join(filter(None, (given[0].origin, how))))
    return tuple(given), tuple(dict.fromkeys(notes))


def _told_of_none(unwanted: int) -> Iterator[Reason]:
    if unwanted:
        yield warning("CONTOUR_UNTAKEN", f"{unwanted} of other names")


def _told_of_choice(matches: Sequence[_Match]) -> Iterator[Reason]:
    first = matches[0]
    if len(matches) > 1:
        yield warning("CONTOUR_SEVERAL", f"{first.given.name!r} of {len(matches)}")
    if first.automatic:
        yield warning("CONTOUR_AUTO", repr(first.given.name))
    if first.given.marks_only:
        yield warning("CONTOUR_PLANAR", repr(first.given.name))


def _reports(documents: Sequence[Document]) -> tuple[list[_Report], list[Reason]]:
    found: list[_Report] = []
    notes: list[Reason] = []
    for document in documents:
        if document.modality != "SR":
            continue
        try:
            dataset = read(document.path)
            found.append(
                _Report(
                    document=document,
                    dataset=dataset,
                    groups=foreign_sr.groups(dataset),
                    confirmed=foreign_sr.is_confirmed(dataset),
                )
            )
        except UNREADABLE as error:
            notes.append(_unreadable(document, error))
    return found, notes


def _unreadable(document: Document, error: Exception) -> Reason:
    return warning("CONTOUR_BAD", f"{document.sop_instance_uid}, {type(error).__name__}")


def _matches(
    document: Document, reports: Sequence[_Report], images: Images, wanted: Wanted
) -> Iterator[_Match | Reason | _Unwanted]:
    try:
        if document.modality == "RTSTRUCT":
            yield from _from_rtstruct(document, read(document.path), images, wanted)
        elif document.modality == "SEG":
            dataset = read(document.path)
            yield from _from_seg(document, dataset, reports, images, wanted)
        else:
            for report in reports:
                if report.document is document:
                    yield from _from_report(report, images, wanted)
    except UNREADABLE as error:
        yield _unreadable(document, error)


def _from_rtstruct(
    document: Document, dataset: Dataset, images: Images, wanted: Wanted
) -> Iterator[_Match | Reason | _Unwanted]:
    approved = text(dataset, "ApprovalStatus").upper() == "APPROVED"
    for roi in rtstruct.rois(dataset):
        drawing = _Drawing(
            document=document,
            source=RegionSource.RTSTRUCT,
            names=(roi.known_as,),
            codes=roi.codes,
            maker=_maker(dataset),
            ours=_is_ours(dataset),
            automatic=roi.automatic and not approved,
        )
        try:
            ranked = _screened(drawing, wanted)
            if ranked is None:
                if not drawing.ours:
                    yield _Unwanted()
                continue
            grid = images.grid_of(roi.references(), roi.frame_of_reference_uid)
        except Left as left:
            yield left.reason
            continue
        drawn = polygons.draw(roi.polygons(), grid)
        if drawn.dropped:
            yield warning("CONTOUR_DROPPED", f"{roi.name!r}, {drawn.dropped} of its polygons")
        yield _match(drawing, ranked, Region(mask=drawn.mask, grid=grid), on_ct=grid is images.ct)


def _from_seg(
    document: Document,
    dataset: Dataset,
    reports: Sequence[_Report],
    images: Images,
    wanted: Wanted,
) -> Iterator[_Match | Reason | _Unwanted]:
    for segment in segments.segments(dataset):
        drawing = _segment_drawing(document, dataset, segment, reports)
        try:
            ranked = _screened(drawing, wanted)
            if ranked is None:
                if not drawing.ours:
                    yield _Unwanted()
                continue
            frame = text(dataset, "FrameOfReferenceUID")
            target = images.grid_of(segments.references(dataset), frame)
        except Left as left:
            yield left.reason
            continue
        own = segments.region(dataset, segment, image_step_mm=target.spacing[0])
        frame_uid = target.frame_of_reference_uid
        own = replace(own, grid=replace(own.grid, frame_of_reference_uid=frame_uid))
        if not _is_part_of(own.grid, target):
            yield warning("CONTOUR_CARRIED", repr(segment.label))
        yield _match(drawing, ranked, region_onto(own, target), on_ct=target is images.ct)


def _segment_drawing(
    document: Document, dataset: Dataset, segment: segments.Segment, reports: Sequence[_Report]
) -> _Drawing:
    """Return what the segment says of itself and what reports say that refer to it."""
    named = (document.sop_instance_uid, segment.number)
    told = [
        (report, group)
        for report in reports
        if not _is_ours(report.dataset)
        for group in report.groups
        if named in group.segments
    ]
    names = (segment.label, *(group.name for _, group in told))
    return _Drawing(
        document=document,
        source=RegionSource.SEG,
        names=tuple(dict.fromkeys(filter(None, names))),
        codes=(*segment.codes, *(code for _, group in told for code in group.findings)),
        sites=(*segment.sites, *(site for _, group in told for site in group.sites)),
        maker=_maker(dataset),
        ours=_is_ours(dataset),
        automatic=segment.automatic and not any(report.confirmed for report, _ in told),
    )


def _from_report(report: _Report, images: Images, wanted: Wanted) -> Iterator[_Match | Reason]:
    for group in report.groups:
        if any(uid in images.study_uids for uid, _ in group.segments):
            continue  # the segment is drawn, under the names of this group
        drawing = _Drawing(
            document=report.document,
            source=RegionSource.SR,
            names=(group.name,) if group.name else (),
            codes=group.findings,
            sites=group.sites,
            maker=_maker(report.dataset),
            ours=_is_ours(report.dataset),
            automatic=not report.confirmed,
        )
        try:
            ranked = _screened(drawing, wanted)
        except Left as left:
            yield left.reason
            continue
        if ranked is not None:
            yield from _outlined(group, drawing, ranked, images)


def _outlined(
    group: Group, drawing: _Drawing, ranked: Rank, images: Images
) -> Iterator[_Match | Reason]:
    """Yield the outlines of a group: those on the PET together, and those on the CT."""
    if not group.outlines:
        yield warning("CONTOUR_NO_SEG", repr(group.name))
    placed: dict[bool, list[Graphic]] = {}
    for outline in group.outlines:
        try:
            if outline.sop_instance_uid:
                grid, index = images.plane_of(outline.sop_instance_uid, outline.frame)
                graphic = graphics.in_patient(outline.graphic, grid, index)
            else:
                known = group.references.instances & images.study_uids
                sources = replace(group.references, instances=known)
                grid = images.grid_of(sources, outline.frame_of_reference_uid)
                graphic = outline.graphic
        except Left as left:
            yield left.reason
            continue
        placed.setdefault(grid is images.ct, []).append(graphic)
    for on_ct, drawn_there in placed.items():
        grid = images.ct if on_ct else images.pet
        drawn = graphics.draw(drawn_there, grid)
        if drawn.dropped:
            yield warning("CONTOUR_DROPPED", f"{group.name!r}, {drawn.dropped} of its graphics")
        yield _match(drawing, ranked, Region(mask=drawn.mask, grid=grid), on_ct=on_ct)


def _screened(drawing: _Drawing, wanted: Wanted) -> Rank | None:
    """Return the rank of a region, None where it is not wanted; raise Left where it is not safe."""
    ranked = best_rank(drawing.names, drawing.codes, wanted)
    if ranked is None:
        return None
    if drawing.ours:
        raise Left(warning("CONTOUR_OWN", drawing.document.modality))
    name = repr(next(iter(drawing.names), ""))
    inside = in_thorax(drawing.sites)
    if inside is False:
        meanings = ", ".join(dict.fromkeys(site.meaning for site in drawing.sites))
        raise Left(warning("CONTOUR_SITE", f"{name}, {meanings}"))
    if drawing.automatic and not inside:
        raise Left(warning("CONTOUR_NO_SITE", f"{name} of {drawing.maker}"))
    return ranked


def _match(drawing: _Drawing, ranked: Rank, region: Region, *, on_ct: bool) -> _Match | Reason:
    name = next(iter(drawing.names), "")
    if region.voxel_count == 0:
        return warning("CONTOUR_EMPTY", repr(name))
    origin = ""
    if drawing.automatic:
        origin = f"an algorithm of {drawing.maker} drew it and no person confirmed it"
    given = GivenRegion(
        region=region,
        source=drawing.source,
        name=name,
        series_instance_uid=drawing.document.series_instance_uid,
        sop_instance_uid=drawing.document.sop_instance_uid,
        origin=origin,
        marks_only=drawing.source is RegionSource.SR and _is_flat(region),
    )
    return _Match(given=given, rank=ranked, on_ct=on_ct, automatic=drawing.automatic)


def _is_flat(region: Region) -> bool:
    return int(np.count_nonzero(region.mask.any(axis=(1, 2)))) == 1


def _maker(dataset: Dataset) -> str:
    parts = (text(dataset, "Manufacturer"), text(dataset, "ManufacturerModelName"))
    return " ".join(part for part in parts if part) or "an unnamed maker"


def _is_ours(dataset: Dataset) -> bool:
    """Tell whether this node's software made an object: an edited copy names the editor's."""
    return text(dataset, "ManufacturerModelName") == Equipment.model_name


def _is_part_of(own: Grid, target: Grid) -> bool:
    """Tell whether all voxels of a lattice are voxels of another, so that none changes."""
    start = target.to_indices(own.origin)
    end = target.to_indices(own.to_patient([size - 1 for size in own.shape]))
    whole = [abs(index - round(index)) < 0.05 for index in (*start, *end)]
    sizes = zip(abs(end - start), own.shape, strict=True)
    return all(whole) and all(abs(length - (size - 1)) < 0.1 for length, size in sizes)
