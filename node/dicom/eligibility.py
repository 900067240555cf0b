"""Whether a series is an attenuation-corrected FDG PET, or a CT in Hounsfield units."""

import re
from collections.abc import Callable, Sequence

from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    EnhancedPETImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
    LegacyConvertedEnhancedPETImageStorage,
    PositronEmissionTomographyImageStorage,
)

from inference.findings import Reason
from node.dicom.attributes import Attributes, number, shared, text, texts, value
from node.dicom.reasons import REFUSALS
from node.dicom.scan import ScannedPlane
from node.dicom.tracer import Tracer, tracer_of

PET_SOP_CLASSES = frozenset(
    {
        PositronEmissionTomographyImageStorage,
        LegacyConvertedEnhancedPETImageStorage,
        EnhancedPETImageStorage,
    }
)
CT_SOP_CLASSES = frozenset(
    {CTImageStorage, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage}
)
# Values of Image Type and Frame Type of copies that were projected or cut anew.
_REFORMATTED = frozenset(
    {
        "MIP",
        "MAXIP",
        "MAX_IP",
        "MINIP",
        "MIN_IP",
        "MPR",
        "CSA MPR",
        "CURVED_MPR",
        "PROJECTION",
        "PROJECTION IMAGE",
        "REPROJECTION",
        "REFORMATTED",
        "CORONAL",
        "SAGITTAL",
        "FUSION",
        "SCREEN SAVE",
        "VOLREN",
    }
)
# Units of images that are proportional to counts and to nothing else (PS3.3 C.8.9.1.1.3).
_UNCALIBRATED = frozenset({"PROPCNTS", "PROPCPS", "PCNT"})
_SHARP_NUMBER = 60
"""Siemens' kernels from here on are for lung and bone."""
_SHARP = re.compile(r"lung|bone|edge|sharp|detail|^y[a-e]$|^[de]$|^fc(?:3|5|8)\d", re.IGNORECASE)
_SIEMENS = re.compile(r"^[a-z]{1,2}(\d{2})", re.IGNORECASE)

Rule = Callable[[Attributes], str | None]


def is_localizer(header: Attributes) -> bool:
    """Tell whether a plane is a localizer, which some devices file with the axial planes."""
    kinds = image_kinds(header)
    return "LOCALIZER" in kinds or "SCOUT" in kinds


def image_kinds(header: Attributes) -> frozenset[str]:
    """Return the values of Image Type and Frame Type."""
    return shared(header, _image_kinds)


def _image_kinds(header: Attributes) -> frozenset[str]:
    return frozenset(
        kind.upper() for keyword in ("ImageType", "FrameType") for kind in texts(header, keyword)
    )


def as_acquired(planes: Sequence[ScannedPlane]) -> tuple[ScannedPlane, ...]:
    """Return the planes without projections, reformatted and secondary copies filed with them.

    Where there is nothing else, all are returned.
    """
    kinds = [(plane, image_kinds(plane.header)) for plane in planes]
    plain = [(plane, its) for plane, its in kinds if not its & _REFORMATTED] or kinds
    primary = [(plane, its) for plane, its in plain if "SECONDARY" not in its]
    return tuple(plane for plane, _ in primary or plain)


def is_derived(header: Attributes) -> bool:
    """Tell whether pixels were computed from other images, which alone refuses nothing."""
    return text(header, "ImageType").upper() == "DERIVED"


def is_sharp(kernel: str) -> bool:
    """Tell whether a convolution kernel is for lung or bone."""
    siemens = _SIEMENS.match(kernel.strip())
    if siemens:
        return int(siemens.group(1)) >= _SHARP_NUMBER or _SHARP.search(kernel) is not None
    return _SHARP.search(kernel.strip()) is not None


def why_not_pet(header: Attributes) -> Reason | None:
    """Return why a series of a PET SOP class is no attenuation-corrected FDG PET, or None."""
    return _first(header, (_dynamic, _gated, _reformatted_pet, _tracer, _attenuation))


def why_not_ct(header: Attributes) -> Reason | None:
    """Return why a series of a CT SOP class is no CT of axial planes in HU, or None."""
    return _first(header, (_reformatted_ct, _not_hounsfield))


def _first(header: Attributes, rules: Sequence[Rule]) -> Reason | None:
    for rule in rules:
        refused = rule(header)
        if refused is not None:
            return Reason(code=refused, meaning=REFUSALS[refused])
    return None


def _dynamic(header: Attributes) -> str | None:
    # Number of Time Slices tells where Series Type is silent: static series may count beds in it.
    times = number(header, "NumberOfTimeSlices") or 1
    kind = _series_type(header)
    return "PET_DYNAMIC" if "DYNAMIC" in kind or (not kind and times > 1) else None


def _gated(header: Attributes) -> str | None:
    return "PET_GATED" if "GATED" in _series_type(header) else None


def _series_type(header: Attributes) -> tuple[str, ...]:
    return tuple(kind.upper() for kind in texts(header, "SeriesType"))


def _reformatted_pet(header: Attributes) -> str | None:
    projected = "REPROJECTION" in _series_type(header)
    return "PET_DERIVED" if projected or image_kinds(header) & _REFORMATTED else None


def _tracer(header: Attributes) -> str | None:
    refused = {Tracer.OTHER: "TRACER_NOT_FDG", Tracer.UNNAMED: "TRACER_UNKNOWN"}
    return refused.get(tracer_of(header))


def _attenuation(header: Attributes) -> str | None:
    """Refuse where ATTN is not listed, or is listed and contradicted by what goes with it."""
    enhanced = text(header, "AttenuationCorrected").upper()
    if enhanced:
        return None if enhanced == "YES" else "PET_NO_ATTN_CORR"
    listed = {name.upper() for name in texts(header, "CorrectedImage")}
    method = text(header, "AttenuationCorrectionMethod").upper()
    corrected = (
        "ATTN" in listed
        and method != "NONE"
        and (bool(method) or "SCAT" in listed)
        and text(header, "Units").upper() not in _UNCALIBRATED
    )
    return None if corrected else "PET_NO_ATTN_CORR"


def _reformatted_ct(header: Attributes) -> str | None:
    return "CT_MISSING" if image_kinds(header) & _REFORMATTED else None


def _not_hounsfield(header: Attributes) -> str | None:
    rescaled = value(header, "RescaleIntercept") is not None
    unit = text(header, "RescaleType").upper()
    return None if rescaled and unit in {"", "HU", "HU_MOD"} else "CT_NOT_HU"
