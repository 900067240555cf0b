"""A region as an RT Structure Set whose contours run along the edges of its voxels."""

from collections.abc import Iterator
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    CTImageStorage,
    ExplicitVRLittleEndian,
    PositronEmissionTomographyImageStorage,
    RTStructureSetStorage,
)
from scipy import ndimage

from inference.petct import PetCt
from inference.volume import Mask, Region
from node.dicom.acquisition import Study, date, decimal, derived_uid, equipment, instance, time
from node.dicom.outline import outline

STUDY_COMPONENT_MANAGEMENT = UID("1.2.840.10008.3.1.2.3.1")
"""Detached Study Management, retired, which PS3.3 C.8.8.5 still has here."""


def structure_set(petct: PetCt, study: Study, region: Region, *, name: str) -> Dataset:
    """Return the structure set; ``region`` lies on the lattice of the CT or of the PET."""
    sop_class_uid, series_uid = _drawn_on(petct, region)
    at = study.started_at + timedelta(minutes=30)
    ds = instance(
        petct,
        study,
        sop_class_uid=RTStructureSetStorage,
        series_instance_uid=derived_uid(series_uid, name),
        index=0,
    )
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    equipment(ds, petct)
    ds.Modality = "RTSTRUCT"
    ds.SeriesNumber = 5
    ds.SeriesDescription = f"{name} contour"
    ds.OperatorsName = ""
    ds.InstanceNumber = 1
    ds.FrameOfReferenceUID = region.grid.frame_of_reference_uid
    ds.PositionReferenceIndicator = ""
    ds.StructureSetLabel = name
    ds.StructureSetDate, ds.StructureSetTime = date(at), time(at)
    images = [
        _image(sop_class_uid, derived_uid(series_uid, index))
        for index in range(region.grid.shape[0])
    ]
    ds.ReferencedFrameOfReferenceSequence = Sequence([_frame(ds, series_uid, images)])
    ds.StructureSetROISequence = Sequence([_roi(ds.FrameOfReferenceUID, name)])
    ds.ROIContourSequence = Sequence([_contours(region, images)])
    ds.RTROIObservationsSequence = Sequence([_observation()])
    ds.ApprovalStatus = "UNAPPROVED"
    return ds


def _drawn_on(petct: PetCt, region: Region) -> tuple[UID, str]:
    if region.grid.is_close(petct.ct.grid):
        return CTImageStorage, petct.ct_facts.series_instance_uid
    if region.grid.is_close(petct.pet.grid):
        return PositronEmissionTomographyImageStorage, petct.pet_facts.series_instance_uid
    raise ValueError("a contour is drawn on the slices of the CT or of the PET")


def _image(sop_class_uid: UID, sop_instance_uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = sop_class_uid
    item.ReferencedSOPInstanceUID = sop_instance_uid
    return item


def _frame(ds: Dataset, series_uid: str, images: list[Dataset]) -> Dataset:
    """Which images the contours were drawn on."""
    series = Dataset()
    series.SeriesInstanceUID = series_uid
    series.ContourImageSequence = Sequence(images)
    study = _image(STUDY_COMPONENT_MANAGEMENT, ds.StudyInstanceUID)
    study.RTReferencedSeriesSequence = Sequence([series])
    frame = Dataset()
    frame.FrameOfReferenceUID = ds.FrameOfReferenceUID
    frame.RTReferencedStudySequence = Sequence([study])
    return frame


def _roi(frame_of_reference_uid: str, name: str) -> Dataset:
    roi = Dataset()
    roi.ROINumber = 1
    roi.ReferencedFrameOfReferenceUID = frame_of_reference_uid
    roi.ROIName = name
    roi.ROIGenerationAlgorithm = "MANUAL"
    return roi


def _contours(region: Region, images: list[Dataset]) -> Dataset:
    roi = Dataset()
    roi.ReferencedROINumber = 1
    roi.ROIDisplayColor = ["255", "0", "0"]
    contours = []
    for index in np.flatnonzero(region.mask.any(axis=(1, 2))).tolist():
        for loop in _loops(region.mask[index]):
            corners = np.column_stack([np.full(len(loop), float(index)), loop])
            points = region.grid.to_patient(corners)
            contour = Dataset()
            contour.ContourImageSequence = Sequence([images[index]])
            contour.ContourGeometricType = "CLOSED_PLANAR"
            contour.NumberOfContourPoints = len(points)
            contour.ContourData = [decimal(v) for v in points.ravel()]
            contours.append(contour)
    roi.ContourSequence = Sequence(contours)
    return roi


def _loops(plane: Mask) -> Iterator[NDArray[np.float64]]:
    """Yield (row, column) indices round every part and, as loops of their own, round its holes.

    A reader that combines the loops by exclusive or finds the region again (PS3.3 C.8.8.6.3).
    """
    for part in _parts(plane):
        yield _loop(part)
        for hole in _parts(np.asarray(ndimage.binary_fill_holes(part)) & ~part):
            yield _loop(hole)


def _parts(plane: Mask) -> Iterator[Mask]:
    labels, count = ndimage.label(plane)
    for label in range(1, count + 1):
        yield np.asarray(labels == label)


def _loop(part: Mask) -> NDArray[np.float64]:
    """From SCOORD's (column, row), which start at the first pixel's corner, to voxel centres."""
    indices: NDArray[np.float64] = outline(part)[:-1, ::-1] - 0.5
    return indices


def _observation() -> Dataset:
    observation = Dataset()
    observation.ObservationNumber = 1
    observation.ReferencedROINumber = 1
    observation.RTROIInterpretedType = "GTV"
    observation.ROIInterpreter = ""
    return observation
