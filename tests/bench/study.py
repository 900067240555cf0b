"""The study that everything is measured with: a drawn thorax PET/CT, and copies with new UIDs."""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import mkdtemp

from inference.petct import PetCt
from inference.phantom import SCANNERS, draw, random_phantom
from inference.volume import Volume
from node.dicom import acquire

SEED = 3
SCANNER = "classic"
STARTED_AT = datetime(2026, 1, 2, 10, 15, tzinfo=UTC)
PARTS = 16
"""As many as there are senders at most."""


def drawn() -> PetCt:
    """118 CT images of 512 x 512 and 118 PET images of 128 x 128."""
    return draw(random_phantom(SEED), SCANNERS[SCANNER])


def write(petct: PetCt, folder: Path) -> tuple[Path, ...]:
    """Write the study as a scanner sends it, explicit little endian."""
    return acquire.write(
        petct,
        folder,
        habit=acquire.Habit.SIEMENS,
        study=acquire.Study.of_phantom(SEED, STARTED_AT),
    )


def describe(petct: PetCt) -> str:
    """Say what the study is made of."""
    ct, pet = petct.ct.grid.shape, petct.pet.grid.shape
    return (
        f"{ct[0]} CT images of {ct[1]} x {ct[2]} and {pet[0]} PET images of {pet[1]} x {pet[2]}, "
        "16 bit, explicit little endian"
    )


def room(folder: Path, prefix: str) -> Path:
    """Make an empty folder, which stays until the whole bench ends.

    For five minutes ext4 gives no inode again that was freed: who makes files after somebody has
    deleted some pays for looking at each of them.
    """
    return Path(mkdtemp(dir=folder, prefix=prefix))


def copy_in_parts(petct: PetCt, folder: Path, number: int, *, slices: int) -> tuple[Path, ...]:
    """Write the first slices of both series, dealt into ``PARTS`` folders.

    ``number`` makes the UIDs: a receiver that knows an instance already would have less to do.
    """
    here = room(folder, "study-")
    files = write(renamed(_cut(petct, slices), number), here)
    parts = tuple(here / f"part{part}" for part in range(PARTS))
    for part in parts:
        part.mkdir()
    for index, file in enumerate(files):
        file.rename(parts[index % PARTS] / file.name)
    return parts


def _cut(petct: PetCt, slices: int) -> PetCt:
    return replace(petct, ct=_first(petct.ct, slices), pet=_first(petct.pet, slices))


def _first(volume: Volume, slices: int) -> Volume:
    _, rows, columns = volume.grid.shape
    grid = volume.grid.crop((0, 0, 0), (slices, rows, columns))
    return replace(volume, voxels=volume.voxels[:slices], grid=grid)


def renamed(petct: PetCt, number: int) -> PetCt:
    """Return the study with UIDs of its own."""
    return replace(
        petct,
        study_instance_uid=_uid(petct.study_instance_uid, number),
        ct_facts=replace(
            petct.ct_facts,
            series_instance_uid=_uid(petct.ct_facts.series_instance_uid, number),
        ),
        pet_facts=replace(
            petct.pet_facts,
            series_instance_uid=_uid(petct.pet_facts.series_instance_uid, number),
        ),
    )


def _uid(uid: str, number: int) -> str:
    digest = hashlib.sha256(f"{uid} {number}".encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"
