"""The PET turning round its long axis as a Multi-frame True Color Secondary Capture (A.8.5)."""

from typing import Final

from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import MultiFrameTrueColorSecondaryCaptureImageStorage

from inference.findings import Findings
from inference.petct import PetCt
from node.dicom.capture import SUV_TOP, rotate
from node.dicom.provenance import Provenance, finish
from node.dicom.secondary_capture import new_capture, set_picture, sources
from node.dicom.series import Choice
from node.instance import ResultKind, ResultObject

SERIES_NUMBER: Final = 9900
_FRAME_TIME_MS: Final = 125
_LOOPING: Final = 0
_DERIVATION: Final = (
    "Maximum projections of the PET around the patient's long axis, {step:g} degrees apart, "
    "SUVbw 0 (white) to {top:g} g/ml (black), lesions outlined"
)


def rotating_mip(
    choice: Choice, petct: PetCt, findings: Findings, *, subject: Dataset, provenance: Provenance
) -> ResultObject:
    """Return the projections as the frames of one image that viewers play, in its own series."""
    dataset = new_capture(
        MultiFrameTrueColorSecondaryCaptureImageStorage,
        choice,
        subject,
        provenance,
        series_number=SERIES_NUMBER,
        role="rotating MIP",
        series_description="PET/CT analysis rotating MIP (research)",
    )
    frames = rotate(petct, findings)
    set_picture(dataset, frames)
    _set_cine(dataset, len(frames))
    dataset.DerivationDescription = _DERIVATION.format(step=360 / len(frames), top=SUV_TOP)
    return finish(
        dataset,
        ResultKind.ROTATING_MIP,
        subject=subject,
        provenance=provenance,
        among=sources(choice.pet.planes),
    )


def _set_cine(dataset: Dataset, frames: int) -> None:
    """Fill Multi-frame and Cine (C.7.6.6, C.7.6.5): frames in time, played round and round."""
    dataset.NumberOfFrames = frames
    dataset.FrameIncrementPointer = Tag("FrameTime")
    dataset.FrameTime = _FRAME_TIME_MS
    dataset.PreferredPlaybackSequencing = _LOOPING
    dataset.RecommendedDisplayFrameRate = dataset.CineRate = round(1000 / _FRAME_TIME_MS)
