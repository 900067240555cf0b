"""The key image as a Secondary Capture (PS3.3 A.8.1) that cites the images it shows."""

from typing import Final

from highdicom.base import SOPClass
from highdicom.sr import CodedConcept
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from inference.findings import Findings
from inference.petct import PetCt
from node.dicom.capture import Pixels, render
from node.dicom.provenance import Provenance, finish
from node.dicom.series import Choice, ImageSeries, Plane
from node.instance import ResultKind, ResultObject

SERIES_NUMBER: Final = 9903


def key_image(
    choice: Choice, petct: PetCt, findings: Findings, *, subject: Dataset, provenance: Provenance
) -> ResultObject:
    """Return the rendered findings as one colour image, in a series of its own."""
    dataset = SOPClass(
        study_instance_uid=choice.study_instance_uid,
        series_instance_uid=provenance.uid("series SC"),
        series_number=SERIES_NUMBER,
        sop_instance_uid=provenance.uid("instance SC"),
        sop_class_uid=SecondaryCaptureImageStorage,
        instance_number=1,
        modality="OT",
        manufacturer=provenance.equipment.manufacturer,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        series_description="PET/CT analysis key image (research)",
    )
    dataset.copy_patient_and_study_information(subject)
    _set_image(dataset, render(petct, findings))
    dataset.SourceImageSequence = [_cited(plane) for plane in _shown(choice, petct, findings)]
    dataset.DerivationDescription = "Fused plane and maximum projection, with outline and numbers"
    return finish(dataset, ResultKind.KEY_IMAGE, subject=subject, provenance=provenance)


def _set_image(dataset: Dataset, pixels: Pixels) -> None:
    """Fill the Image Pixel, General Image and SC Equipment modules."""
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
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PixelRepresentation = 0
    dataset.PixelData = pixels.tobytes()


def _shown(choice: Choice, petct: PetCt, findings: Findings) -> list[Plane]:
    """Return the CT plane that is shown, if one is, and the whole PET, which is projected."""
    lesion = findings.primary or next(iter(findings.lesions), None)
    if lesion is None:
        return list(choice.pet.planes)
    index = round(float(petct.ct.grid.to_indices(lesion.suv_max_lps_mm)[0]))
    return [_nearest(choice.ct, index), *choice.pet.planes]


def _nearest(series: ImageSeries, index: int) -> Plane:
    return series.planes[min(max(index, 0), len(series.planes) - 1)]


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
