"""The least PET and CT data sets that a study can be made of, for tests to change."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

PET = "1.2.840.10008.5.1.4.1.1.128"
CT = "1.2.840.10008.5.1.4.1.1.2"
STUDY = "1.2.3.1"
FRAME = "1.2.3.9"
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
Change = Callable[[Dataset, int], None]


def code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def change(ds: Dataset, changes: Mapping[str, Any]) -> None:
    """Set attributes; None removes one."""
    for keyword, value in changes.items():
        if value is None:
            delattr(ds, keyword)
        else:
            setattr(ds, keyword, value)


def radiopharmaceutical(**changes: Any) -> Dataset:
    """350 MBq of FDG, given at ten."""
    item = Dataset()
    item.RadiopharmaceuticalStartTime = "100000"
    item.RadionuclideTotalDose = 350e6
    item.RadionuclideHalfLife = 6586.2
    item.RadionuclideCodeSequence = [code("C-111A1", "SRT", "^18^Fluorine")]
    item.RadiopharmaceuticalCodeSequence = [code("C-B1031", "SRT", "Fluorodeoxyglucose F^18^")]
    change(item, changes)
    return item


def plane(sop_class_uid: str, series_uid: str, index: int, size: int = 8) -> Dataset:
    """One axial plane of 4 mm voxels, 4 mm above the last; its voxels hold ``index``."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class_uid, f"{series_uid}.{index + 1}"
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.StudyInstanceUID, ds.SeriesInstanceUID = STUDY, series_uid
    ds.FrameOfReferenceUID = FRAME
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.SeriesDate, ds.SeriesTime = "20260102", "110000"
    ds.AcquisitionDate, ds.AcquisitionTime = "20260102", "110000"
    ds.ImageOrientationPatient = list(AXIAL)
    ds.ImagePositionPatient = [-14.0, -14.0, 4.0 * index]
    ds.PixelSpacing = [4.0, 4.0]
    ds.Rows = ds.Columns = size
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
    ds.RescaleSlope, ds.RescaleIntercept = 1, 0
    ds.PixelData = np.full((size, size), index, np.int16).tobytes()
    return ds


def pet_plane(index: int = 0, series_uid: str = "1.2.3.2") -> Dataset:
    """A plane of an attenuation-corrected FDG PET of 70 kg, an hour after injection."""
    ds = plane(PET, series_uid, index)
    ds.Modality = "PT"
    ds.PatientWeight = 70
    ds.Units, ds.DecayCorrection = "BQML", "START"
    ds.CorrectedImage = ["DECY", "ATTN", "SCAT"]
    ds.AttenuationCorrectionMethod = "measured"
    ds.SeriesType = ["WHOLE BODY", "IMAGE"]
    ds.RadiopharmaceuticalInformationSequence = [radiopharmaceutical()]
    return ds


def ct_plane(index: int = 0, series_uid: str = "1.2.3.3") -> Dataset:
    ds = plane(CT, series_uid, index)
    ds.Modality = "CT"
    ds.ConvolutionKernel = "B30f"
    return ds


def save(folder: Path, datasets: Sequence[Dataset]) -> list[Path]:
    """Write files named by their SOP Instance UID."""
    paths = []
    for ds in datasets:
        path = folder / f"{ds.SOPInstanceUID}.dcm"
        ds.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def series(
    make: Callable[[int, str], Dataset], uid: str, planes: int = 5, **values: Any
) -> list[Dataset]:
    """Planes of one series, each with the same changed attributes; None removes one."""
    datasets = [make(index, uid) for index in range(planes)]
    for ds in datasets:
        change(ds, values)
    return datasets
