"""The measurement groups of a structured report that outline a region or name a segment."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes as standard
from pydicom.sr.coding import Code
from pydicom.uid import SegmentationStorage

from node.dicom.attributes import codes, items, number, numbers, text
from node.dicom.graphics import Graphic
from node.dicom.rtstruct import References

_MEASUREMENT_GROUP: Final = standard.DCM.MeasurementGroup
_TRACKING_IDENTIFIER: Final = standard.DCM.TrackingIdentifier
_TRACKING_UID: Final = standard.DCM.TrackingUniqueIdentifier
_FINDING: Final = standard.DCM.Finding
_FINDING_SITE: Final = standard.SCT.FindingSite
_SOURCE_SERIES: Final = standard.DCM.SourceSeriesForSegmentation
_OBSERVER_TYPE: Final = standard.DCM.ObserverType
_SEGMENTATIONS: Final = (SegmentationStorage, "1.2.840.10008.5.1.4.1.1.66.7")
_DEEPEST: Final = 16


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Outline:
    """One graphic, and the plane or the frame of reference that it lies in."""

    graphic: Graphic
    sop_instance_uid: str = ""
    """The image of an SCOORD; empty for an SCOORD3D."""
    frame: int | None = None
    frame_of_reference_uid: str = ""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Group:
    """One or more measurement groups of one Tracking UID: one lesion, to whoever wrote them."""

    name: str
    """Tracking Identifier."""
    tracking_uid: str
    findings: tuple[Code, ...] = ()
    sites: tuple[Code, ...] = ()
    outlines: tuple[Outline, ...] = ()
    segments: tuple[tuple[str, int], ...] = ()
    """SOP Instance UID of a Segmentation and the number of its segment."""
    references: References = field(default_factory=References)
    """The images that the group names as its sources."""


def groups(report: Dataset) -> tuple[Group, ...]:
    """Return the groups of a report that have a region (TID 1410) or a segment (TID 1411).

    Groups of one Tracking UID are one, as viewers take them. A coordinate that belongs to a single
    measurement, as the ends of a diameter do, is no region.
    """
    found: dict[str, Group] = {}
    for index, item in enumerate(_containers(report, 0)):
        group = _group(item)
        if group.outlines or group.segments:
            key = group.tracking_uid or f"group {index}"
            found[key] = _joined(found[key], group) if key in found else group
    return tuple(found.values())


def is_confirmed(report: Dataset) -> bool:
    """Tell whether a person stands behind a report: verified it, or is named as its observer.

    Software that calls its report VERIFIED, and names nobody who did it, is not believed.
    """
    observers = [
        code
        for item in items(report, "ContentSequence")
        if _name(item) == _OBSERVER_TYPE
        for code in codes(item, "ConceptCodeSequence")
    ]
    verified = text(report, "VerificationFlag").upper() == "VERIFIED"
    named = any(text(one, "VerifyingObserverName") for one in _verifiers(report))
    return (verified and named) or standard.DCM.Person in observers


def _verifiers(report: Dataset) -> tuple[Dataset, ...]:
    return items(report, "VerifyingObserverSequence")


def _containers(item: Dataset, depth: int) -> Iterator[Dataset]:
    """Yield the Measurement Groups anywhere in a content tree."""
    if depth > _DEEPEST:
        raise ValueError("the content tree is too deep")
    for child in items(item, "ContentSequence"):
        if _kind(child) == "CONTAINER" and _name(child) == _MEASUREMENT_GROUP:
            yield child
        else:
            yield from _containers(child, depth + 1)


def _group(container: Dataset) -> Group:
    children = list(_descendants(container, 0))
    named = {_name(child): child for child in reversed(children)}
    image_uids = {uid for child in children if (uid := _image_uid(child))}
    return Group(
        name=text(named.get(_TRACKING_IDENTIFIER, Dataset()), "TextValue"),
        tracking_uid=text(named.get(_TRACKING_UID, Dataset()), "UID"),
        findings=_values(children, _FINDING),
        sites=_values(children, _FINDING_SITE),
        outlines=tuple(outline for child in children for outline in _outlines(child)),
        segments=tuple(segment for child in children for segment in _segments(child)),
        references=References(
            instances=frozenset(image_uids),
            series=frozenset(
                text(child, "UID") for child in children if _name(child) == _SOURCE_SERIES
            ),
        ),
    )


def _joined(first: Group, other: Group) -> Group:
    return Group(
        name=first.name,
        tracking_uid=first.tracking_uid,
        findings=(*first.findings, *other.findings),
        sites=(*first.sites, *other.sites),
        outlines=(*first.outlines, *other.outlines),
        segments=tuple(dict.fromkeys((*first.segments, *other.segments))),
        references=References(
            instances=first.references.instances | other.references.instances,
            series=first.references.series | other.references.series,
        ),
    )


def _descendants(item: Dataset, depth: int) -> Iterator[Dataset]:
    """Yield what a group says of its lesion; what lies below a number belongs to the number."""
    if depth > _DEEPEST:
        raise ValueError("the content tree is too deep")
    for child in items(item, "ContentSequence"):
        yield child
        if _kind(child) in ("CONTAINER", "CODE"):
            yield from _descendants(child, depth + 1)


def _outlines(item: Dataset) -> Iterator[Outline]:
    kind = _kind(item)
    if kind not in ("SCOORD", "SCOORD3D"):
        return
    columns = 2 if kind == "SCOORD" else 3
    data = numbers(item, "GraphicData")
    if not data or len(data) % columns:
        return
    points = np.asarray(data, dtype=np.float64).reshape(-1, columns)
    graphic = Graphic(kind=text(item, "GraphicType").upper(), points=points)
    if not graphic.is_region:
        return
    if kind == "SCOORD3D":
        frame_uid = text(item, "ReferencedFrameOfReferenceUID")
        yield Outline(graphic=graphic, frame_of_reference_uid=frame_uid)
        return
    for image in items(item, "ContentSequence"):
        for reference in items(image, "ReferencedSOPSequence"):
            frame = number(reference, "ReferencedFrameNumber")
            yield Outline(
                graphic=graphic,
                sop_instance_uid=text(reference, "ReferencedSOPInstanceUID"),
                frame=None if frame is None else int(frame),
            )


def _segments(item: Dataset) -> Iterator[tuple[str, int]]:
    for reference in items(item, "ReferencedSOPSequence"):
        segment = number(reference, "ReferencedSegmentNumber")
        if text(reference, "ReferencedSOPClassUID") in _SEGMENTATIONS and segment is not None:
            yield text(reference, "ReferencedSOPInstanceUID"), int(segment)


def _image_uid(item: Dataset) -> str:
    """Return the instance of an IMAGE item that is no Segmentation, else an empty text."""
    for reference in items(item, "ReferencedSOPSequence"):
        if _kind(item) == "IMAGE" and (
            text(reference, "ReferencedSOPClassUID") not in _SEGMENTATIONS
        ):
            return text(reference, "ReferencedSOPInstanceUID")
    return ""


def _values(children: list[Dataset], name: Code) -> tuple[Code, ...]:
    return tuple(
        code
        for child in children
        if _name(child) == name
        for code in codes(child, "ConceptCodeSequence")
    )


def _kind(item: Dataset) -> str:
    return text(item, "ValueType").upper()


def _name(item: Dataset) -> Code | None:
    return next(iter(codes(item, "ConceptNameCodeSequence")), None)
