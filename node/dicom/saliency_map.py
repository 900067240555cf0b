"""Where a network looked, as a Parametric Map on the planes of the PET (PS3.3 A.75)."""

import io
import re
import struct
from collections.abc import Sequence
from copy import copy, deepcopy
from dataclasses import dataclass, field
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
from node.dicom import codes as ours
from node.dicom.derived import (
    as_single_frames,
    decimal,
    set_dimension_organization,
    take_sources,
)
from node.dicom.encoding import Boxed, Elements, joined
from node.dicom.frame_groups import Frame, per_frame
from node.dicom.provenance import RESEARCH_USE, Begun, Provenance, algorithm_template, begin
from node.dicom.series import ImageSeries, Plane
from node.instance import ResultKind, ResultObject

SERIES_NUMBER: Final = 9906
"""Of the first task; the others' follow it."""
WHOLE_BYTES_MAX: Final = 64 << 20
"""A map that stays below this covers every plane of the PET: cornerstone puts no other on it."""
METHOD: Final = (
    "HiResCAM of the network's fused features, the least of its axial, coronal and sagittal plane"
)
_APART_MM: Final = 0.01
_OWN: Final = (
    "SharedFunctionalGroupsSequence",
    "DimensionOrganizationSequence",
    "DimensionIndexSequence",
)


def saliency_maps(
    found: Sequence[Saliency],
    *,
    series: ImageSeries,
    grid: Grid,
    subject: Dataset,
    provenance: Provenance,
    whole: "Frames | None" = None,
) -> list[ResultObject]:
    """Return the map of each task, in a series of its own; one that is 0 everywhere has none.

    ``grid`` is that of ``series``, the PET. Frames have its rows and columns, and are 0 outside of
    the map's box. There is one for every plane of the PET, as cornerstone asks, or, where that
    would make a very large object, for every plane that the box touches. Refuses a map that does
    not lie on voxels of ``grid``, and numbers outside 0 to 1. ``whole`` are the frames of maps of
    every plane, if somebody has made them.
    """
    maps: list[ResultObject] = []
    frames: dict[tuple[int, int], Frames] = {}
    if whole is not None:
        frames[0, grid.shape[0]] = whole
    for number, saliency in enumerate(found, 1):
        if not saliency.on_pet.voxels.any():  # it may look nowhere, which no map can show
            continue
        first, voxels = _on_planes(saliency, grid)
        last = first + voxels.shape[0]
        if (first, last) not in frames:
            frames[first, last] = _frames(first, last, series, grid, subject, provenance)
        one = frames[first, last]
        begun = one.begun(saliency.task, number, subject, provenance)
        maps.append(begun.ended((one.encoded, *_pixels(voxels))))
    return maps


def whole_frames(
    series: ImageSeries, grid: Grid, subject: Dataset, provenance: Provenance
) -> "Frames | None":
    """Return what maps of every plane have in common; None where maps have fewer planes.

    Of ``provenance`` the equipment and the key count.
    """
    if not _covers_all(grid):
        return None
    return _frames(0, grid.shape[0], series, grid, subject, provenance)


def _frames(
    first: int, last: int, series: ImageSeries, grid: Grid, subject: Dataset, provenance: Provenance
) -> "Frames":
    planes = series.planes[first:last]
    (image,) = as_single_frames(planes[:1], grid, series, subject)
    return Frames.of(image, planes, provenance)


def _covers_all(grid: Grid) -> bool:
    """Whether maps have a frame for each plane of the PET."""
    return int(np.prod(grid.shape)) * 4 <= WHOLE_BYTES_MAX


@dataclass(frozen=True, kw_only=True, eq=False)
class Frames:
    """What the maps of all tasks have in common: the planes, and what is said of each of them.

    To say it once is enough: it takes longer than all else of a map.
    """

    head: Dataset
    sources: Elements
    """The instances that they were all made of."""
    encoded: bytes
    """The Per-frame Functional Groups Sequence."""
    _begun: dict[tuple[str, int, Provenance], Begun] = field(default_factory=dict)

    @staticmethod
    def of(image: Dataset, planes: Sequence[Plane], provenance: Provenance) -> "Frames":
        """Have highdicom say it of the first, ``image``: frames differ in their plane alone.

        Numbers and names are such that each map replaces them by its own.
        """
        device = provenance.equipment
        rows, columns = image.Rows, image.Columns
        image.Rows = image.Columns = 1  # nor are the pixels highdicom's matter
        dataset = ParametricMap(
            source_images=[image],
            pixel_array=np.zeros((1, 1, 1), np.float32),
            series_instance_uid=provenance.uid("series PM"),
            series_number=SERIES_NUMBER,
            sop_instance_uid=provenance.uid("instance PM"),
            instance_number=1,
            manufacturer=device.manufacturer,
            manufacturer_model_name=device.model_name,
            software_versions=device.software_version,
            device_serial_number=device.device_serial_number,
            contains_recognizable_visual_features=False,
            real_world_value_mappings=[_mapping("")],
            # LINEAR would make a threshold of a window this narrow (PS3.3 C.11.2.1.2.1).
            voi_lut_transformations=[
                hd.VOILUTTransformation(
                    window_center=0.5, window_width=1.0, voi_lut_function="LINEAR_EXACT"
                )
            ],
            derivation=codes.DCM.GradientWeightedClassActivation,
            transfer_syntax_uid=ExplicitVRLittleEndian,
            content_creator_name=f"{device.model_name}^",
            specific_character_set="ISO_IR 192",
        )
        dataset.Rows, dataset.Columns = rows, columns
        dataset.NumberOfFrames = len(planes)
        if _are_evenly_spaced(planes, image.ImageOrientationPatient):
            dataset.DimensionOrganizationType = "3D"
        sources = take_sources(dataset, planes)
        dataset.SharedFunctionalGroupsSequence[0].FrameAnatomySequence = [_anatomy()]
        dataset.BodyPartExamined = "CHEST"  # not paired, so that no Laterality is due (C.7.3.1)
        dataset.DerivationDescription = METHOD
        dataset.ImageComments = (
            f"{RESEARCH_USE}. It shows where a network looked, not what is there."
        )
        dataset.CodingSchemeIdentificationSequence = list[Dataset](ours.coding_schemes())
        # dcmqi and cornerstone lay frames on the planes in the order of the file, which is theirs.
        frames = per_frame(
            dataset.PerFrameFunctionalGroupsSequence[0],
            [Frame(plane=plane, index=(number,)) for number, plane in enumerate(planes, 1)],
        )
        del dataset.PerFrameFunctionalGroupsSequence, dataset.FloatPixelData
        return Frames(head=dataset, sources=sources, encoded=joined(frames))

    def with_head(self, task: str, number: int, provenance: Provenance) -> Dataset:
        """Return a map of one task, ``number`` (from 1) among the tasks, without its frames."""
        dataset, role = self._copied(), f"PM {task}"
        dataset.SeriesInstanceUID = provenance.uid(f"series {role}")
        dataset.SeriesNumber = SERIES_NUMBER + number - 1
        dataset.SOPInstanceUID = provenance.uid(f"instance {role}")
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        words = ours.task_label(task)
        dataset.ContentLabel = ours.saliency(task)
        dataset.ContentDescription = f"Where the network looked: {words}"
        dataset.SeriesDescription = f"Saliency for {words} (research)"
        groups = dataset.SharedFunctionalGroupsSequence[0]
        groups.RealWorldValueMappingSequence = [_mapping(task)]
        _tell(dataset, task, provenance)
        set_dimension_organization(dataset, provenance.uid(f"dimension organization {role}"))
        return dataset

    def begun(self, task: str, number: int, subject: Dataset, provenance: Provenance) -> Begun:
        """Return the map of one task without frames and numbers, made by who asks for it first."""
        made = self._begun.get((task, number, provenance))
        if made is None:
            made = begin(
                self.with_head(task, number, provenance),
                ResultKind.SALIENCY,
                subject=subject,
                provenance=provenance,
                among=self.sources,
            )
            self._begun[task, number, provenance] = made
        return made

    def _copied(self) -> Dataset:
        """Copy the head, but of what lies deeper only that which maps have each of their own."""
        dataset = Dataset()
        dataset.file_meta = deepcopy(self.head.file_meta)
        for element in self.head:
            dataset.add((deepcopy if element.keyword in _OWN else copy)(element))
        return dataset


def tracking_uid(provenance: Provenance, task: str) -> str:
    """Return the Tracking UID of what is told of ``task`` in this run."""
    return provenance.uid(f"prediction {task}")


def task_of(part10: bytes | memoryview) -> str:
    """Return the task of a map of ours, letters, digits, dots, hyphens and underscores alone."""
    dataset = dcmread(io.BytesIO(part10), specific_tags=["SharedFunctionalGroupsSequence"])
    (mapping,) = dataset.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence
    (task,) = [
        str(item.TextValue)
        for item in mapping.QuantityDefinitionSequence
        if item.ConceptNameCodeSequence[0].CodeValue == codes.DCM.TrackingIdentifier.value
    ]
    return re.sub(r"[^\w.-]", "_", task, flags=re.ASCII)


def _on_planes(saliency: Saliency, grid: Grid) -> tuple[int, Boxed]:
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
    first, last = (0, grid.shape[0]) if _covers_all(grid) else (start[0], stop[0])
    return first, Boxed(
        shape=(last - first, *grid.shape[1:]),
        start=(start[0] - first, start[1], start[2]),
        box=box.voxels,
    )


def _are_evenly_spaced(planes: Sequence[Plane], orientation: Sequence[float]) -> bool:
    """Tell, as highdicom would, whether several planes make a volume (PS3.3 C.7.6.17.3)."""
    places = [[float(decimal(value)) for value in plane.position] for plane in planes]
    spacing_mm, _ = hd.spatial.get_volume_positions(places, orientation)
    return len(planes) > 1 and spacing_mm is not None and spacing_mm > 0


def _pixels(voxels: Boxed) -> tuple[bytes, Boxed]:
    """Return Float Pixel Data: tag, VR and length (PS3.5 7.1.2), then the numbers."""
    return struct.pack("<HH2sHI", 0x7FE0, 0x0008, b"OF", 0, len(voxels)), voxels


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


def _tell(dataset: Dataset, task: str, provenance: Provenance) -> None:
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
