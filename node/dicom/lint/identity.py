"""Whether an object is of the patient and the study, and made by the device that it names."""

from collections.abc import Iterator, Mapping
from typing import Final

from pydicom.uid import (
    Comprehensive3DSRStorage,
    KeyObjectSelectionDocumentStorage,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    ParametricMapStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)

from node.dicom.lint.faults import Found, Rule
from node.dicom.lint.images import Source
from node.dicom.lint.items import Encoded, Item
from node.instance import ResultKind, ResultObject

_SAME: Final = (
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientSex",
    "PatientIdentityRemoved",
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "StudyID",
    "ReferringPhysicianName",
)
_MODALITIES: Final[Mapping[str, str]] = {
    Comprehensive3DSRStorage: "SR",
    KeyObjectSelectionDocumentStorage: "KO",
    SegmentationStorage: "SEG",
    SecondaryCaptureImageStorage: "OT",
    MultiFrameTrueColorSecondaryCaptureImageStorage: "OT",
    ParametricMapStorage: "OT",
}
_CLASSES: Final = {
    ResultKind.REPORT: Comprehensive3DSRStorage,
    ResultKind.EDITABLE: Comprehensive3DSRStorage,
    ResultKind.REJECTION: KeyObjectSelectionDocumentStorage,
    ResultKind.SEGMENTATION: SegmentationStorage,
    ResultKind.KEY_IMAGE: SecondaryCaptureImageStorage,
    ResultKind.ROTATING_MIP: MultiFrameTrueColorSecondaryCaptureImageStorage,
    ResultKind.SALIENCY: ParametricMapStorage,
}
_TYPE_1: Final = (
    "SeriesNumber",
    "InstanceNumber",
    "Modality",
    "InstanceCreationDate",
    "ContentDate",
    "ContentTime",
)
_DEVICE: Final = ("Manufacturer", "ManufacturerModelName", "SoftwareVersions")
_PROCESSING: Final = "109102"


def wrong_identity(made: ResultObject, read: Encoded, source: Source) -> Iterator[Found]:
    """Yield what is not the patient's, the study's or what is told of the object."""
    dataset = read.item
    for keyword in _SAME:
        if str(dataset.get(keyword, "")) != str(source.subject.get(keyword, "")):
            yield Rule.IDENTITY, f"{keyword} differs from the images'"
    for keyword, told in _told(made).items():
        if str(dataset.get(keyword, "")) != told:
            yield Rule.IDENTITY, f"{keyword} is not what is told of the object"
    yield from _wrong_names(made, read.meta, source)
    yield from _blanks(dataset, made)


def _wrong_names(made: ResultObject, meta: Item, source: Source) -> Iterator[Found]:
    told_by_meta = (
        (meta.get("MediaStorageSOPClassUID"), made.sop_class_uid),
        (meta.get("MediaStorageSOPInstanceUID"), made.sop_instance_uid),
        (meta.get("TransferSyntaxUID"), made.transfer_syntax_uid),
    )
    if any(str(one) != other for one, other in told_by_meta):
        yield Rule.IDENTITY, "File Meta Information is that of another instance"
    if made.series_instance_uid in source.series:
        yield Rule.IDENTITY, "SeriesInstanceUID is that of a source series"
    if made.sop_instance_uid in source.sop_instance_uids:
        yield Rule.IDENTITY, "SOPInstanceUID is that of a source instance"
    for uid in (made.sop_instance_uid, made.series_instance_uid):
        if not uid.startswith("2.25."):
            yield Rule.IDENTITY, "a UID of ours does not derive from a UUID"


def wrong_equipment(dataset: Item) -> Iterator[Found]:
    """Yield what Enhanced General Equipment (C.7.5.2) or IHE AIR 6.5.3.1 misses."""
    for keyword in (*_DEVICE, "DeviceSerialNumber"):
        if not dataset.get(keyword):
            yield Rule.EQUIPMENT, f"{keyword} is empty"
    processing = processing_equipment(dataset)
    for item in processing:
        for keyword in (*_DEVICE, "DeviceUID"):
            if not item.get(keyword):
                yield Rule.EQUIPMENT, f"a Processing Equipment lacks {keyword}"
    ours = [item for item in processing if _names(item) == _names(dataset)]
    if len(ours) != 1:
        yield Rule.EQUIPMENT, "Contributing Equipment does not name the algorithm once"
    elif ours[0].get("DeviceUID") != dataset.get("InstanceCreatorUID"):
        yield Rule.EQUIPMENT, "the creator of the instance is another device"


def processing_equipment(dataset: Item) -> list[Item]:
    """Return the Contributing Equipment items that stand for processing."""
    return [
        item
        for item in dataset.get("ContributingEquipmentSequence", [])
        if any(
            code.get("CodeValue") == _PROCESSING
            for code in item.get("PurposeOfReferenceCodeSequence", [])
        )
    ]


def own_equipment(dataset: Item) -> Item:
    """Return the item that stands for our algorithm, or an empty one where there is none."""
    ours = [item for item in processing_equipment(dataset) if _names(item) == _names(dataset)]
    return ours[0] if ours else {}


def _names(item: Item) -> list[str]:
    return [str(item.get(keyword, "")) for keyword in _DEVICE]


def _told(made: ResultObject) -> dict[str, str]:
    return {
        "SOPClassUID": made.sop_class_uid,
        "SOPInstanceUID": made.sop_instance_uid,
        "SeriesInstanceUID": made.series_instance_uid,
        "StudyInstanceUID": made.study_instance_uid,
    }


def _blanks(dataset: Item, made: ResultObject) -> Iterator[Found]:
    for keyword in _TYPE_1:
        if not dataset.get(keyword):
            yield Rule.IDENTITY, f"{keyword} is empty"
    if dataset.get("SpecificCharacterSet") != "ISO_IR 192":
        yield Rule.IDENTITY, "the character set is not that of the bytes, ISO_IR 192"
    if made.sop_class_uid != _CLASSES.get(made.kind, made.sop_class_uid):
        yield Rule.IDENTITY, f"it is not of the class of a {made.kind}"
    modality = _MODALITIES.get(made.sop_class_uid)
    if modality is not None and dataset.get("Modality") != modality:
        yield Rule.IDENTITY, f"Modality is not {modality}"
