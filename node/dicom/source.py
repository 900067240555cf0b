"""What a result takes over from its source images: patient and study, made valid."""

import re
import unicodedata
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence as DicomSequence

from node.dicom.attributes import UNREADABLE
from node.dicom.reading import read_headers
from node.dicom.series import ImageSeries


def _plain(value: object) -> str:
    """Return text without control characters; several values are joined by a blank."""
    parts = value if isinstance(value, (list, tuple, MultiValue)) else [value]
    text = " ".join("" if part is None else str(part) for part in parts).replace("\\", " ")
    return "".join(c for c in text if unicodedata.category(c) != "Cc").strip()


def _at_most(length: int) -> Callable[[object], str]:
    return lambda value: _plain(value)[:length].rstrip()


def _matching(pattern: str) -> Callable[[object], str]:
    compiled = re.compile(pattern)
    return lambda value: text if compiled.fullmatch(text := _plain(value)) else ""


_date: Final = _matching(r"(18|19|20|21)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])")
_time: Final = _matching(r"([01]\d|2[0-3])([0-5]\d([0-5]\d(\.\d{1,6})?)?)?")
_decimal: Final = _matching(r"(?=.{1,16}$)[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")

# Identifiers are kept even where they are too long: a shortened one would be another patient.
_PATIENT: Final[dict[str, Callable[[object], str]]] = {
    "PatientName": _plain,
    "PatientID": _plain,
    "IssuerOfPatientID": _at_most(64),
    "PatientBirthDate": _date,
    "PatientSex": _matching("[MFO]"),
    "PatientIdentityRemoved": _matching("YES|NO"),
    "DeidentificationMethod": _at_most(64),
    "StudyDate": _date,
    "StudyTime": _time,
    "AccessionNumber": _plain,
    "StudyID": _at_most(16),
    "ReferringPhysicianName": _plain,
    "StudyDescription": _at_most(64),
    "PatientAge": _matching(r"\d{3}[DWMY]"),
    "PatientSize": _decimal,
    "PatientWeight": _decimal,
    "TimezoneOffsetFromUTC": _matching(r"[+-](0\d|1[0-4])[0-5]\d"),
}
_EQUIPMENT: Final[dict[str, Callable[[object], str]]] = {
    "Manufacturer": _at_most(64),
    "ManufacturerModelName": _at_most(64),
    "DeviceSerialNumber": _at_most(64),
    "SoftwareVersions": _at_most(64),
    "StationName": _at_most(16),
    "InstitutionName": _at_most(64),
}
_TYPE_2: Final = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "StudyID",
    "ReferringPhysicianName",
)
_IDENTITY: Final = (
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "Modality",
)


@contextmanager
def tolerant() -> Iterator[None]:
    """Silence pydicom about values that break their VR: they are read, judged and written as told.

    A patient's identifiers are passed on as they came, even where they are too long.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def read_header(path: Path) -> Dataset | None:
    """Return the cleaned header of one file, or None where it is no DICOM instance."""
    keywords = [*_IDENTITY, *_PATIENT, *_EQUIPMENT]
    try:
        with tolerant():
            return _cleaned(read_headers(path, keywords))
    except UNREADABLE:
        return None


def subject(headers: Iterable[Dataset]) -> Dataset:
    """Return one header with what the others know of patient and study where it is blank.

    Every attribute of Type 2 is there, empty where nobody knows it.
    """
    first, *others = headers
    merged = deepcopy(first)
    for other in others:
        if other.get("PatientID", "") not in {"", merged.get("PatientID", "")}:
            continue
        for keyword in _PATIENT:
            if not merged.get(keyword) and other.get(keyword):
                setattr(merged, keyword, other.get(keyword))
    for keyword in _TYPE_2:
        if keyword not in merged:
            setattr(merged, keyword, "")
    if merged.get("PatientIdentityRemoved") == "YES" and not merged.get("DeidentificationMethod"):
        # Type 1C, and absent from the source (PS3.3 C.7.1.1).
        merged.DeidentificationMethod = "Not stated by the source images"
    return merged


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """One instance of a study, as evidence cites it."""

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str

    @classmethod
    def of(cls, header: Dataset) -> "Reference":
        """Return the reference to the instance that a header is of."""
        return cls(
            sop_class_uid=str(header.SOPClassUID),
            sop_instance_uid=str(header.SOPInstanceUID),
            series_instance_uid=str(header.SeriesInstanceUID),
        )


def references(series: ImageSeries) -> list[Reference]:
    """Return a reference to each instance of the series."""
    instances = {plane.sop_instance_uid: plane.sop_class_uid for plane in series.planes}
    return [
        Reference(
            sop_class_uid=sop_class_uid,
            sop_instance_uid=sop_instance_uid,
            series_instance_uid=series.series_instance_uid,
        )
        for sop_instance_uid, sop_class_uid in instances.items()
    ]


def reference(
    *,
    sop_class_uid: str,
    sop_instance_uid: str,
    series_instance_uid: str,
    study_instance_uid: str,
) -> Dataset:
    """Return a dataset that identifies one instance."""
    dataset = Dataset()
    dataset.SOPClassUID = sop_class_uid
    dataset.SOPInstanceUID = sop_instance_uid
    dataset.SeriesInstanceUID = series_instance_uid
    dataset.StudyInstanceUID = study_instance_uid
    return dataset


def subject_of(series: Sequence[ImageSeries]) -> Dataset:
    """Return the subject that the first readable file of each series tells; all blank if none.

    The study's and the first series' identity come from ``series``, not from the files.
    """
    headers = (read_header(one.paths[0]) for one in series)
    told = subject([header for header in headers if header is not None] or [Dataset()])
    first = series[0].planes[0]
    identity = reference(
        sop_class_uid=first.sop_class_uid,
        sop_instance_uid=first.sop_instance_uid,
        series_instance_uid=series[0].series_instance_uid,
        study_instance_uid=series[0].study_instance_uid,
    )
    told.update(identity)
    told.Modality = series[0].modality
    return told


def _cleaned(raw: Dataset) -> Dataset:
    """Return the attributes that we take over, decoded to Unicode, with invalid values left out."""
    header = Dataset()
    for keyword in _IDENTITY:
        if keyword not in raw:
            raise KeyError(keyword)
        setattr(header, keyword, _plain(_value(raw, keyword)))
    for keyword, clean in {**_PATIENT, **_EQUIPMENT}.items():
        value = clean(_value(raw, keyword))
        if value:
            setattr(header, keyword, value)
    return header


def _value(raw: Dataset, keyword: str) -> object:
    try:
        value = raw.get(keyword)
    except UNREADABLE:
        return None
    return None if isinstance(value, DicomSequence) else value
