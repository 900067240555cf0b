"""Multi-frame objects made plane by plane from a series, and how their frames name its planes."""

from collections.abc import Sequence
from copy import deepcopy

from pydicom.dataset import Dataset
from pydicom.uid import UID, CTImageStorage, PositronEmissionTomographyImageStorage
from pydicom.valuerep import format_number_as_ds

from inference.geometry import Grid
from node.dicom.encoding import Elements, joined, reference, sequence, value
from node.dicom.provenance import derived_uid
from node.dicom.series import ImageSeries, Plane


def as_single_frames(
    planes: Sequence[Plane], grid: Grid, series: ImageSeries, subject: Dataset
) -> list[Dataset]:
    """Present every plane as a single-frame image of its own, whatever instance holds it.

    So single-frame and multi-frame sources, in one instance or in several, take one road;
    ``name_true_sources`` puts the true references in afterwards.
    """
    direction = grid.direction
    images = []
    for number, plane in enumerate(planes):
        # Patient and study are read from the first alone.
        image = Dataset() if number else deepcopy(subject)
        image.SOPClassUID = _single_frame_class(series.modality)
        image.SOPInstanceUID = _placeholder(plane)
        image.SeriesInstanceUID = series.series_instance_uid
        image.StudyInstanceUID = series.study_instance_uid
        image.Modality = series.modality
        image.FrameOfReferenceUID = grid.frame_of_reference_uid
        image.PositionReferenceIndicator = ""
        image.Rows, image.Columns = grid.shape[1:]
        image.ImagePositionPatient = [decimal(value) for value in plane.position]
        image.ImageOrientationPatient = [decimal(v) for v in (*direction[2], *direction[1])]
        image.PixelSpacing = [decimal(grid.spacing[1]), decimal(grid.spacing[2])]
        image.SliceThickness = decimal(grid.spacing[0])
        image.SpacingBetweenSlices = decimal(grid.spacing[0])
        images.append(image)
    return images


def take_sources(dataset: Dataset, planes: Sequence[Plane]) -> Elements:
    """Return of which instances the whole was made, in place of what highdicom says of it."""
    series_uid = str(dataset.ReferencedSeriesSequence[0].SeriesInstanceUID)
    del dataset.SourceImageSequence, dataset.ReferencedSeriesSequence
    return sources(series_uid, planes)


def sources(series_instance_uid: str, planes: Sequence[Plane]) -> Elements:
    """Return of which instances of a series the whole was made, each of them once."""
    instances = {plane.sop_instance_uid: plane.sop_class_uid for plane in planes}
    items = [joined(reference(sop_class, uid)) for uid, sop_class in instances.items()]
    series = value("SeriesInstanceUID", series_instance_uid.encode()) | sequence(
        "ReferencedInstanceSequence", items
    )
    return sequence("SourceImageSequence", items) | sequence(
        "ReferencedSeriesSequence", [joined(series)]
    )


def set_dimension_organization(dataset: Dataset, uid: str) -> None:
    """Replace highdicom's random Dimension Organization UID, so that equal runs stay equal."""
    dataset.DimensionOrganizationSequence[0].DimensionOrganizationUID = uid
    for index in dataset.DimensionIndexSequence:
        index.DimensionOrganizationUID = uid


def decimal(value: float) -> str:
    """Return a decimal string of at most 16 characters (PS3.5 6.2, VR DS)."""
    return format_number_as_ds(float(value))


def _single_frame_class(modality: str) -> UID:
    return CTImageStorage if modality == "CT" else PositronEmissionTomographyImageStorage


def _placeholder(plane: Plane) -> str:
    return derived_uid("plane", plane.sop_instance_uid, str(plane.frame))
