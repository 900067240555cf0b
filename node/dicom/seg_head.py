"""What a Segmentation says whatever is segmented, and its frames as they are told of planes."""

import struct
from collections.abc import Iterator, Sequence
from copy import copy, deepcopy
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import highdicom as hd
import numpy as np
from highdicom.seg import (
    SegmentAlgorithmTypeValues,
    Segmentation,
    SegmentationTypeValues,
    SegmentDescription,
)
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRLittleEndian

from inference.geometry import Grid
from inference.volume import Mask, Region
from node.dicom.derived import as_single_frames, decimal, set_dimension_organization, sources
from node.dicom.encoding import Elements, as_pydicom, joined, sequence, value
from node.dicom.frame_groups import Frame, per_frame
from node.dicom.provenance import Provenance
from node.dicom.sequences import certain
from node.dicom.series import ImageSeries

SERIES_NUMBER: Final = 9902
_OF_SEGMENT: Final = int(Tag("SegmentIdentificationSequence"))


@dataclass(frozen=True, kw_only=True, eq=False)
class Head:
    """A Segmentation on the planes of one series, without segments and frames.

    To have highdicom say what is the same for all frames takes longer than all frames.
    """

    series: ImageSeries
    plain: Dataset
    """Its elements, without most of its sequences."""
    encoded: Elements
    """Those sequences."""
    shared: Elements
    """The item of what holds for all frames."""
    one: Dataset
    """The item of one frame."""
    orientation: Sequence[float]
    """Of the planes: Image Orientation (Patient)."""

    @staticmethod
    def of(series: ImageSeries, grid: Grid, subject: Dataset, provenance: Provenance) -> "Head":
        """Have highdicom say it of one voxel of the first plane.

        Of ``provenance`` the equipment and the key count.
        """
        (image,) = as_single_frames(series.planes[:1], grid, series, subject)
        image.Rows = image.Columns = 1
        dataset = _of_one_voxel(image, series, provenance)
        dataset.Rows, dataset.Columns = grid.shape[1:]
        dataset.BodyPartExamined = "CHEST"  # not paired, so that no Laterality is due (C.7.3.1)
        set_dimension_organization(dataset, provenance.uid("dimension organization SEG"))
        (one,) = dataset.PerFrameFunctionalGroupsSequence
        (shared,) = dataset.SharedFunctionalGroupsSequence
        del dataset.PerFrameFunctionalGroupsSequence, dataset.SharedFunctionalGroupsSequence
        del dataset.SourceImageSequence, dataset.ReferencedSeriesSequence
        del dataset.SegmentSequence, dataset.PixelData, dataset.ContributingEquipmentSequence
        encoded = certain(dataset)
        for tag in encoded:
            del dataset[tag]
        return Head(
            series=series,
            plain=dataset,
            encoded=encoded,
            shared=as_pydicom(shared),
            one=one,
            orientation=[float(cosine) for cosine in image.ImageOrientationPatient],
        )

    def with_segments(
        self, regions: Sequence[Region], descriptions: Sequence[SegmentDescription]
    ) -> tuple[Dataset, Elements]:
        """Return the Segmentation of regions on the planes, and those elements that are encoded.

        A frame is there for each plane that a region has a voxel on, one region after the other.
        """
        dataset = self._copied()
        planes = self._planes(regions)
        kept = [*_frames(planes, regions)]
        single = len(regions) == 1
        told = per_frame(self.one, [self._frame(*one, single=single) for one in kept])
        shared = {tag: held for tag, held in self.shared.items() if single or tag != _OF_SEGMENT}
        dataset.SegmentSequence = list[Dataset](descriptions)
        dataset.SegmentsOverlap = "YES" if _overlap(regions) else "NO"
        dataset.NumberOfFrames = len(kept)
        if single and self._are_even(planes):
            dataset.DimensionOrganizationType = "3D"
        dataset.PixelData = _bits([regions[number].mask[plane] for number, plane, _ in kept])
        cited = self.series.planes[min(planes) : max(planes) + 1]
        return dataset, {
            **self.encoded,
            **told,
            **sequence("SharedFunctionalGroupsSequence", [joined(shared)]),
            **sources(self.series.series_instance_uid, cited),
        }

    def _copied(self) -> Dataset:
        dataset = Dataset()
        dataset.file_meta = deepcopy(self.plain.file_meta)
        for element in self.plain:
            dataset.add(copy(element))
        return dataset

    def _planes(self, regions: Sequence[Region]) -> list[int]:
        """Return the planes with a voxel, in the order of their frames: as highdicom sorts them."""
        found = np.unique(np.concatenate([_held(region) for region in regions]))
        normal = hd.spatial.get_normal_vector(self.orientation, index_convention="DR")
        away = np.asarray([self._position(plane) for plane in found]) @ normal
        order: list[int] = found[np.argsort(away, kind="stable")].tolist()
        return order

    def _are_even(self, planes: Sequence[int]) -> bool:
        """Tell, as highdicom would, whether several planes make a volume (PS3.3 C.7.6.17.3)."""
        if len(planes) < 2:
            return False
        places = [self._position(plane) for plane in sorted(planes)]
        spacing_mm, _ = hd.spatial.get_volume_positions(places, self.orientation, sort=False)
        return spacing_mm is not None and spacing_mm > 0

    def _position(self, plane: int) -> list[float]:
        return [float(decimal(number)) for number in self.series.planes[plane].position]

    def _frame(self, number: int, plane: int, place: int, *, single: bool) -> Frame:
        """Return one frame; of a single segment all frames together say that they are its."""
        identified = value("ReferencedSegmentNumber", struct.pack("<H", number + 1))
        own = sequence("SegmentIdentificationSequence", [joined(identified)])
        return Frame(
            plane=self.series.planes[plane],
            index=(number + 1, place),
            groups={} if single else own,
        )


def _of_one_voxel(image: Dataset, series: ImageSeries, provenance: Provenance) -> Segmentation:
    device = provenance.equipment
    one = SegmentDescription(
        segment_number=1,
        segment_label="-",
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=codes.SCT.Lesion,
        algorithm_type=SegmentAlgorithmTypeValues.MANUAL,
    )
    return Segmentation(
        source_images=[image],
        pixel_array=np.ones((1, 1, 1), np.uint8),
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=[one],
        series_instance_uid=provenance.uid("series SEG"),
        series_number=SERIES_NUMBER,
        sop_instance_uid=provenance.uid("instance SEG"),
        instance_number=1,
        manufacturer=device.manufacturer,
        manufacturer_model_name=device.model_name,
        software_versions=device.software_version,
        device_serial_number=device.device_serial_number,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        content_label="LESIONS",
        content_description="Lesions found in PET/CT",
        content_creator_name=f"{device.model_name}^",
        series_description=f"Lesions on {series.modality} (research)",
        specific_character_set="ISO_IR 192",
    )


def _held(region: Region) -> NDArray[np.intp]:
    """Return the planes on which a region has a voxel."""
    if region.box is None:
        return np.empty(0, np.intp)
    held: NDArray[np.intp] = np.flatnonzero(region.mask[region.box].any(axis=(1, 2)))
    held += region.box[0].start
    return held


def _frames(planes: Sequence[int], regions: Sequence[Region]) -> Iterator[tuple[int, int, int]]:
    """Yield the region, the plane and the place among all planes, from 1, of each frame."""
    for number, region in enumerate(regions):
        held = set(_held(region).tolist())
        for place, plane in enumerate(planes, 1):
            if plane in held:
                yield number, plane, place


def _overlap(regions: Sequence[Region]) -> bool:
    """Tell whether some voxel is of two regions."""
    return any(
        bool((one.mask[one.box] & other.mask[one.box]).any())
        for one, other in combinations(regions, 2)
        if one.box is not None
    )


def _bits(frames: Sequence[Mask]) -> bytes:
    """Return a bit for each pixel, the first the lowest, in an even number of bytes (PS3.5 8.1)."""
    packed = np.packbits(np.stack(frames), bitorder="little").tobytes()
    return packed + b"\0" * (len(packed) % 2)
