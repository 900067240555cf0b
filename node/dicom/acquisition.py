"""What every instance of an acquired study has in common: patient, study, frame, equipment."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.coding import Code
from pydicom.uid import UID, ExplicitVRBigEndian
from pydicom.valuerep import format_number_as_ds

from inference.geometry import Grid
from inference.petct import PatientFacts, PetCt

IMPLEMENTATION_CLASS_UID = "2.25.188403826711853023104372718226463297104"


class Habit(StrEnum):
    """How a family of scanners writes its PET."""

    SIEMENS = "siemens"
    """BQML, one rescale slope a series, every bed with its own Acquisition Time."""
    GE = "ge"
    """BQML, a rescale slope for every slice, the date and time of the injection."""
    PHILIPS = "philips"
    """CNTS with the private factors for SUV and activity; the injection's time without its date."""
    GML = "gml"
    """SUVbw, corrected to administration, as workstations save it."""


@dataclass(frozen=True, kw_only=True)
class Study:
    """What a PetCt does not tell: who, when, and in what order the files come."""

    started_at: datetime
    """When the first bed of the PET started, as the scanner's clock shows it."""
    patient_name: str = "Phantom^Unnamed"
    patient_id: str = "PHANTOM"
    accession_number: str = ""
    description: str = "PET/CT thorax FDG (phantom)"
    beds: int = 4
    bed_s: float = 120.0
    shuffle_seed: int | None = None
    """Shuffles file names and instance numbers; None files the slices in their order."""

    def __post_init__(self) -> None:
        if self.beds < 1 or self.bed_s <= 0:
            raise ValueError(f"a PET needs beds and time, got {self.beds} of {self.bed_s} s")

    @classmethod
    def of_phantom(cls, seed: int, started_at: datetime) -> "Study":
        """Return a study whose patient nobody can take for a person."""
        return cls(
            started_at=started_at,
            patient_name=f"Phantom^Seed {seed}",
            patient_id=f"PHANTOM-{seed}",
            accession_number=f"PHANTOM{seed}",
        )


def instance(
    petct: PetCt, study: Study, *, sop_class_uid: UID, series_instance_uid: str, index: int
) -> Dataset:
    """Return patient, study and SOP Common of one instance, with a UID of ``index`` in its series.

    The file's transfer syntax is left to whoever writes it.
    """
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID = sop_class_uid
    ds.SOPInstanceUID = derived_uid(series_instance_uid, index)
    offset = study.started_at.strftime("%z")
    if offset:
        ds.TimezoneOffsetFromUTC = offset
    _patient(ds, study, petct.patient)
    begun = study.started_at - timedelta(minutes=5)
    ds.StudyInstanceUID = petct.study_instance_uid
    ds.StudyDate, ds.StudyTime = date(begun), time(begun)
    ds.ReferringPhysicianName = ""
    ds.StudyID = "1"
    ds.AccessionNumber = study.accession_number
    ds.StudyDescription = study.description
    ds.SeriesInstanceUID = series_instance_uid
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = sop_class_uid
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.file_meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    return ds


def equipment(ds: Dataset, petct: PetCt) -> None:
    """Add the scanner and the words that nothing may mistake for a patient."""
    ds.Manufacturer = petct.pet_facts.manufacturer or "Phantom"
    ds.ManufacturerModelName = petct.pet_facts.model_name or "Phantom"
    ds.DeviceSerialNumber = "0"
    ds.SoftwareVersions = "1"
    ds.InstitutionName = "Phantom"


def image_plane(ds: Dataset, grid: Grid, index: int) -> None:
    """Add frame of reference and plane of slice ``index``.

    Image Orientation (Patient) holds first the direction along a row, which is the column index's,
    then the direction down a column (PS3.3 C.7.6.2.1.1); Pixel Spacing is row spacing first.
    """
    slices, rows, columns = grid.direction
    position = grid.to_patient((index, 0, 0))
    ds.BodyPartExamined = "CHEST"
    ds.FrameOfReferenceUID = grid.frame_of_reference_uid
    ds.PositionReferenceIndicator = ""
    ds.ImagePositionPatient = [decimal(v) for v in position]
    ds.ImageOrientationPatient = [decimal(v) for v in (*columns, *rows)]
    ds.PixelSpacing = [decimal(grid.spacing[1]), decimal(grid.spacing[2])]
    ds.SliceThickness = decimal(grid.spacing[0])
    ds.SliceLocation = decimal(float(np.dot(position, slices)))


def patient_position(grid: Grid) -> str:
    """Tell how the patient must lie for the table to run along the lattice (PS3.3 C.7.3.1.1.2)."""
    _, rows, columns = grid.direction
    supine = rows[1] >= 0
    head_first = (columns[0] >= 0) is supine
    return ("HF" if head_first else "FF") + ("S" if supine else "P")


def pixels(ds: Dataset, stored: "np.ndarray[Any, Any]", *, bits_stored: int = 16) -> None:
    """Add one greyscale frame of 16-bit integers, signed or not as ``stored`` is."""
    big_endian = ds.file_meta.TransferSyntaxUID == ExplicitVRBigEndian
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.Rows, ds.Columns = stored.shape
    ds.BitsAllocated = 16
    ds.BitsStored = bits_stored
    ds.HighBit = bits_stored - 1
    ds.PixelRepresentation = int(stored.dtype.kind == "i")
    ds.LossyImageCompression = "00"
    ds.PixelData = stored.astype(stored.dtype.newbyteorder(">" if big_endian else "<")).tobytes()
    ds["PixelData"].VR = "OW"


def coded(code: Code) -> Dataset:
    """Return the item of a code sequence."""
    item = Dataset()
    item.CodeValue = code.value
    item.CodingSchemeDesignator = code.scheme_designator
    item.CodeMeaning = code.meaning
    return item


def decimal(value: float) -> str:
    """Return the closest Decimal String of at most 16 characters."""
    return str(format_number_as_ds(float(value)))


def date(at: datetime) -> str:
    """Return a DA."""
    return at.strftime("%Y%m%d")


def time(at: datetime) -> str:
    """Return a TM, to the microsecond."""
    return at.strftime("%H%M%S.%f")


def derived_uid(*parts: object) -> str:
    """Return a UID under 2.25 that depends on ``parts`` alone (PS3.5 B.2)."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"


def bed_of(index: int, slices: int, beds: int) -> int:
    """Tell in which of ``beds`` equal parts of the scan a slice was acquired."""
    edges: Sequence[int] = [round(k * slices / beds) for k in range(beds + 1)]
    return next(k for k, (a, b) in enumerate(pairwise(edges)) if a <= index < b)


def _patient(ds: Dataset, study: Study, facts: PatientFacts) -> None:
    ds.PatientName = study.patient_name
    ds.PatientID = study.patient_id
    ds.PatientBirthDate = ""
    ds.PatientSex = facts.sex or ""
    if facts.age_years is not None:
        ds.PatientAge = f"{int(facts.age_years):03d}Y"
    if facts.weight_kg is not None:
        ds.PatientWeight = decimal(facts.weight_kg)
    if facts.height_m is not None:
        ds.PatientSize = decimal(facts.height_m)
