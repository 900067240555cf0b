"""What the source images say, with which every result must agree."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from pydicom.dataset import Dataset
from pydicom.uid import UID

from inference.geometry import Grid
from inference.petct import PetCt
from node.dicom import source
from node.dicom.series import Choice, ImageSeries, Plane
from node.errors import UnusableStudy


@dataclass(frozen=True, kw_only=True)
class SourceSeries:
    """One analysed series: its planes by instance and frame, and the lattice they make."""

    series: ImageSeries
    grid: Grid
    planes: Mapping[tuple[str, int | None], Plane]
    classes: Mapping[str, str]
    """SOP Class UID by SOP Instance UID."""

    @classmethod
    def of(cls, series: ImageSeries, grid: Grid) -> Self:
        """Index the planes of a series."""
        return cls(
            series=series,
            grid=grid,
            planes={(plane.sop_instance_uid, plane.frame): plane for plane in series.planes},
            classes={plane.sop_instance_uid: plane.sop_class_uid for plane in series.planes},
        )


@dataclass(frozen=True, kw_only=True)
class Source:
    """Patient, study and images that results are about."""

    subject: Dataset
    """What the images tell of patient and study, as ``source.subject`` has it."""
    series: Mapping[str, SourceSeries] = field(default_factory=dict)
    """The analysed series by UID; empty where the study was refused."""
    sop_instance_uids: frozenset[str] = frozenset()
    """Every instance of the study; empty where the study was refused."""

    @classmethod
    def of(cls, choice: Choice, petct: PetCt) -> Self:
        """Return what an analysed study's results must agree with."""
        grids = ((choice.ct, petct.ct.grid), (choice.pet, petct.pet.grid))
        planes = {p.sop_instance_uid for one, _ in grids for p in one.planes}
        documents = {one.sop_instance_uid for one in choice.documents}
        return cls(
            subject=source.subject_of((choice.ct, choice.pet)),
            series={one.series_instance_uid: SourceSeries.of(one, grid) for one, grid in grids},
            sop_instance_uids=choice.sop_instance_uids | planes | documents,
        )

    @classmethod
    def of_files(cls, paths: Sequence[Path]) -> Self:
        """Return what the report on a refused study must agree with: its first image's header.

        Raises UnusableStudy where there is no image.
        """
        for path in paths:
            header = source.read_header(path)
            if header is not None and UID(header.SOPClassUID).name.endswith("Image Storage"):
                return cls(subject=source.subject([header]))
        raise UnusableStudy("NO_IMAGES", "no readable image to compare a report with")

    @property
    def study_instance_uid(self) -> str:
        """The study of the images."""
        return str(self.subject.StudyInstanceUID)

    @property
    def classes(self) -> dict[str, str]:
        """The SOP Class UID of every image of the analysed series by its SOP Instance UID."""
        return {uid: of for one in self.series.values() for uid, of in one.classes.items()}
