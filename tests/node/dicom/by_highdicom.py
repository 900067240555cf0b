"""Objects as highdicom makes them of all their planes: what ours, made from one, are held to."""

from collections.abc import Sequence

import numpy as np
from highdicom.seg import Segmentation, SegmentationTypeValues
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from inference.findings import Lesion
from inference.volume import Region
from node.dicom import seg
from node.dicom.derived import as_single_frames, set_dimension_organization, take_sources
from node.dicom.provenance import Provenance, derived_uid, finish
from node.dicom.seg_head import SERIES_NUMBER
from node.dicom.series import ImageSeries, Plane
from node.instance import ResultKind, ResultObject


def name_true_sources(dataset: Dataset, planes: Sequence[Plane]) -> None:
    """Replace the placeholder of every plane by its instance and, if it has one, its frame.

    What the whole was made of is for ``take_sources`` to tell.
    """
    by_placeholder = {placeholder(plane): plane for plane in planes}
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        for derivation in frame.DerivationImageSequence:
            for item in derivation.SourceImageSequence:
                plane = by_placeholder.get(item.ReferencedSOPInstanceUID)
                if plane is None:
                    continue  # segments on one plane share the item, and it has its name already
                item.ReferencedSOPClassUID = plane.sop_class_uid
                item.ReferencedSOPInstanceUID = plane.sop_instance_uid
                if plane.frame is not None:
                    item.ReferencedFrameNumber = plane.frame


def placeholder(plane: Plane) -> str:
    """The UID under which ``as_single_frames`` presents a plane."""
    return derived_uid("plane", plane.sop_instance_uid, str(plane.frame))


def segmentation(
    lesions: Sequence[Lesion],
    regions: Sequence[Region],
    *,
    series: ImageSeries,
    subject: Dataset,
    provenance: Provenance,
) -> ResultObject:
    """The Segmentation of ``node.dicom.seg``, each frame of which highdicom tells."""
    slices = [region.box[0] for region in regions if region.box is not None]
    first, end = min(one.start for one in slices), max(one.stop for one in slices)
    planes = series.planes[first:end]
    device = provenance.equipment
    dataset = Segmentation(
        source_images=as_single_frames(planes, regions[0].grid, series, subject),
        pixel_array=np.stack([region.mask[first:end] for region in regions], axis=-1).astype(
            np.uint8
        ),
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=[
            seg._description(lesion, number, provenance) for number, lesion in enumerate(lesions, 1)
        ],
        series_instance_uid=provenance.uid("series SEG"),
        series_number=SERIES_NUMBER,
        sop_instance_uid=provenance.uid("instance SEG"),
        instance_number=1,
        manufacturer=device.manufacturer,
        manufacturer_model_name=device.model_name,
        software_versions=device.software_version,
        device_serial_number=device.device_serial_number,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        omit_empty_frames=True,
        content_label="LESIONS",
        content_description="Lesions found in PET/CT",
        content_creator_name=f"{device.model_name}^",
        series_description=f"Lesions on {series.modality} (research)",
        specific_character_set="ISO_IR 192",
    )
    name_true_sources(dataset, planes)
    set_dimension_organization(dataset, provenance.uid("dimension organization SEG"))
    dataset.BodyPartExamined = "CHEST"
    sources = take_sources(dataset, planes)
    return finish(
        dataset, ResultKind.SEGMENTATION, subject=subject, provenance=provenance, among=sources
    )
