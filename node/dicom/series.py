"""A study on disk as values: which series there are, and which PET and CT belong together."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from inference.findings import Reason
from inference.geometry import Vector
from node.dicom.attributes import text
from node.dicom.candidates import (
    CT_RULES,
    PET_RULES,
    Candidate,
    Left,
    Pair,
    Role,
    ct_key,
    judge,
    lost_by,
    pair,
    pet_key,
    role_of,
    why_not_with,
)
from node.dicom.file_header import FileHeader
from node.dicom.geometry import PlaneGeometry
from node.dicom.headers import identify_file
from node.dicom.identity import Identity
from node.dicom.reasons import unusable, warning
from node.dicom.scan import ScannedPlane, ScannedSeries, scan
from node.errors import NotUnderstood

_DOCUMENTS = frozenset({"RTSTRUCT", "SEG", "SR"})
_IMAGES = frozenset({"PT", "CT"})


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
    header: FileHeader | None = field(default=None, repr=False, compare=False)
    """What the file said when the series was chosen, where pydicom was not needed to tell."""
    geometry: PlaneGeometry | None = field(default=None, repr=False, compare=False)
    """Where the plane lay then."""


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
    sop_instance_uids: frozenset[str] = frozenset()
    """Every instance of the study, so that a contour's references can be checked."""


def studies(paths: Sequence[Path]) -> dict[str, tuple[Path, ...]]:
    """Sort readable DICOM files by Study Instance UID; files that are not DICOM are left out."""
    found: dict[str, list[Path]] = {}
    for path in sorted(set(paths)):
        try:
            uid = identify_file(path).study_instance_uid
        except NotUnderstood:
            continue
        found.setdefault(uid, []).append(path)
    return {uid: tuple(found[uid]) for uid in sorted(found)}


def choose(paths: Sequence[Path]) -> Choice:
    """Choose the PET and the CT of one study by the stated rules, or raise UnusableStudy.

    The PET is an attenuation-corrected static FDG PET; the CT shares its frame of reference and
    covers it. Among several PETs an original one goes before a derived one, then more planes,
    smaller voxels, the later one. Among several CTs one that covers all of the PET goes first, then
    an original one, a soft kernel, thin planes of 0.9 mm and more, more planes, the later one.
    """
    scanned = scan(paths)
    if len({series.study_instance_uid for series in scanned}) > 1:
        raise ValueError("the files belong to more than one study")
    patient = Identity.of(p.header for s in scanned if s.modality in _IMAGES for p in s.planes)
    if patient.contradicts_itself:
        raise unusable("PATIENT_DIFFERS")
    roles = {series.series_instance_uid: role_of(series) for series in scanned}
    judged = [judge(s, role) for s in scanned if (role := roles[s.series_instance_uid]) is not None]
    fit = [verdict for verdict in judged if isinstance(verdict, Candidate)]
    left = [verdict for verdict in judged if isinstance(verdict, Left)]
    chosen = pair(fit, left)
    told = {
        x.series.series_instance_uid: f"left: {x.reason.code}, {x.reason.meaning}" for x in left
    }
    told |= {candidate.uid: _why(candidate, chosen) for candidate in fit}
    documents, notes = _documents(scanned, patient)
    kept = {document.series_instance_uid for document in documents}
    told |= {
        s.series_instance_uid: "left: it is of another patient"
        for s in scanned
        if s.modality in _DOCUMENTS and s.series_instance_uid not in kept
    }
    return Choice(
        study_instance_uid=chosen.pet.series.study_instance_uid,
        pet=_image_series(chosen.pet),
        ct=_image_series(chosen.ct),
        documents=documents,
        explanation=tuple(_sentence(series, told) for series in scanned),
        warnings=(*notes, *chosen.warnings),
        sop_instance_uids=frozenset(p.sop_instance_uid for s in scanned for p in s.planes),
    )


def _image_series(candidate: Candidate) -> ImageSeries:
    return ImageSeries(
        study_instance_uid=candidate.series.study_instance_uid,
        series_instance_uid=candidate.uid,
        modality=candidate.series.modality,
        frame_of_reference_uid=candidate.grid.frame_of_reference_uid,
        description=text(candidate.planes[0].header, "SeriesDescription"),
        planes=tuple(
            Plane(
                path=plane.path,
                sop_class_uid=plane.sop_class_uid,
                sop_instance_uid=plane.sop_instance_uid,
                frame=plane.frame,
                position=plane.geometry.position,
                header=plane.header.full if isinstance(plane.header, FileHeader) else None,
                geometry=plane.geometry,
            )
            for plane in candidate.planes
            if plane.geometry is not None
        ),
    )


def _documents(
    scanned: Sequence[ScannedSeries], patient: Identity
) -> tuple[tuple[Document, ...], tuple[Reason, ...]]:
    """Return the documents that are not of another patient, and warnings."""
    kept: list[Document] = []
    notes: list[Reason] = []
    together = patient
    for series, plane in _instances(scanned):
        joined = patient.joined(Identity.of([plane.header]))
        if joined.contradicts_itself:
            notes.append(warning("CONTOUR_PATIENT", f"{series.modality} {plane.sop_instance_uid}"))
            continue
        together = together.joined(joined)
        kept.append(
            Document(
                path=plane.path,
                modality=series.modality,
                sop_class_uid=plane.sop_class_uid,
                sop_instance_uid=plane.sop_instance_uid,
                series_instance_uid=series.series_instance_uid,
            )
        )
    if together.is_partial:
        notes.append(warning("PATIENT_UNSURE"))
    return tuple(kept), tuple(notes)


def _instances(scanned: Sequence[ScannedSeries]) -> Iterator[tuple[ScannedSeries, ScannedPlane]]:
    """Yield each instance that may hold regions once, by any of its frames."""
    for series in scanned:
        if series.modality in _DOCUMENTS:
            instances = {plane.sop_instance_uid: plane for plane in series.planes}
            yield from ((series, plane) for plane in instances.values())


def _why(candidate: Candidate, chosen: Pair) -> str:
    """Say why a fit series was taken, or by which rule it lost."""
    if candidate in (chosen.pet, chosen.ct):
        step_mm = candidate.grid.spacing[0]
        return (
            f"taken as the {candidate.role}: {len(candidate.planes)} planes, {step_mm:.2f} mm apart"
        )
    if candidate.role is Role.PET:
        rule = lost_by(pet_key(candidate), pet_key(chosen.pet), PET_RULES)
        better = pet_key(candidate) < pet_key(chosen.pet)
        return "left: no CT goes with it" if better else f"left: beside the chosen PET {rule}"
    unfit = why_not_with(chosen.pet, candidate)
    if unfit is not None:
        return f"left: {unfit.code}, {unfit.meaning}"
    keys = ct_key(chosen.pet, candidate), ct_key(chosen.pet, chosen.ct)
    return f"left: beside the chosen CT {lost_by(*keys, CT_RULES)}"


def _sentence(series: ScannedSeries, told: Mapping[str, str]) -> str:
    if series.modality in _DOCUMENTS:
        default = "kept: it may hold a contour"
    elif series.modality == "CT":
        default = "left: labelled CT, but of another SOP class"
    else:
        default = "left: neither PET nor CT"
    uid = series.series_instance_uid
    return f"{series.modality or 'No modality'} {uid} is {told.get(uid, default)}."
