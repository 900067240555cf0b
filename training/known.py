"""Who a bundle was made of: digests of cases, so that nobody is evaluated whom it has learnt."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from inference.bundle import Bundle
from inference.codec import Malformed, decode, encode, loads
from inference.errors import BundleUnusable
from training.material import Origin
from training.outcomes import CohortUnusable
from training.partition import Part
from training.patients import Member, PatientCohort

FILE = "patients.json"
"""In a bundle that was made of patients, listed on its card like its networks."""
FITTED = (Part.TRAINING, Part.VALIDATION)
"""Weights, cut-offs and calibration come from these."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """What a bundle tells of the patients that it was made of: digests, in no order of theirs."""

    cohort: str
    cohort_digest: str
    split_digest: str
    marks: Mapping[str, tuple[str, ...]]
    """By part, the digests of case folders and of PET voxels."""


def marks_of(cohort: PatientCohort) -> Mapping[str, tuple[str, ...]]:
    """Return by part the digests of everybody's case, sorted."""
    return {
        part.value: tuple(sorted(mark for one in cohort.of(part) for mark in one.marks))
        for part in Part
        if cohort.of(part)
    }


def packed(origin: Origin) -> bytes:
    """Return the file that goes into the bundle."""
    told = Known(
        cohort=origin.name,
        cohort_digest=origin.digest,
        split_digest=origin.split_digest,
        marks=origin.marks,
    )
    return (json.dumps(encode(told), indent=1, ensure_ascii=False) + "\n").encode()


def read(bundle: Bundle) -> Known | None:
    """Return what the bundle tells; None where it was made of phantoms, or tells nothing."""
    if FILE not in bundle.card.files:
        return None
    path = bundle.folder / FILE
    try:
        return decode(Known, loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, Malformed) as error:
        raise BundleUnusable(f"{path}: {error}") from error


def require_unseen(bundle: Bundle, members: Sequence[Member]) -> str:
    """Return how it is known that the bundle was not fitted on any of these patients.

    ``CohortUnusable`` names those whom it was fitted on.
    """
    known = read(bundle)
    if known is None:
        return _untold(bundle)
    part_of = {mark: part for part, marks in known.marks.items() for mark in marks}
    found = {
        one.patient: next(part_of[mark] for mark in one.marks if mark in part_of)
        for one in members
        if part_of.keys() & set(one.marks)
    }
    fitted = [patient for patient, part in found.items() if part in FITTED]
    if fitted:
        raise CohortUnusable(
            f"{len(fitted)} of {len(members)} patients are of those that the bundle was fitted on "
            f"({', '.join(fitted)}): it has seen their answers. Leave them out, or take only "
            "--parts that it did not see"
        )
    counts = Counter(found.values())
    told = ", ".join(f"{count} of its own {part} part" for part, count in sorted(counts.items()))
    return (
        "By the digests of their cases none of the patients is of those that the bundle was fitted "
        f"on{f'; {told}' if told else ''}."
    )


def _untold(bundle: Bundle) -> str:
    if any(name.startswith("phantoms_") for name in bundle.card.training_set):
        return "The bundle was made of phantoms, so that no patient can be of its training set."
    return (
        "The bundle does not tell whose cases it was fitted on, so that nothing here shows that "
        "these patients are others."
    )
