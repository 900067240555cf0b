"""Studies of many patients as case folders, and for each patient who has none the reason."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from inference import case
from inference.petct import PetCt
from node.cli.pseudonym import Pseudonyms
from node.config import ConfigError
from node.dicom import series, voc_boxes, volumes
from node.dicom.attributes import UNREADABLE, Attributes, text
from node.dicom.headers import identify_file
from node.dicom.identity import Identity
from node.dicom.reading import read_headers
from node.dicom.series import Choice
from node.dicom.voc_boxes import Box
from node.errors import NotUnderstood, UnusableStudy

CASES = "cases.csv"
COLUMNS = ("patient", "reason", "region", "studies", "boxes_elsewhere", "notes")
TWO_ISSUERS = "PATIENT_DIFFERS"
_TAGS = ("PatientID", "IssuerOfPatientID", "StudyDate", "StudyTime")


@dataclass(frozen=True, kw_only=True)
class StudyFiles:
    """The files of one study, by SOP Instance UID."""

    study_instance_uid: str
    files: Mapping[str, Path]


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How cases are made."""

    pseudonyms: Pseudonyms
    contour_names: tuple[str, ...]
    contour_codes: tuple[str, ...]
    boxes: Mapping[str, Sequence[Box]] = field(default_factory=dict)
    """By SOP Instance UID."""


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What became of one patient; nothing in it tells who the patient is."""

    patient: str
    """The pseudonym."""
    reason: str = ""
    """Why there is no case folder, in codes; ``""`` where there is one."""
    region: str = ""
    """What the tumour's region came from, ``""`` where the PET's threshold must find it."""
    studies: int = 0
    """How many studies of the patient were looked at."""
    boxes_elsewhere: int = 0
    notes: tuple[str, ...] = ()
    """Codes of what was noted beside the study."""
    study_instance_uid: str = field(default="", repr=False)
    """Of the study that was exported, for the audit trail; it is not written down here."""


def studies_below(folder: Path) -> tuple[StudyFiles, ...]:
    """Return the studies in a folder and all below it; what is no DICOM is passed over."""
    found: dict[str, dict[str, Path]] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        try:
            known = identify_file(path)
        except NotUnderstood:
            continue
        found.setdefault(known.study_instance_uid, {})[known.sop_instance_uid] = path
    return tuple(StudyFiles(study_instance_uid=uid, files=found[uid]) for uid in sorted(found))


def boxes_below(folder: Path) -> tuple[Mapping[str, Sequence[Box]], int]:
    """Return the boxes of every annotation below a folder, and how many files are none."""
    found: dict[str, Sequence[Box]] = {}
    refused = 0
    for path in sorted(folder.rglob("*.xml")):
        try:
            found[path.stem] = (*found.get(path.stem, ()), *voc_boxes.read_boxes(path))
        except NotUnderstood:
            refused += 1
    return found, refused


@dataclass(frozen=True, kw_only=True)
class Patient:
    """The studies of one patient, the earliest first."""

    patient_id: str = field(repr=False)
    studies: tuple[StudyFiles, ...]
    is_one: bool
    """Whether no two issuers gave the ID, so that it means one person."""


def patients(found: Sequence[StudyFiles]) -> tuple[tuple[Patient, ...], int]:
    """Sort studies by Patient ID and date; also return how many have no Patient ID."""
    dated: dict[str, list[tuple[str, str, StudyFiles]]] = {}
    headers: dict[str, list[Attributes]] = {}
    for study in found:
        header = _header(study)
        patient_id = text(header, "PatientID")
        when = text(header, "StudyDate") + text(header, "StudyTime")
        dated.setdefault(patient_id, []).append((when, study.study_instance_uid, study))
        headers.setdefault(patient_id, []).append(header)
    nobodys = len(dated.pop("", []))
    return tuple(
        Patient(
            patient_id=patient_id,
            studies=tuple(study for _, _, study in sorted(held, key=lambda one: one[:2])),
            is_one=not Identity.of(headers[patient_id]).contradicts_itself,
        )
        for patient_id, held in sorted(dated.items())
    ), nobodys


def _header(study: StudyFiles) -> Attributes:
    """Return what one file says of patient and date; nothing where it cannot be read."""
    try:
        return read_headers(next(iter(study.files.values())), _TAGS)
    except UNREADABLE:
        return {}


def export_patients(found: Sequence[Patient], out: Path, rules: Rules) -> Iterator[Exported]:
    """Write a case folder for each patient, of the earliest study that holds a usable PET/CT.

    Yields what became of each. A folder that is there already is kept as it is: an export that was
    stopped goes on where it was. Two patients of one pseudonym are a ``ConfigError``.
    """
    named = {rules.pseudonyms.of(patient.patient_id): patient for patient in found}
    if len(named) < len(found):
        raise ConfigError("two patients have one pseudonym: see the table of pseudonyms")
    # In the order of the pseudonyms: that of Patient IDs would tell whose is whose.
    for name in sorted(named):
        yield _export(name, named[name], out, rules)


def _export(name: str, patient: Patient, out: Path, rules: Rules) -> Exported:
    row = Exported(patient=name, studies=len(patient.studies))
    if not patient.is_one:
        return replace(row, reason=TWO_ISSUERS)
    if (out / name).exists():
        return replace(row, notes=("EXPORTED_BEFORE",))
    codes: list[str] = []
    for study in patient.studies:
        try:
            petct, elsewhere = _petct(study, rules)
        except UnusableStudy as unusable:
            codes.append(unusable.reason.code)
            continue
        case.write(rules.pseudonyms.without_identity(petct), out / name)
        return replace(
            row,
            region=petct.given[0].source.value if petct.given else "",
            boxes_elsewhere=elsewhere,
            notes=tuple(dict.fromkeys(one.code for one in petct.warnings)),
            study_instance_uid=study.study_instance_uid,
        )
    return replace(row, reason=" ".join(dict.fromkeys(codes)))


def _petct(study: StudyFiles, rules: Rules) -> tuple[PetCt, int]:
    """Read one study; also return how many of its boxes cannot be placed."""
    choice = series.choose(tuple(study.files.values()))
    petct = volumes.load(
        choice, contour_names=rules.contour_names, contour_codes=rules.contour_codes
    )
    boxes = [box for uid in study.files for box in rules.boxes.get(uid, ())]
    if not boxes:
        return petct, 0
    return _with_boxes(petct, choice, boxes, study.files)


def _with_boxes(
    petct: PetCt, choice: Choice, boxes: Sequence[Box], files: Mapping[str, Path]
) -> tuple[PetCt, int]:
    """Add the mark of the boxes behind what was drawn as a contour, which says more."""
    marked = voc_boxes.marked_region(
        boxes, files, petct.ct.grid, series_instance_uid=choice.ct.series_instance_uid
    )
    given = petct.given if marked.given is None else (*petct.given, marked.given)
    return replace(petct, given=given), marked.elsewhere


def write_cases(rows: Sequence[Exported], path: Path) -> None:
    """Write what became of every patient, for ``petct-train cohort``."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, fieldnames=COLUMNS)
        table.writeheader()
        for row in rows:
            cells = {name: getattr(row, name) for name in COLUMNS}
            table.writerow({**cells, "notes": " ".join(row.notes)})
