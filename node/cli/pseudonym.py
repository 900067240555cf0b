"""What stands for a patient outside the house: a pseudonym, new UIDs, whole years of age."""

import hashlib
import hmac
import math
import re
from base64 import b32encode
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from inference.findings import Reason
from inference.geometry import Grid
from inference.petct import GivenRegion, PatientFacts, PetCt
from inference.table import rows
from inference.volume import Volume
from node.config import ConfigError
from node.dicom.reasons import WARNINGS

KEY_BYTES_MIN = 32
AGE_MOST_YEARS = 90
"""Older patients are 90: so few live so long that the age itself would name them."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""What a pseudonym is made of: it becomes a folder's name."""


@dataclass(frozen=True, kw_only=True)
class Pseudonyms:
    """Gives every patient one name and every UID another, the same in every run with the same key.

    ``chosen`` names patients by hand; whoever is not among them gets a keyed hash. Without a key
    Patient IDs and UIDs stay as they are: for collections that were de-identified before.
    """

    key: bytes | None = field(repr=False)
    chosen: Mapping[str, str] = field(default_factory=dict, repr=False)

    def of(self, patient_id: str) -> str:
        """Return the pseudonym; ``ConfigError`` where an ID that stays cannot name a folder."""
        known = self.chosen.get(patient_id)
        if known is not None:
            return known
        if self.key is not None:
            return f"p-{b32encode(_keyed(self.key, 'patient', patient_id)[:10]).decode().lower()}"
        if not NAME.fullmatch(patient_id):
            raise ConfigError("a Patient ID that cannot name a folder: give a key")
        return patient_id

    def without_identity(self, petct: PetCt) -> PetCt:
        """Return the case without anything that leads back to the patient or to the PACS.

        UIDs become keyed hashes under 2.25, ages whole years, names of contours ``primary``, and
        warnings lose what they quote. The voxels stay as they are.
        """
        age = petct.patient.age_years
        years = None if age is None else float(min(math.floor(age), AGE_MOST_YEARS))
        return replace(
            petct,
            study_instance_uid=self._uid(petct.study_instance_uid),
            pet=self._volume(petct.pet),
            ct=self._volume(petct.ct),
            pet_facts=replace(
                petct.pet_facts,
                series_instance_uid=self._uid(petct.pet_facts.series_instance_uid),
            ),
            ct_facts=replace(
                petct.ct_facts, series_instance_uid=self._uid(petct.ct_facts.series_instance_uid)
            ),
            patient=PatientFacts(
                age_years=years,
                sex=petct.patient.sex,
                weight_kg=petct.patient.weight_kg,
                height_m=petct.patient.height_m,
            ),
            given=tuple(self._given(one) for one in petct.given),
            warnings=tuple(
                Reason(code=one.code, meaning=WARNINGS.get(one.code, one.code))
                for one in petct.warnings
            ),
        )

    def _given(self, given: GivenRegion) -> GivenRegion:
        region = replace(given.region, grid=self._grid(given.region.grid))
        return replace(
            given,
            region=region,
            name="primary",
            series_instance_uid=self._uid(given.series_instance_uid),
            sop_instance_uid=self._uid(given.sop_instance_uid),
        )

    def _volume(self, volume: Volume) -> Volume:
        return replace(volume, grid=self._grid(volume.grid))

    def _grid(self, grid: Grid) -> Grid:
        return replace(grid, frame_of_reference_uid=self._uid(grid.frame_of_reference_uid))

    def _uid(self, uid: str) -> str:
        if self.key is None or not uid:
            return uid
        return f"2.25.{int.from_bytes(_keyed(self.key, 'uid', uid)[:16], 'big')}"


def pseudonyms(key_file: Path | None, table: Path | None) -> Pseudonyms:
    """Read the key and the table of chosen pseudonyms (columns patient and pseudonym).

    ``ConfigError`` where the key is short, a pseudonym cannot name a folder or is given to two;
    messages name the line and never the patient.
    """
    key = None
    if key_file is not None:
        key = key_file.read_bytes().strip()
        if len(key) < KEY_BYTES_MIN:
            raise ConfigError(f"{key_file}: a key has {KEY_BYTES_MIN} bytes or more: openssl rand")
    return Pseudonyms(key=key, chosen={} if table is None else _chosen(table))


def _chosen(path: Path) -> Mapping[str, str]:
    found: dict[str, str] = {}
    given: set[str] = set()
    for line, row in rows(path):
        place = f"{path.name}:{line}"
        if not {"patient", "pseudonym"} <= set(row):
            raise ConfigError(f"{path.name}:1: the columns are patient and pseudonym")
        patient, name = row["patient"], row["pseudonym"]
        if not NAME.fullmatch(name):
            raise ConfigError(f"{place}: a pseudonym has 1 to 64 of A-Z, a-z, 0-9, _ and -")
        if not patient or patient in found or name in given:
            raise ConfigError(f"{place}: the patient is absent, or one of the two is there twice")
        found[patient] = name
        given.add(name)
    return found


def _keyed(key: bytes, kind: str, value: str) -> bytes:
    return hmac.new(key, f"{kind}\0{value}".encode(), hashlib.sha256).digest()
