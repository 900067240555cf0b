"""A cohort of patients: who is in it with which label and part, who was left out, and a seal."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from inference.codec import ADDED, Malformed, canonical, decode, digest, encode, loads
from training.labels import LabelRules, NodalClass
from training.outcomes import CohortUnusable
from training.partition import Part, Placed, SplitPlan, partition, split_digest

SCHEMA = 1
FILE = "cohort.json"


@dataclass(frozen=True, kw_only=True)
class Member:
    """One patient of the cohort."""

    patient: str
    """The pseudonym, which is the name of the case's folder."""
    case_digest: str
    centre: str
    nodal: NodalClass
    part: Part
    pt: str = ""
    followup_days: float | None = None
    event: bool | None = None
    covariates: Mapping[str, str]
    pet_digest: str = field(default="", metadata=ADDED)
    """Of the PET's voxels, which stay the same under another pseudonym; empty in old cohorts."""

    @property
    def marks(self) -> tuple[str, ...]:
        """Digests by which the same case is known again."""
        return tuple(filter(None, (self.case_digest, self.pet_digest)))


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """One patient who was assessed and is not in the cohort."""

    patient: str
    step: str
    """Which screen: what is asked of everybody, in a fixed order."""
    why: str


@dataclass(frozen=True, kw_only=True)
class PatientCohort:
    """All that decides what is trained and tested on; case folders lie beside each other."""

    schema: int = SCHEMA
    name: str
    tables: Mapping[str, str]
    """The digest of each table of outcomes by its name."""
    rules: LabelRules
    plan: SplitPlan
    members: tuple[Member, ...]
    left_out: tuple[LeftOut, ...]

    def __post_init__(self) -> None:
        names = [one.patient for one in self.members] + [one.patient for one in self.left_out]
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise ValueError(f"the patient {twice[0]!r} is there twice")
        seeded = partition(tuple(map(_placed, self.members)), self.plan)
        moved = [one.patient for one in self.members if seeded[one.patient] is not one.part]
        if moved:
            raise ValueError(f"the split is not the plan's: {moved[0]!r} lies elsewhere")

    def of(self, part: Part) -> tuple[Member, ...]:
        """Return the members of one part."""
        return tuple(one for one in self.members if one.part is part)

    @property
    def digest(self) -> str:
        """The digest of everything in the cohort."""
        return digest(canonical(encode(self)))

    @property
    def split_digest(self) -> str:
        """The digest of who lies in which part, and of nothing else."""
        return split_digest({one.patient: one.part for one in self.members})


@dataclass(frozen=True, kw_only=True)
class _Sealed:
    """A cohort on disk."""

    digest: str
    split_digest: str
    cohort: PatientCohort


def write(cohort: PatientCohort, folder: Path) -> Path:
    """Write ``cohort.json`` into an existing folder that has none."""
    sealed = _Sealed(digest=cohort.digest, split_digest=cohort.split_digest, cohort=cohort)
    path = folder / FILE
    with path.open("x", encoding="utf-8") as file:
        json.dump(encode(sealed), file, indent=1, ensure_ascii=False)
        file.write("\n")
    return path


def load(folder: Path, *, split_digest: str = "") -> PatientCohort:
    """Read a cohort that is what it was when it was made.

    Refused with ``CohortUnusable`` are a digest that does not fit, a patient who is there twice, a
    part that the plan does not give, and a split other than that of ``split_digest`` if given.
    """
    path = folder / FILE
    try:
        sealed = decode(_Sealed, loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, Malformed) as error:
        raise CohortUnusable(f"{path}: {error}") from error
    cohort = sealed.cohort
    if cohort.schema != SCHEMA:
        raise CohortUnusable(f"{path}: schema {cohort.schema}, this software reads {SCHEMA}")
    if (sealed.digest, sealed.split_digest) != (cohort.digest, cohort.split_digest):
        raise CohortUnusable(f"{path}: a digest does not fit: the cohort was changed")
    if split_digest and split_digest != cohort.split_digest:
        raise CohortUnusable(f"{path}: its split is {cohort.split_digest}, not {split_digest}")
    return cohort


def verified_case(cohort: PatientCohort, patient: str, cases: Path) -> Path:
    """Return the case folder of a member, or ``CohortUnusable`` where it is not as it was."""
    (member,) = (one for one in cohort.members if one.patient == patient)
    return verified(cases / patient, member.case_digest)


def verified(folder: Path, expected: str) -> Path:
    """Return a case folder whose digest is this one; ``CohortUnusable`` where it is another."""
    if not folder.is_dir():
        raise CohortUnusable(f"{folder}: the case of a member of the cohort is not there")
    if case_digest(folder) != expected:
        raise CohortUnusable(f"{folder}: the case was changed after the cohort was made")
    return folder


def case_digest(folder: Path) -> str:
    """Return the digest of the files of a case folder, by name."""
    sums = {}
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        with path.open("rb") as file:
            sums[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return digest(canonical(sums))


def _placed(member: Member) -> Placed:
    return Placed(patient=member.patient, centre=member.centre, nodal=member.nodal)
