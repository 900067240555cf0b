"""Pictures as Secondary Captures (PS3.3 A.8), and back."""

from collections.abc import Sequence
from pathlib import Path

from highdicom.base import SOPClass
from highdicom.sr import CodedConcept
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import UID, ExplicitVRLittleEndian

from node.dicom.capture import Pixels
from node.dicom.encoding import Elements, as_pydicom, image_reference, joined, sequence
from node.dicom.provenance import Provenance
from node.dicom.series import Choice, Plane


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


def sources(shown: Sequence[Plane]) -> Elements:
    """Return which images are shown (C.7.6.1, General Image)."""
    purpose = Dataset()
    purpose.PurposeOfReferenceCodeSequence = [
        CodedConcept.from_code(codes.DCM.SourceImageForImageProcessingOperation)
    ]
    encoded = as_pydicom(purpose)
    items = [joined(image_reference(plane) | encoded) for plane in shown]
    return sequence("SourceImageSequence", items)


def save_png(instance: Path, png: Path) -> None:
    """Write the (single, 8-bit) frame of a Secondary Capture as PNG."""
    Image.fromarray(dcmread(instance).pixel_array).save(png)
