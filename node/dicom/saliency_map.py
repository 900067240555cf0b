"""Where a network looked, as a Parametric Map on the planes of the PET (PS3.3 A.75)."""

import io
import re
from typing import Final

import highdicom as hd
import numpy as np
from highdicom.pm import ParametricMap, RealWorldValueMapping
from highdicom.sr import CodeContentItem, CodedConcept, TextContentItem, UIDRefContentItem
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian

from inference.findings import Saliency
from inference.geometry import Grid
from inference.volume import Voxels
from node.dicom import codes as ours
from node.dicom.derived import as_single_frames, name_true_sources, set_dimension_organization
from node.dicom.provenance import RESEARCH_USE, Provenance, algorithm_template, finish
from node.dicom.series import ImageSeries
from node.instance import ResultKind, ResultObject

SERIES_NUMBER: Final = 9906
"""Of the first task; the others' follow it."""
WHOLE_BYTES_MAX: Final = 64 << 20
"""A map that stays below this covers every plane of the PET: cornerstone puts no other on it."""
METHOD: Final = (
    "HiResCAM of the network's fused features, the least of its axial, coronal and sagittal plane"
)
_APART_MM: Final = 0.01


def saliency_map(
    saliency: Saliency,
    number: int,
    *,
    series: ImageSeries,
    grid: Grid,
    subject: Dataset,
    provenance: Provenance,
) -> ResultObject:
    """Return the map of one task, ``number`` (from 1) among the tasks, in a series of its own.

    ``grid`` is that of ``series``, the PET. Frames have its rows and columns, and are 0 outside of
    the map's box. There is one for every plane of the PET, as cornerstone asks, or, where that
    would make a very large object, for every plane that the box touches. Refuses a map that does
    not lie on voxels of ``grid``, and numbers outside 0 to 1.
    """
    first, voxels = _on_planes(saliency, grid)
    planes = series.planes[first : first + len(voxels)]
    words, device = ours.task_label(saliency.task), provenance.equipment
    role = f"PM {saliency.task}"
    dataset = ParametricMap(
        source_images=as_single_frames(planes, grid, series, subject),
        pixel_array=voxels,
        series_instance_uid=provenance.uid(f"series {role}"),
        series_number=SERIES_NUMBER + number - 1,
        sop_instance_uid=provenance.uid(f"instance {role}"),
        instance_number=1,
        manufacturer=device.manufacturer,
        manufacturer_model_name=device.model_name,
        software_versions=device.software_version,
        device_serial_number=device.device_serial_number,
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[_mapping(saliency.task)],
        # LINEAR would make a threshold of a window this narrow (PS3.3 C.11.2.1.2.1).
        voi_lut_transformations=[
            hd.VOILUTTransformation(
                window_center=0.5, window_width=1.0, voi_lut_function="LINEAR_EXACT"
            )
        ],
        derivation=codes.DCM.GradientWeightedClassActivation,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        content_label=ours.saliency(saliency.task),
        content_description=f"Where the network looked: {words}",
        content_creator_name=f"{device.model_name}^",
        series_description=f"Saliency for {words} (research)",
        specific_character_set="ISO_IR 192",
    )
    _tell(dataset, saliency.task, provenance)
    _put_in_order_of_planes(dataset, voxels)
    name_true_sources(dataset, planes)
    set_dimension_organization(dataset, provenance.uid(f"dimension organization {role}"))
    dataset.SharedFunctionalGroupsSequence[0].FrameAnatomySequence = [_anatomy()]
    dataset.BodyPartExamined = "CHEST"  # not paired, so that no Laterality is due (C.7.3.1)
    dataset.DerivationDescription = METHOD
    dataset.ImageComments = f"{RESEARCH_USE}. It shows where a network looked, not what is there."
    dataset.CodingSchemeIdentificationSequence = list[Dataset](ours.coding_schemes())
    return finish(dataset, ResultKind.SALIENCY, subject=subject, provenance=provenance)


def tracking_uid(provenance: Provenance, task: str) -> str:
    """Return the Tracking UID of what is told of ``task`` in this run."""
    return provenance.uid(f"prediction {task}")


def task_of(part10: bytes) -> str:
    """Return the task of a map of ours, letters, digits, dots, hyphens and underscores alone."""
    dataset = dcmread(io.BytesIO(part10), specific_tags=["SharedFunctionalGroupsSequence"])
    (mapping,) = dataset.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence
    (task,) = [
        str(item.TextValue)
        for item in mapping.QuantityDefinitionSequence
        if item.ConceptNameCodeSequence[0].CodeValue == codes.DCM.TrackingIdentifier.value
    ]
    return re.sub(r"[^\w.-]", "_", task, flags=re.ASCII)


def _on_planes(saliency: Saliency, grid: Grid) -> tuple[int, Voxels]:
    """Return the index of the first plane, and the map on whole planes from there on."""
    box = saliency.on_pet
    start = [round(float(index)) for index in grid.to_indices(box.grid.origin)]
    stop = [first + size for first, size in zip(start, box.grid.shape, strict=True)]
    if min(start) < 0 or any(end > size for end, size in zip(stop, grid.shape, strict=True)):
        raise ValueError(f"the map of {saliency.task} is not within the PET")
    if not grid.crop(start, stop).is_close(box.grid, tolerance_mm=_APART_MM):
        raise ValueError(f"the map of {saliency.task} does not lie on voxels of the PET")
    if not (np.isfinite(box.voxels) & (box.voxels >= 0) & (box.voxels <= 1)).all():
        raise ValueError(f"the map of {saliency.task} holds numbers outside 0 to 1")
    whole = int(np.prod(grid.shape)) * 4 <= WHOLE_BYTES_MAX
    first, last = (0, grid.shape[0]) if whole else (start[0], stop[0])
    voxels = np.zeros((last - first, *grid.shape[1:]), np.float32)
    planes = slice(start[0] - first, stop[0] - first)
    voxels[planes, start[1] : stop[1], start[2] : stop[2]] = box.voxels
    return first, voxels


def _put_in_order_of_planes(dataset: ParametricMap, voxels: Voxels) -> None:
    """Let frames follow the normal, since highdicom's run against it.

    dcmqi and cornerstone lay them on the planes in the order of the file. ``voxels`` are those of
    the planes in their order.
    """
    frames = dataset.PerFrameFunctionalGroupsSequence[::-1]
    for number, frame in enumerate(frames, 1):
        frame.FrameContentSequence[0].DimensionIndexValues = [number]
    dataset.PerFrameFunctionalGroupsSequence = frames
    dataset.FloatPixelData = voxels.astype("<f4").tobytes()


def _anatomy() -> Dataset:
    """Return the Frame Anatomy Macro (C.7.6.16.2.8), without which dcmqi reads no map."""
    anatomy = Dataset()
    anatomy.AnatomicRegionSequence = [CodedConcept.from_code(ours.THORAX)]
    anatomy.FrameLaterality = "U"
    return anatomy


def _mapping(task: str) -> RealWorldValueMapping:
    """Return what a voxel's number is."""
    return RealWorldValueMapping(
        lut_label=ours.saliency(task),
        lut_explanation=f"Saliency for {ours.task_label(task)}",
        unit=codes.UCUM.NoUnits,
        value_range=(0.0, 1.0),
        quantity_definition=codes.DCM.GradientWeightedClassActivation,
    )


def _tell(dataset: ParametricMap, task: str, provenance: Provenance) -> None:
    """Add to the mapping for which prediction the numbers are, and who made them.

    highdicom writes a mapping out in words for every plane, which a long one makes slow.
    """
    told = [
        CodeContentItem(name=ours.EXPLAINED, value=ours.probability(task)),
        TextContentItem(name=codes.DCM.TrackingIdentifier, value=task),
        UIDRefContentItem(
            name=codes.DCM.TrackingUniqueIdentifier, value=tracking_uid(provenance, task)
        ),
        *algorithm_template(provenance),
    ]
    for item in told:
        if "RelationshipType" in item:
            del item.RelationshipType  # the Content Item Macro has none (PS3.3 10.2)
    (mapping,) = dataset.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence
    mapping.QuantityDefinitionSequence.extend(told)
