"""Which series of a study are fit to be the PET and the CT, and which of them go together."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias

from inference.findings import Reason
from inference.geometry import Grid
from node.dicom import clock, eligibility, geometry
from node.dicom.attributes import number, texts
from node.dicom.reasons import REFUSALS, unusable, warning
from node.dicom.scan import ScannedPlane, ScannedSeries
from node.errors import UnusableStudy

WHOLE = 0.95
"""A CT that covers this part of the PET's length covers all of it."""
PART = 0.75
"""A CT must cover this part of the PET's length, or ..."""
CHEST_MM = 250.0
"""... this length of it, as a CT of the chest does of a PET of the whole body."""
ACROSS = 0.5
"""A CT must cover this part of the PET's width and depth: 500 mm of 700 mm are usual."""
THIN_MM = 0.9
"""CT planes closer than this add noise and time, and nothing for a PET's resolution."""

Key: TypeAlias = tuple[bool | float, ...]


class Role(StrEnum):
    """What a series can be taken for."""

    PET = "PET"
    CT = "CT"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Candidate:
    """A series that is fit: its planes sorted along the normal, each once."""

    role: Role
    series: ScannedSeries
    planes: tuple[ScannedPlane, ...]
    grid: Grid
    warnings: tuple[Reason, ...] = ()

    @property
    def uid(self) -> str:
        """The Series Instance UID."""
        return self.series.series_instance_uid


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Left:
    """A series that is left, and why; ``depth`` grows with the number of rules it passed."""

    role: Role | None
    series: ScannedSeries
    reason: Reason
    depth: int


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Pair:
    """A PET and the CT that goes with it best."""

    pet: Candidate
    ct: Candidate
    warnings: tuple[Reason, ...]


_SOP_CLASSES = {Role.PET: eligibility.PET_SOP_CLASSES, Role.CT: eligibility.CT_SOP_CLASSES}
# What each part of a key stands for, in the words of the series that loses by it.
PET_RULES = ("it is derived", "it has fewer planes", "its voxels are larger", "it is older")
CT_RULES = (
    "it covers less of the PET",
    "it is derived",
    "its kernel is sharp",
    "its planes are too close",
    "its planes are further apart",
    "it has fewer planes",
    "it is older",
)


def role_of(series: ScannedSeries) -> Role | None:
    """Tell what a series can be taken for; what is labelled PT is judged whatever it holds."""
    if series.modality == "PT":
        return Role.PET
    if series.modality == "CT" and series.sop_classes & eligibility.CT_SOP_CLASSES:
        return Role.CT
    return None


def judge(series: ScannedSeries, role: Role) -> Candidate | Left:
    """Return a series as a candidate for its role, or why it is left.

    Objects that were filed with its planes and are none of them are left aside with a warning.
    """
    planes, strays = _own_planes(series, role)
    if not planes:
        return _left(series, role, "PET_CLASS" if role is Role.PET else "CT_MISSING", 0)
    refuse = eligibility.why_not_pet if role is Role.PET else eligibility.why_not_ct
    reason = refuse(planes[0].header)
    if reason is not None:
        depth = 2 if reason.code == "PET_NO_ATTN_CORR" else 1
        return Left(role=role, series=series, reason=reason, depth=depth)
    try:
        once, warnings = _each_once(planes)
        ordered = _sorted(once)
        grid = geometry.lattice([p.geometry for p in ordered if p.geometry is not None])
    except UnusableStudy as refusal:
        return Left(role=role, series=series, reason=refusal.reason, depth=4)
    if not geometry.is_axial(grid.direction[0]):
        code = "PET_NOT_AXIAL" if role is Role.PET else "CT_MISSING"
        return _left(series, role, code, 3)
    notes = (*_strays(strays, role), *warnings, *_fewer(ordered))
    return Candidate(role=role, series=series, planes=ordered, grid=grid, warnings=notes)


def pair(fit: Sequence[Candidate], left: Sequence[Left]) -> Pair:
    """Return the most preferred PET that has a CT, and that CT; raise UnusableStudy if none."""
    pets = sorted((c for c in fit if c.role is Role.PET), key=lambda c: (pet_key(c), c.uid))
    cts = [c for c in fit if c.role is Role.CT]
    if not pets:
        raise _deepest(left, Role.PET, "PET_MISSING")
    for pet in pets:
        fitting = [ct for ct in cts if _fits(pet, ct)]
        if fitting:
            ct = min(fitting, key=lambda c: (ct_key(pet, c), c.uid))
            return Pair(pet=pet, ct=ct, warnings=(*pet.warnings, *ct.warnings, *_partial(pet, ct)))
    if not cts:
        raise _deepest(left, Role.CT, "CT_MISSING")
    if any(_same_frame(pet, ct) for pet in pets for ct in cts):
        raise unusable("CT_NOT_COVERING")
    raise unusable("FRAME_MISMATCH")


def why_not_with(pet: Candidate, ct: Candidate) -> Reason | None:
    """Return why a CT does not go with a PET, or None."""
    if _fits(pet, ct):
        return None
    code = "CT_NOT_COVERING" if _same_frame(pet, ct) else "FRAME_MISMATCH"
    return Reason(code=code, meaning=REFUSALS[code])


def pet_key(pet: Candidate) -> Key:
    """Return what PETs are preferred by, the smaller the better; see ``PET_RULES``."""
    return (
        eligibility.is_derived(pet.planes[0].header),
        -len(pet.planes),
        round(pet.grid.voxel_volume_ml, 4),
        -_age_key(pet),
    )


def ct_key(pet: Candidate, ct: Candidate) -> Key:
    """Return what CTs are preferred by, the smaller the better; see ``CT_RULES``."""
    header = ct.planes[0].header
    step_mm = round(ct.grid.spacing[0], 2)
    covered = geometry.coverage(pet.grid, ct.grid)[0]
    return (
        0.0 if covered >= WHOLE else 1 - round(covered, 2),
        eligibility.is_derived(header),
        any(eligibility.is_sharp(kernel) for kernel in texts(header, "ConvolutionKernel")),
        step_mm < THIN_MM,
        step_mm,
        -len(ct.planes),
        -_age_key(ct),
    )


def lost_by(key: Key, winning: Key, rules: Sequence[str]) -> str:
    """Return the rule by which a candidate lost."""
    for mine, best, rule in zip(key, winning, rules, strict=True):
        if mine != best:
            return rule
    return "both are alike and its UID sorts later"


def _age_key(candidate: Candidate) -> float:
    moment = clock.moment_of(candidate.planes[0].header, "Series", dates=("StudyDate",))
    if moment is None:
        return -math.inf
    return (moment - datetime(1900, 1, 1)).total_seconds()  # noqa: DTZ001  (DICOM's local time)


def _fits(pet: Candidate, ct: Candidate) -> bool:
    if not _same_frame(pet, ct):
        return False
    along, down, across = geometry.coverage(pet.grid, ct.grid)
    length_mm = along * pet.grid.shape[0] * pet.grid.spacing[0]
    return (along >= PART or length_mm >= CHEST_MM) and min(down, across) >= ACROSS


def _same_frame(pet: Candidate, ct: Candidate) -> bool:
    uid = pet.grid.frame_of_reference_uid
    return bool(uid) and uid == ct.grid.frame_of_reference_uid


def _partial(pet: Candidate, ct: Candidate) -> tuple[Reason, ...]:
    covered = geometry.coverage(pet.grid, ct.grid)[0]
    return () if covered >= WHOLE else (warning("CT_PARTIAL", f"{covered:.0%} of its length"),)


def _own_planes(series: ScannedSeries, role: Role) -> tuple[tuple[ScannedPlane, ...], int]:
    """Return the planes that can be of a volume, and how many objects beside localizers are not."""
    usual = [p for p in series.planes if not eligibility.is_localizer(p.header)]
    images = [p for p in usual if p.sop_class_uid in _SOP_CLASSES[role]]
    planes = eligibility.as_acquired(images)
    return planes, len(usual) - len(planes)


def _strays(count: int, role: Role) -> tuple[Reason, ...]:
    return (warning("PLANES_LEFT", f"{count} of the {role}"),) if count else ()


def _fewer(planes: Sequence[ScannedPlane]) -> tuple[Reason, ...]:
    """Compare with Number of Slices (PS3.3 C.8.9.1), which of a PET is the count of its planes."""
    stated = max(int(number(plane.header, "NumberOfSlices") or 0) for plane in planes)
    if stated <= len(planes):
        return ()
    return (warning("SLICES_FEWER", f"{len(planes)} of {stated}"),)


def _left(series: ScannedSeries, role: Role, code: str, depth: int) -> Left:
    return Left(
        role=role, series=series, reason=Reason(code=code, meaning=REFUSALS[code]), depth=depth
    )


def _deepest(left: Sequence[Left], role: Role, otherwise: str) -> UnusableStudy:
    """Return the refusal of the series that came furthest."""
    ranked = sorted((x for x in left if x.role is role), key=lambda x: x.depth)
    if not ranked:
        return unusable(otherwise)
    return UnusableStudy(ranked[-1].reason.code, ranked[-1].reason.meaning)


def _each_once(
    planes: Sequence[ScannedPlane],
) -> tuple[tuple[ScannedPlane, ...], tuple[Reason, ...]]:
    """Drop a plane that came again with the same bytes; refuse one UID with other bytes."""
    once: dict[tuple[str, int | None], ScannedPlane] = {}
    resent = 0
    for plane in planes:
        known = once.setdefault((plane.sop_instance_uid, plane.frame), plane)
        if known is plane:
            continue
        if known.path.read_bytes() != plane.path.read_bytes():
            raise unusable("SLICES_DUPLICATE", "one SOP Instance UID with different content")
        resent += 1
    return tuple(once.values()), (warning("SLICES_RESENT", str(resent)),) if resent else ()


def _sorted(planes: Sequence[ScannedPlane]) -> tuple[ScannedPlane, ...]:
    places = [plane.geometry for plane in planes if plane.geometry is not None]
    if len(places) < len(planes):
        raise unusable("GEOMETRY_ABSENT", f"{len(planes) - len(places)} of {len(planes)} planes")
    return tuple(planes[index] for index in geometry.order(places))
