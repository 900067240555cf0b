"""The key image as a Secondary Capture (PS3.3 A.8.1) that cites the images it shows."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from highdicom.base import SOPClass
from highdicom.sr import CodedConcept
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import UID, ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from inference.findings import Findings, Lesion
from inference.geometry import Vector
from inference.petct import PetCt
from node.dicom.capture import Pixels, render, seen_box
from node.dicom.provenance import Provenance, finish
from node.dicom.series import Choice, Plane
from node.instance import ResultKind, ResultObject

SERIES_NUMBER: Final = 9903
_SECTIONS: Final = "CT, PET and fusion in three planes through the hottest point of the lesion"
_SALIENCY: Final = "where the networks looked"
_PROJECTION: Final = "coronal maximum projection of the PET"
_PROJECTIONS: Final = "Axial, coronal and sagittal maximum projections of the PET"


def key_image(
    choice: Choice, petct: PetCt, findings: Findings, *, subject: Dataset, provenance: Provenance
) -> ResultObject:
    """Return the rendered findings as one colour image, in a series of its own."""
    dataset = new_capture(
        SecondaryCaptureImageStorage,
        choice,
        subject,
        provenance,
        series_number=SERIES_NUMBER,
        role="SC",
        series_description="PET/CT analysis key image (research)",
    )
    set_picture(dataset, render(petct, findings))
    lesion = findings.primary or next(iter(findings.lesions), None)
    shown = [*choice.pet.planes] if lesion is None else [*_cut(choice, petct, lesion)]
    set_sources(dataset, shown, derivation=_derivation(findings))
    return finish(dataset, ResultKind.KEY_IMAGE, subject=subject, provenance=provenance)


def new_capture(  # noqa: PLR0913  what one Secondary Capture differs in from another
    sop_class_uid: UID,
    choice: Choice,
    subject: Dataset,
    provenance: Provenance,
    *,
    series_number: int,
    role: str,
    series_description: str,
) -> SOPClass:
    """Return a Secondary Capture without its picture, alone in a series, with UIDs by ``role``."""
    dataset = SOPClass(
        study_instance_uid=choice.study_instance_uid,
        series_instance_uid=provenance.uid(f"series {role}"),
        series_number=series_number,
        sop_instance_uid=provenance.uid(f"instance {role}"),
        sop_class_uid=sop_class_uid,
        instance_number=1,
        modality="OT",
        manufacturer=provenance.equipment.manufacturer,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        series_description=series_description,
    )
    dataset.copy_patient_and_study_information(subject)
    return dataset


def set_picture(dataset: Dataset, pixels: Pixels) -> None:
    """Fill Image Pixel, General Image and SC Equipment for ``(..., rows, columns, 3)`` RGB."""
    dataset.ConversionType = "WSD"
    dataset.BodyPartExamined = "CHEST"  # not paired, so that no Laterality is due (C.7.3.1)
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    dataset.PatientOrientation = ""  # several views on one canvas: none holds for all (C.7.6.1.1.1)
    # Nothing in the pixels tells whose images these are, or of when (C.7.6.1.1.3).
    dataset.BurnedInAnnotation = "NO"
    dataset.LossyImageCompression = "00"
    dataset.SamplesPerPixel = 3
    dataset.PhotometricInterpretation = "RGB"
    dataset.PlanarConfiguration = 0
    dataset.Rows, dataset.Columns = pixels.shape[-3:-1]
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PixelRepresentation = 0
    dataset.PixelData = pixels.tobytes()


def set_sources(dataset: Dataset, shown: Sequence[Plane], *, derivation: str) -> None:
    """Say which images are shown, and what became of them (C.7.6.1, General Image)."""
    dataset.SourceImageSequence = [_cited(plane) for plane in shown]
    dataset.DerivationDescription = derivation


def _derivation(findings: Findings) -> str:
    if not findings.lesions:
        return _PROJECTIONS
    parts = [_SECTIONS, _PROJECTION, *([_SALIENCY] if findings.saliency else [])]
    return f"{', '.join(parts[:-1])} and {parts[-1]}, with outline and numbers"


def _cut(choice: Choice, petct: PetCt, lesion: Lesion) -> Sequence[Plane]:
    """Return the planes of the CT that the sections cut, and the whole PET, which is projected."""
    lowest, highest = seen_box(petct, lesion)
    first, last = _range(petct, lowest, highest)
    return [*choice.ct.planes[first : last + 1], *choice.pet.planes]


def _range(petct: PetCt, lowest: Vector, highest: Vector) -> tuple[int, int]:
    """Return the first and the last plane of the CT that a box in LPS mm meets, one at least."""
    sides = np.array([lowest, highest])
    corners = np.stack(np.meshgrid(*sides.T), axis=-1).reshape(-1, 3)
    along = petct.ct.grid.to_indices(corners)[:, 0]
    last = petct.ct.grid.shape[0] - 1
    first, end = np.clip(np.rint([along.min(), along.max()]), 0, last).astype(int)
    return int(first), int(end)


def _cited(plane: Plane) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = plane.sop_class_uid
    item.ReferencedSOPInstanceUID = plane.sop_instance_uid
    if plane.frame is not None:
        item.ReferencedFrameNumber = plane.frame
    item.PurposeOfReferenceCodeSequence = [
        CodedConcept.from_code(codes.DCM.SourceImageForImageProcessingOperation)
    ]
    return item
