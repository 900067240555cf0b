"""A PET/CT as a folder on disk: the arrays as npz, everything else as JSON."""

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from inference.codec import Malformed, decode, encode, loads
from inference.errors import CaseUnusable
from inference.findings import Reason
from inference.geometry import Grid
from inference.petct import CtFacts, GivenRegion, PatientFacts, PetCt, PetFacts, RegionSource
from inference.volume import Quantity, Region, Volume

SCHEMA = 1
FACTS = "case.json"
ARRAYS = "arrays.npz"


@dataclass(frozen=True, kw_only=True)
class _Given:
    """A given region without its mask, which is the array ``given_0``, ``given_1`` ..."""

    grid: Grid
    source: RegionSource
    name: str
    series_instance_uid: str
    sop_instance_uid: str
    origin: str = ""
    marks_only: bool = False


@dataclass(frozen=True, kw_only=True)
class _Case:
    """A PetCt without its arrays."""

    schema: int
    study_instance_uid: str
    pet_grid: Grid
    ct_grid: Grid
    pet_facts: PetFacts
    ct_facts: CtFacts
    patient: PatientFacts
    given: tuple[_Given, ...] = ()
    warnings: tuple[Reason, ...] = field(default_factory=tuple)


def write(petct: PetCt, folder: Path) -> Path:
    """Write a case to a folder that is new; it appears whole or not at all.

    Nothing is written that a ``PetCt`` does not hold, so neither name nor patient ID.
    """
    if folder.exists():
        raise FileExistsError(f"{folder} is there already")
    facts = _Case(
        schema=SCHEMA,
        study_instance_uid=petct.study_instance_uid,
        pet_grid=petct.pet.grid,
        ct_grid=petct.ct.grid,
        pet_facts=petct.pet_facts,
        ct_facts=petct.ct_facts,
        patient=petct.patient,
        given=tuple(_without_mask(given) for given in petct.given),
        warnings=petct.warnings,
    )
    masks = {f"given_{i}": given.region.mask for i, given in enumerate(petct.given)}
    part = folder.with_name(f".{folder.name}.{uuid4().hex}.part")
    part.mkdir(parents=True)
    try:
        text = json.dumps(encode(facts), indent=1, ensure_ascii=False)
        (part / FACTS).write_text(text + "\n", encoding="utf-8")
        np.savez_compressed(
            part / ARRAYS, pet=petct.pet.voxels, ct=petct.ct.voxels, allow_pickle=False, **masks
        )
        part.rename(folder)
    except OSError:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return folder


def read(folder: Path) -> PetCt:
    """Read a case; ``CaseUnusable`` names the file and what is wrong. Nothing is unpickled."""
    facts = _facts(folder / FACTS)
    names = ["pet", "ct", *(f"given_{i}" for i in range(len(facts.given)))]
    arrays = _arrays(folder / ARRAYS, names)
    try:
        return PetCt(
            study_instance_uid=facts.study_instance_uid,
            pet=_volume(arrays["pet"], facts.pet_grid, Quantity.SUVBW),
            ct=_volume(arrays["ct"], facts.ct_grid, Quantity.HU),
            pet_facts=facts.pet_facts,
            ct_facts=facts.ct_facts,
            patient=facts.patient,
            given=tuple(
                _with_mask(given, arrays[f"given_{i}"]) for i, given in enumerate(facts.given)
            ),
            warnings=facts.warnings,
        )
    except ValueError as error:
        raise CaseUnusable(f"{folder}: {error}") from error


def _facts(path: Path) -> _Case:
    try:
        facts = decode(_Case, loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, Malformed) as error:
        raise CaseUnusable(f"{path}: {error}") from error
    if facts.schema != SCHEMA:
        raise CaseUnusable(f"{path}: schema {facts.schema}, this software reads {SCHEMA}")
    return facts


def _arrays(path: Path, names: list[str]) -> dict[str, NDArray[np.generic]]:
    try:
        # Opened here, because np.load leaves a broken archive open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as held:
            return {name: held[name] for name in names}
    except (OSError, EOFError, KeyError, ValueError, BadZipFile) as error:
        raise CaseUnusable(f"{path}: {error}") from error


def _volume(voxels: NDArray[np.generic], grid: Grid, quantity: Quantity) -> Volume:
    if voxels.dtype != np.float32:
        raise ValueError(f"voxels must be float32, got {voxels.dtype}")
    return Volume(voxels=voxels.astype(np.float32, copy=False), grid=grid, quantity=quantity)


def _without_mask(given: GivenRegion) -> _Given:
    return _Given(
        grid=given.region.grid,
        source=given.source,
        name=given.name,
        series_instance_uid=given.series_instance_uid,
        sop_instance_uid=given.sop_instance_uid,
        origin=given.origin,
        marks_only=given.marks_only,
    )


def _with_mask(given: _Given, mask: NDArray[np.generic]) -> GivenRegion:
    if mask.dtype != np.bool_:
        raise ValueError(f"a mask holds booleans, got {mask.dtype}")
    return GivenRegion(
        region=Region(mask=mask.astype(np.bool_, copy=False), grid=given.grid),
        source=given.source,
        name=given.name,
        series_instance_uid=given.series_instance_uid,
        sop_instance_uid=given.sop_instance_uid,
        origin=given.origin,
        marks_only=given.marks_only,
    )
