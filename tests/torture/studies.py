"""Small studies without end: each a drawn thorax PET/CT with UIDs of its own."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from threading import Lock

from pydicom import dcmread

from inference.phantom import draw, random_phantom
from inference.scanner import SCANNERS, Scanner
from node.dicom import acquire
from tests.bench.study import SEED, STARTED_AT, renamed

SMALL = replace(
    SCANNERS["small"],
    ct_shape=(42, 96, 96),
    ct_spacing=(9.0, 4.4, 4.4),
    pet_shape=(42, 64, 64),
    pet_spacing=(9.0, 6.9, 6.9),
)
"""The coarsest that still yields a report, a Segmentation and a key image; analysed in a second."""


@dataclass(frozen=True, kw_only=True)
class Study:
    """The files of one study, by SOP Instance UID, in the order in which they are sent."""

    study_instance_uid: str
    files: Mapping[str, Path]


class Studies:
    """Draws one study and writes as many copies as are asked for; safe from many threads."""

    def __init__(self, folder: Path, scanner: Scanner = SMALL) -> None:
        self._folder = folder
        self._petct = draw(random_phantom(SEED), scanner)
        self._numbers = count()
        self._lock = Lock()

    def another(self) -> Study:
        """Write a study that nobody has seen: the CT, then the PET."""
        with self._lock:
            number = next(self._numbers)
            petct = renamed(self._petct, number)
            files = acquire.write(
                petct,
                self._folder / f"{number:05d}",
                habit=acquire.Habit.SIEMENS,
                study=acquire.Study.of_phantom(SEED, STARTED_AT),
            )
        return Study(
            study_instance_uid=petct.study_instance_uid,
            files={_sop_instance_uid(file): file for file in files},
        )


def _sop_instance_uid(file: Path) -> str:
    return str(dcmread(file, specific_tags=["SOPInstanceUID"]).SOPInstanceUID)
