"""Every code by which a study is refused or a result is qualified, with its meaning."""

from collections.abc import Mapping
from types import MappingProxyType

from inference.findings import Reason
from node.errors import UnusableStudy

# Codes fit VR SH (16 characters) and meanings VR LO (64), so that both can stand in a report.
REFUSALS: Mapping[str, str] = MappingProxyType(
    {
        "PET_MISSING": "The study holds no PET image series",
        "PET_CLASS": "What is labelled PET is of no PET image class",
        "PATIENT_DIFFERS": "PET and CT name different patients",
        "PET_NO_ATTN_CORR": "The PET is not corrected for attenuation",
        "PET_DYNAMIC": "The PET is dynamic: several times at one place",
        "PET_GATED": "The PET is gated: several phases at one place",
        "PET_DERIVED": "The PET is a projection or a reformatted copy",
        "PET_NOT_AXIAL": "The PET's planes are not axial",
        "TRACER_NOT_FDG": "The tracer is not FDG",
        "TRACER_UNKNOWN": "The tracer is not named and the radionuclide is not F-18",
        "CT_MISSING": "The study holds no axial CT image series",
        "CT_NOT_HU": "The CT does not hold Hounsfield units",
        "CT_NOT_COVERING": "The CT does not cover the PET",
        "FRAME_MISMATCH": "No CT shares the PET's frame of reference",
        "GEOMETRY_ABSENT": "Position, orientation or spacing of planes is absent",
        "SLICES_TOO_FEW": "The series has fewer than two planes",
        "SLICES_MISSING": "Planes are missing from the series",
        "SLICES_DUPLICATE": "Different planes lie at the same position",
        "SLICES_IRREGULAR": "The planes are not evenly spaced",
        "SIZE_IMPLAUSIBLE": "Planes, pixels or spacing make no volume of a patient",
        "SLICES_DIFFER": "The planes differ in size, orientation or spacing",
        "SUV_UNITS": "The PET's units cannot be turned into SUVbw",
        "SUV_NOT_BW": "The PET holds an SUV that is not by body weight",
        "SUV_NO_WEIGHT": "The patient's weight is absent or implausible",
        "SUV_NO_DOSE": "The injected dose is absent or implausible",
        "SUV_NO_TIME": "Injection or scan time is absent or implausible",
        "SUV_DECAY": "The time that the PET is decay-corrected to is unknown",
        "SUV_HALF_LIFE": "The half-life contradicts the radionuclide F-18",
        "SUV_CONTRADICTS": "Headers of the PET contradict each other",
        "SUV_IMPLAUSIBLE": "The PET shows more activity than was injected",
        "HU_IMPLAUSIBLE": "The CT holds values that are no Hounsfield units",
        "PIXELS_BAD": "Pixel data cannot be decoded",
    }
)

WARNINGS: Mapping[str, str] = MappingProxyType(
    {
        "PATIENT_UNSURE": "Patient ID is absent from some of the objects",
        "TRACER_ASSUMED": "The tracer is not named; F-18 is taken for FDG",
        "HALF_LIFE_SET": "The half-life was absent or wrong; 109.77 min was used",
        "UPTAKE_SHORT": "The scan began less than 30 min after injection",
        "UPTAKE_LONG": "The scan began more than 150 min after injection",
        "UPTAKE_UNKNOWN": "The time from injection to scan is unknown",
        "INJECTION_DATE": "Injection date contradicts the scan's; only its time was used",
        "INJECTION_ZONE": "Injection time is of another zone; its date-time was used",
        "DATES_SHIFTED": "Dates of series and acquisition differ; only times were used",
        "DECAY_REFERENCE": "The decay reference differs from the series time",
        "DECAY_UNSURE": "Headers disagree on the decay reference; series time was used",
        "CT_PARTIAL": "The CT does not cover the whole PET",
        "SLICES_RESENT": "Some planes came twice with the same content",
        "SLICES_FEWER": "Fewer planes are here than the series is said to have",
        "PLANES_LEFT": "Objects of the series that are no planes of it were left",
        "PET_LOSSY": "The PET was compressed with loss",
        "CONTOUR_SEVERAL": "Several contours match; the first by rank was taken",
        "CONTOUR_DROPPED": "A part of a contour lies on no plane of its images",
        "CONTOUR_UNTAKEN": "Contours are there, but none is named as a primary tumour",
        "CONTOUR_PATIENT": "An object with contours is of another patient; it was left",
        "CONTOUR_NO_IMAGE": "A contour refers to images that are not in the study",
        "CONTOUR_FRAME": "A contour lies in another frame of reference",
        "CONTOUR_EMPTY": "A contour holds no voxel",
        "CONTOUR_BAD": "An object with contours cannot be read",
        "CONTOUR_CARRIED": "A segment was carried from its own grid to the image's",
        "CONTOUR_OWN": "A contour is an earlier result of this node and was left",
        "CONTOUR_SITE": "A contour is said to lie elsewhere than in the lungs",
        "CONTOUR_NO_SITE": "A contour of an algorithm names no site in the thorax",
        "CONTOUR_NO_SEG": "A report names a Segmentation that is not in the study",
        "CONTOUR_AUTO": "An algorithm drew the contour and no person confirmed it",
        "CONTOUR_PLANAR": "A contour on one plane marks the tumour, not its size",
    }
)


def unusable(code: str, detail: str = "") -> UnusableStudy:
    """Return the refusal of a study by a code of ``REFUSALS``; ``detail`` never names a patient."""
    return UnusableStudy(code, _with(REFUSALS[code], detail))


def warning(code: str, detail: str = "") -> Reason:
    """Return a warning by a code of ``WARNINGS``; ``detail`` never names a patient."""
    return Reason(code=code, meaning=_with(WARNINGS[code], detail))


def _with(meaning: str, detail: str) -> str:
    return f"{meaning}: {detail}" if detail else meaning
