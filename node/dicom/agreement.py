"""Whether the headers of one PET agree on what its SUV depends on."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from pydicom.dataset import Dataset

from inference.findings import Reason
from node.dicom import clock
from node.dicom.attributes import Attributes, items, number, shared, text, texts
from node.dicom.reasons import unusable, warning

CLOCKS_AGREE_S = 60.0
"""Some write the time of injection to the minute beside a date-time to the second."""
_DAY_S = timedelta(days=1).total_seconds()
_TEXTS: Final = ("Units", "SUVType", "DecayCorrection", "DecayCorrected")
_OF_INJECTION: Final = ("RadiopharmaceuticalStartTime", "RadiopharmaceuticalStartDateTime")
_AMOUNTS: Final = ("RadionuclideTotalDose", "RadionuclideHalfLife")


def refuse_contradictions(headers: Sequence[Attributes]) -> None:
    """Refuse a series whose planes differ in what is one for a patient, an injection and a scan.

    An attribute that some planes lack differs as well. More than one item of the
    Radiopharmaceutical Information Sequence is more than one injection.
    """
    if any(shared(header, _injections) > 1 for header in headers):
        raise unusable("SUV_CONTRADICTS", "several radiopharmaceuticals")
    stated = [shared(header, _stated) for header in headers]
    for keyword, expected in stated[0].items():
        if any(other is not stated[0] and other[keyword] != expected for other in stated):
            raise unusable("SUV_CONTRADICTS", f"{keyword} differs between planes")


def refuse_uncorrected(headers: Sequence[Attributes], correction: str) -> None:
    """Refuse a decay correction that Corrected Image, where it is there, does not list."""
    listed = {name.upper() for header in headers for name in shared(header, _corrected)}
    if correction in {"START", "ADMIN"} and listed and "DECY" not in listed:
        raise unusable("SUV_CONTRADICTS", f"Decay Correction is {correction}, but not listed")


def injection_zone(header: Attributes) -> tuple[Reason, ...]:
    """Refuse two times of injection that differ; a warning where their zones explain it.

    They explain it where the date-time names its own offset from UTC, the instance names another,
    and the time is the date-time's as it is written.
    """
    for item in items(header, "RadiopharmaceuticalInformationSequence"):
        written = text(item, "RadiopharmaceuticalStartDateTime")
        off_s = _apart_s(item, written, zone=text(header, "TimezoneOffsetFromUTC"))
        if off_s <= CLOCKS_AGREE_S:
            continue
        if _apart_s(item, written, zone="") > CLOCKS_AGREE_S:
            detail = f"two times of injection, {off_s / 60:.0f} min apart"
            raise unusable("SUV_CONTRADICTS", detail)
        return (warning("INJECTION_ZONE", f"by {off_s / 60:.0f} min"),)
    return ()


def _apart_s(item: Attributes, written: str, *, zone: str) -> float:
    """Return by how much date-time and time of injection differ in the time of day."""
    moment = clock.parse_datetime(written, zone=zone)
    time = clock.parse_time(text(item, "RadiopharmaceuticalStartTime"))
    if moment is None or time is None:
        return 0.0
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    off_s = (moment - midnight - time).total_seconds() % _DAY_S
    return min(off_s, _DAY_S - off_s)


def _injections(header: Attributes) -> int:
    return len(items(header, "RadiopharmaceuticalInformationSequence"))


def _corrected(header: Attributes) -> tuple[str, ...]:
    return texts(header, "CorrectedImage")


def _stated(header: Attributes) -> dict[str, str | float | None]:
    stated: dict[str, str | float | None] = {k: text(header, k).upper() for k in _TEXTS}
    stated["PatientWeight"] = number(header, "PatientWeight")
    for item in items(header, "RadiopharmaceuticalInformationSequence") or (Dataset(),):
        stated |= {keyword: text(item, keyword) for keyword in _OF_INJECTION}
        stated |= {keyword: number(item, keyword) for keyword in _AMOUNTS}
    return stated
