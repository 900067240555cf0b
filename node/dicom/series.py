"""A study on disk as values: which series there are, and which PET and CT belong together."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from inference.findings import Reason
from inference.geometry import Vector


@dataclass(frozen=True, kw_only=True, slots=True)
class Plane:
    """One image plane: a single-frame instance, or one frame of a multi-frame instance."""

    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    frame: int | None
    """Frame number from 1 in a multi-frame instance, else None."""
    position: Vector
    """Image Position (Patient): centre of the first voxel, LPS mm."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageSeries:
    """The planes of one image series, sorted along the normal (slice 0 first)."""

    study_instance_uid: str
    series_instance_uid: str
    modality: str
    frame_of_reference_uid: str
    description: str
    planes: tuple[Plane, ...]

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files, each once, in the order of the planes."""
        return tuple(dict.fromkeys(plane.path for plane in self.planes))


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """A non-image instance that may hold regions: RT Structure Set, Segmentation or SR."""

    path: Path
    modality: str
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """The PET and the CT that are analysed together, and what may hold a contour."""

    study_instance_uid: str
    pet: ImageSeries
    ct: ImageSeries
    documents: tuple[Document, ...]
    explanation: tuple[str, ...]
    """One sentence for each series of the study: why it was taken or left."""
    warnings: tuple[Reason, ...] = ()


def studies(paths: Sequence[Path]) -> dict[str, tuple[Path, ...]]:
    """Sort readable DICOM files by Study Instance UID; files that are not DICOM are left out."""
    raise NotImplementedError


def choose(paths: Sequence[Path]) -> Choice:
    """Choose the PET and the CT of one study by the stated rules, or raise UnusableStudy."""
    raise NotImplementedError
