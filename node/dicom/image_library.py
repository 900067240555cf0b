"""The Image Library of a report (TID 1600): which series it stands on, and how they were acquired.

One group for each series says what its images share. Of the images it lists the first, the last
and those that the report draws on, each with its place; the evidence has every one of them.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

from highdicom.sr import (
    CodeContentItem,
    ContainerContentItem,
    ContentItem,
    ContentSequence,
    DateContentItem,
    DateTimeContentItem,
    ImageContentItem,
    NumContentItem,
    RelationshipTypeValues,
    TimeContentItem,
    UIDRefContentItem,
)
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from inference.geometry import Grid
from inference.petct import PetFacts
from node.dicom import attributes, clock
from node.dicom import codes as ours
from node.dicom.attributes import UNREADABLE, Attributes
from node.dicom.reading import read_headers
from node.dicom.series import ImageSeries, Plane

Cited: TypeAlias = frozenset[tuple[str, int | None]]
"""Instances, and frames of multi-frame ones, that the content tree draws on."""

_ACQ_CONTEXT = RelationshipTypeValues.HAS_ACQ_CONTEXT
_TAGS = [
    "AcquisitionDate",
    "AcquisitionTime",
    "RadiopharmaceuticalInformationSequence",
    "SliceThickness",
    "SpecificCharacterSet",
    "StudyDate",
    "StudyTime",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
]


@dataclass(frozen=True, kw_only=True, eq=False)
class SourceSeries:
    """A PET or a CT with its lattice; ``pet_facts`` of the PET alone."""

    series: ImageSeries
    grid: Grid
    pet_facts: PetFacts | None = None

    def prepare(self) -> None:
        """Make what its group says if images are cited, whichever; else it is made when due."""
        _ = self.acquired, self.placed, self.ends

    @cached_property
    def header(self) -> Attributes:
        """What the first file says."""
        return _header(self.series.planes[0])

    @cached_property
    def acquired(self) -> tuple[list[ContentItem], list[ContentItem]]:
        """What is said of all images before, and behind, their lattice."""
        modality = _modality(self.series.modality)
        return (
            [
                *([] if modality is None else _code(codes.DCM.Modality, modality)),
                *_study_moment(self.header),
            ],
            [] if self.pet_facts is None else _tracer(self.header, self.pet_facts),
        )

    @cached_property
    def placed(self) -> list[ContentItem]:
        """What is said of the lattice of all images."""
        return [*_lattice(self.grid), *_slice_thickness(self.header)]

    @cached_property
    def ends(self) -> dict[int, ImageContentItem]:
        """The entries of the first and the last image by their places."""
        planes = self.series.planes
        return {index: _entry(planes[index]) for index in (0, len(planes) - 1)}


def image_library(sources: Sequence[SourceSeries], cited: Cited) -> ContainerContentItem:
    """Return the library with a group for each of the series.

    Where no image is cited, lattices and places are left out: they help nobody to find what was
    drawn, and viewers that show such a report as text show it from the top, the library first.
    """
    return _container(codes.DCM.ImageLibrary, [_group(source, cited) for source in sources])


def headers_library(headers: Sequence[Dataset]) -> ContainerContentItem | None:
    """Return a library of what is known of a study that was not analysed; None without images.

    One group for each series that has a coded modality, with its first image.
    """
    first = {header.SeriesInstanceUID: header for header in reversed(headers)}
    groups = [
        _container(
            codes.DCM.ImageLibraryGroup,
            [
                *_code(codes.DCM.Modality, modality),
                *_study_moment(header),
                _image(header.SOPClassUID, header.SOPInstanceUID, None),
            ],
        )
        for header in reversed(first.values())
        if (modality := _modality(header.Modality)) is not None
    ]
    return _container(codes.DCM.ImageLibrary, groups) if groups else None


def cited_in(items: Iterable[Dataset]) -> Cited:
    """Return the images that coordinates in the content items are drawn on."""
    return frozenset(_cited(items))


def _cited(items: Iterable[Dataset]) -> Iterator[tuple[str, int | None]]:
    for item in items:
        if item.ValueType == "IMAGE":
            for reference in item.ReferencedSOPSequence:
                frame = reference.get("ReferencedFrameNumber")
                yield str(reference.ReferencedSOPInstanceUID), None if frame is None else int(frame)
        yield from _cited(item.get("ContentSequence", []))


def _group(source: SourceSeries, cited: Cited) -> ContainerContentItem:
    before, behind = source.acquired
    return _container(
        codes.DCM.ImageLibraryGroup,
        [
            *before,
            *(source.placed if cited else []),
            *behind,
            *(_entries(source, cited) if cited else [_reference(source.series.planes[0])]),
        ],
    )


def _entries(source: SourceSeries, cited: Cited) -> list[ImageContentItem]:
    """Return the first, the last and the cited of the planes."""
    ends = source.ends
    return [
        ends[index] if index in ends else _entry(plane)
        for index, plane in enumerate(source.series.planes)
        if index in ends or (plane.sop_instance_uid, plane.frame) in cited
    ]


def _entry(plane: Plane) -> ImageContentItem:
    """Return TID 1601: one image with what it does not share with the others."""
    header = _header(plane)
    x, y, z = plane.position
    image = _reference(plane)
    image.ContentSequence = ContentSequence(
        [
            *_moment(header, "Acquisition", codes.DCM.AcquisitionDate, codes.DCM.AcquisitionTime),
            _number(codes.DCM.ImagePositionPatientX, round(x, 3), ours.MILLIMETER),
            _number(codes.DCM.ImagePositionPatientY, round(y, 3), ours.MILLIMETER),
            _number(codes.DCM.ImagePositionPatientZ, round(z, 3), ours.MILLIMETER),
        ]
    )
    return image


def _lattice(grid: Grid) -> list[ContentItem]:
    """Return what TID 1602 and TID 1604 ask of the lattice that all planes share."""
    spacing, rows, columns = (round(step, 4) for step in grid.spacing)
    cosines = zip(
        (
            codes.DCM.ImageOrientationPatientRowX,
            codes.DCM.ImageOrientationPatientRowY,
            codes.DCM.ImageOrientationPatientRowZ,
            codes.DCM.ImageOrientationPatientColumnX,
            codes.DCM.ImageOrientationPatientColumnY,
            codes.DCM.ImageOrientationPatientColumnZ,
        ),
        # Image Orientation (Patient) has the direction along a row first (PS3.3 C.7.6.2.1.1).
        (*grid.direction[2], *grid.direction[1]),
        strict=True,
    )
    frame = UIDRefContentItem(
        codes.DCM.FrameOfReferenceUID, grid.frame_of_reference_uid, _ACQ_CONTEXT
    )
    return [
        frame,
        _number(codes.DCM.PixelDataRows, grid.shape[1], ours.PIXELS),
        _number(codes.DCM.PixelDataColumns, grid.shape[2], ours.PIXELS),
        _number(codes.DCM.HorizontalPixelSpacing, columns, ours.MILLIMETER),
        _number(codes.DCM.VerticalPixelSpacing, rows, ours.MILLIMETER),
        _number(codes.DCM.SpacingBetweenSlices, spacing, ours.MILLIMETER),
        *(_number(name, round(cosine, 6) + 0.0, ours.COSINE) for name, cosine in cosines),
    ]


def _slice_thickness(header: Attributes) -> list[ContentItem]:
    thickness_mm = attributes.number(header, "SliceThickness")
    if not thickness_mm:
        return []
    return [_number(codes.DCM.SliceThickness, round(thickness_mm, 4), ours.MILLIMETER)]


def _tracer(header: Attributes, facts: PetFacts) -> list[ContentItem]:
    """Return TID 1607: dose and time of injection as stated, and the uptake time."""
    stated = attributes.items(header, "RadiopharmaceuticalInformationSequence")
    item = stated[0] if stated else Dataset()
    found: list[ContentItem] = []
    start = clock.parse_datetime(attributes.text(item, "RadiopharmaceuticalStartDateTime"))
    if start is not None:
        found.append(
            DateTimeContentItem(codes.DCM.RadiopharmaceuticalStartDatetime, start, _ACQ_CONTEXT)
        )
    dose_bq = attributes.number(item, "RadionuclideTotalDose")
    if dose_bq:
        found.append(_number(codes.DCM.RadionuclideTotalDose, round(dose_bq), ours.BECQUEREL))
    if facts.uptake_min is not None:
        minutes = round(facts.uptake_min, 1)
        found.append(_number(codes.DCM.PETRadionuclideIncubationTime, minutes, ours.MINUTE))
    return found


def _study_moment(header: Attributes) -> list[ContentItem]:
    return _moment(header, "Study", codes.DCM.StudyDate, codes.DCM.StudyTime)


def _moment(header: Attributes, name: str, date_name: Code, time_name: Code) -> list[ContentItem]:
    """Return date and time of ``name`` as far as the header states them so that they can be read.

    A time without a date tells nothing, and is left out.
    """
    day = clock.parse_date(attributes.text(header, f"{name}Date"))
    if day is None:
        return []
    found: list[ContentItem] = [DateContentItem(date_name, day, _ACQ_CONTEXT)]
    moment = clock.moment_of(header, name)
    if moment is not None:
        found.append(TimeContentItem(time_name, moment.time(), _ACQ_CONTEXT))
    return found


def _header(plane: Plane) -> Attributes:
    """Return what one plane's file says; nothing where it cannot be read again."""
    try:
        dataset = read_headers(plane.path, [*_TAGS])
        return attributes.frame_headers(dataset)[(plane.frame or 1) - 1]
    except UNREADABLE:
        return Dataset()


def _modality(value: str) -> Code | None:
    """Return the coded modality (CID 29), or None for what is none."""
    known = (getattr(codes.cid29, name) for name in codes.cid29.dir())
    return next((code for code in known if code.value == value), None)


def _reference(plane: Plane) -> ImageContentItem:
    return _image(plane.sop_class_uid, plane.sop_instance_uid, plane.frame)


def _image(sop_class_uid: str, sop_instance_uid: str, frame: int | None) -> ImageContentItem:
    return ImageContentItem(
        name=ours.SOURCE,
        referenced_sop_class_uid=sop_class_uid,
        referenced_sop_instance_uid=sop_instance_uid,
        referenced_frame_numbers=frame,
        relationship_type=RelationshipTypeValues.CONTAINS,
    )


def _container(name: Code, items: Sequence[ContentItem]) -> ContainerContentItem:
    made = ContainerContentItem(name=name, relationship_type=RelationshipTypeValues.CONTAINS)
    made.ContentSequence = ContentSequence(items)
    return made


def _code(name: Code, value: Code) -> list[ContentItem]:
    return [CodeContentItem(name=name, value=value, relationship_type=_ACQ_CONTEXT)]


def _number(name: Code, value: float, unit: Code) -> NumContentItem:
    made = NumContentItem(name=name, value=value, unit=unit, relationship_type=_ACQ_CONTEXT)
    if isinstance(value, int):
        made.MeasuredValueSequence[0].NumericValue = str(value)  # a count has no decimals
    return made
