"""The headers of a study's files, sorted into series and planes."""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

from pydicom.dataset import Dataset

from node.dicom.attributes import UNREADABLE, Attributes, frame_headers, shared, text
from node.dicom.elements import Layouts, find
from node.dicom.file_header import FileHeader, Memo, only
from node.dicom.geometry import PlaneGeometry, plane_geometry
from node.dicom.headers import is_uid
from node.dicom.reading import read_headers
from node.errors import NotUnderstood

# What is needed to choose series; all else, and every private element, is passed over unread.
_TAGS = [
    "SpecificCharacterSet",
    "ImageType",
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesDate",
    "AcquisitionDate",
    "StudyDate",
    "SeriesTime",
    "Modality",
    "PatientID",
    "IssuerOfPatientID",
    "StudyDescription",
    "SeriesDescription",
    "Radiopharmaceutical",
    "ProtocolName",
    "ConvolutionKernel",
    "AttenuationCorrected",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "FrameOfReferenceUID",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "PixelSpacing",
    "CorrectedImage",
    "RescaleIntercept",
    "RescaleType",
    "RadiopharmaceuticalInformationSequence",
    "NumberOfSlices",
    "NumberOfTimeSlices",
    "SeriesType",
    "Units",
    "AttenuationCorrectionMethod",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
]
_ONLY = only(_TAGS)
_FUNCTIONAL_GROUPS = frozenset({0x52009229, 0x52009230})


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ScannedPlane:
    """One plane and its headers; ``geometry`` is None where it is no plane in the patient."""

    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    frame: int | None
    header: Attributes
    geometry: PlaneGeometry | None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ScannedSeries:
    """One series as it was found: at least one plane, in no order."""

    study_instance_uid: str
    series_instance_uid: str
    modality: str
    planes: tuple[ScannedPlane, ...]

    @property
    def header(self) -> Attributes:
        """The headers of any one plane, for what the whole series shares."""
        return self.planes[0].header

    @property
    def sop_classes(self) -> frozenset[str]:
        """The SOP classes of the series' instances."""
        return frozenset(plane.sop_class_uid for plane in self.planes)


def read(path: Path, memo: Memo, met: Layouts | None = None) -> FileHeader | Dataset:
    """Read a file's headers; raise NotUnderstood where the file is not DICOM.

    They come as a FileHeader where that is certain to tell what pydicom would; of an instance with
    functional groups, and of all else, as a data set.
    """
    elements = find(path, met)
    if elements is not None and elements.layout.by_tag.keys().isdisjoint(_FUNCTIONAL_GROUPS):
        return FileHeader(elements=elements, tags=_ONLY, memo=memo)
    try:
        return read_headers(path, _TAGS)
    except UNREADABLE as error:
        raise NotUnderstood(f"cannot read the file: {type(error).__name__}") from error


def scan(paths: Sequence[Path]) -> tuple[ScannedSeries, ...]:
    """Sort files into series, in the order of their UIDs; what is no DICOM is left out."""
    found: dict[tuple[str, str], list[ScannedPlane]] = {}
    modalities: dict[tuple[str, str], str] = {}
    memo: Memo = {}
    met = Layouts()
    for path in sorted(set(paths), key=attrgetter("parts")):
        try:
            header = read(path, memo, met)
        except NotUnderstood:
            continue
        key, modality = shared(header, _series)
        uid = text(header, "SOPInstanceUID")
        if key is None or not is_uid(uid):
            continue
        modalities.setdefault(key, modality)
        found.setdefault(key, []).extend(_planes(path, uid, header))
    return tuple(
        ScannedSeries(
            study_instance_uid=key[0],
            series_instance_uid=key[1],
            modality=modalities[key],
            planes=tuple(found[key]),
        )
        for key in sorted(found)
    )


def _series(header: Attributes) -> tuple[tuple[str, str] | None, str]:
    """Return the UIDs of the study and the series, or None, and the modality."""
    key = text(header, "StudyInstanceUID"), text(header, "SeriesInstanceUID")
    return key if all(map(is_uid, key)) else None, text(header, "Modality").upper()


def _planes(path: Path, uid: str, header: FileHeader | Dataset) -> list[ScannedPlane]:
    sop_class_uid = shared(header, _sop_class_uid)
    frames: Sequence[Attributes]
    frames = [header] if isinstance(header, FileHeader) else frame_headers(header)
    multi_frame = len(frames) > 1 or (
        isinstance(header, Dataset) and "PerFrameFunctionalGroupsSequence" in header
    )
    return [
        ScannedPlane(
            path=path,
            sop_class_uid=sop_class_uid,
            sop_instance_uid=uid,
            frame=number if multi_frame else None,
            header=frame,
            geometry=plane_geometry(frame),
        )
        for number, frame in enumerate(frames, start=1)
    ]


def _sop_class_uid(header: Attributes) -> str:
    return text(header, "SOPClassUID")
