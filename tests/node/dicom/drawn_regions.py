"""Structure sets and segmentations that show a region, and a study that they come with."""

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from node.config import Selection
from node.dicom.naming import Wanted
from node.dicom.series import choose
from node.dicom.volumes import load
from tests.node.dicom.minimal import FRAME, STUDY, code, ct_plane, pet_plane, save, series

WANTED = Wanted(names=Selection().contour_names, codes=Selection().contour_codes)


def segment_item(number, label, concept=("272673000", "SCT"), algorithm="MANUAL"):
    item = Dataset()
    item.SegmentNumber, item.SegmentLabel = number, label
    item.SegmentAlgorithmType = algorithm
    item.SegmentedPropertyTypeCodeSequence = [code(*concept, "concept")]
    return item


def file_of(sop_class_uid, uid, modality):
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class_uid, uid
    ds.file_meta.MediaStorageSOPClassUID = sop_class_uid
    ds.file_meta.MediaStorageSOPInstanceUID = uid
    ds.StudyInstanceUID, ds.SeriesInstanceUID = STUDY, f"{uid}.9"
    ds.Modality = modality
    return ds


def structure_set(names, refer_to="1.2.3.2", frame=FRAME, uid="1.2.7", place=8.0):
    """Every named region is the same square of 2 x 3 voxels on plane 2 of the PET."""
    ds = file_of("1.2.840.10008.5.1.4.1.1.481.3", uid, "RTSTRUCT")
    ds.StructureSetROISequence, ds.ROIContourSequence = [], []
    for number, name in enumerate(names, start=1):
        roi, drawn, contour = Dataset(), Dataset(), Dataset()
        roi.ROINumber, roi.ROIName = number, name
        roi.ReferencedFrameOfReferenceUID = frame
        contour.ContourGeometricType = "CLOSED_PLANAR"
        left, right, top, bottom = -14 + 2 * 4 - 2, -14 + 5 * 4 - 2, -14 + 4 - 2, -14 + 3 * 4 - 2
        corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
        contour.ContourData = [value for x, y in corners for value in (x, y, place)]
        contour.NumberOfContourPoints = 4
        if refer_to:
            image = Dataset()
            image.ReferencedSOPClassUID = "1.2.840.10008.5.1.4.1.1.128"
            image.ReferencedSOPInstanceUID = f"{refer_to}.3"
            contour.ContourImageSequence = [image]
        drawn.ReferencedROINumber, drawn.ContourSequence = number, [contour]
        ds.StructureSetROISequence.append(roi)
        ds.ROIContourSequence.append(drawn)
    return ds


def loaded(folder, *documents):
    images = [*series(pet_plane, "1.2.3.2"), *series(ct_plane, "1.2.3.3")]
    choice = choose(save(folder, [*images, *documents]))
    return load(choice, contour_names=WANTED.names, contour_codes=WANTED.codes)


def told(petct):
    return [reason.code for reason in petct.warnings]


def segmentation(kind, items, frames, places, **values):
    """Frames of 8 x 8 on the PET's planes at ``places``; ``values`` are per frame."""
    ds = file_of("1.2.840.10008.5.1.4.1.1.66.4", "1.2.6", "SEG")
    ds.FrameOfReferenceUID = FRAME
    ds.SegmentationType, ds.SegmentSequence = kind, items
    ds.Rows = ds.Columns = 8
    ds.NumberOfFrames = len(frames)
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
    bits = 1 if kind == "BINARY" else 8
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = bits, bits, bits - 1
    ds.MaximumFractionalValue = 200
    shared, measures, axes = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [4.0, 4.0], 4.0
    axes.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [axes]
    ds.SharedFunctionalGroupsSequence = [shared]
    ds.PerFrameFunctionalGroupsSequence = []
    for place, number in zip(places, values["segments"], strict=True):
        group, position, segment = Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = [-14.0, -14.0, place]
        segment.ReferencedSegmentNumber = number
        group.PlanePositionSequence = [position]
        group.SegmentIdentificationSequence = [segment]
        ds.PerFrameFunctionalGroupsSequence.append(group)
    reference, image = Dataset(), Dataset()
    image.ReferencedSOPClassUID = "1.2.840.10008.5.1.4.1.1.128"
    image.ReferencedSOPInstanceUID = "1.2.3.2.1"
    reference.SeriesInstanceUID, reference.ReferencedInstanceSequence = "1.2.3.2", [image]
    ds.ReferencedSeriesSequence = [reference]
    stored = np.asarray(frames, np.uint8)
    ds.PixelData = (
        np.packbits(stored.ravel(), bitorder="little").tobytes() if bits == 1 else stored.tobytes()
    )
    return ds


def frame_of(value, *voxels):
    frame = np.zeros((8, 8), np.uint8)
    for voxel in voxels:
        frame[voxel] = value
    return frame
