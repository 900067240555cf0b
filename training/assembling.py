"""Joins case folders with tables of outcomes into a cohort, each patient screened in order."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from inference import case
from inference.codec import Malformed, decode, digest
from inference.errors import CaseUnusable
from inference.petct import PetCt
from inference.table import rows
from training import outcomes
from training.labels import Exclusion, LabelRules, NodalClass, classify
from training.outcomes import CohortUnusable, Outcome
from training.partition import Placed, SplitPlan, partition
from training.patients import LeftOut, Member, PatientCohort, case_digest
from training.progress import Track

EXPORTED = "cases.csv"
"""What ``petct-node export`` tells of every patient beside the case folders."""
STEP_OUTCOME = "no line in the tables of outcomes"
STEP_IMAGES = "no usable PET/CT"
STEP_LABEL = "label unknown or out of the question"
STEPS = (STEP_OUTCOME, STEP_IMAGES, STEP_LABEL)
"""The screens, in the order in which everybody passes them."""


@dataclass(frozen=True, kw_only=True)
class Definition:
    """What a cohort is made by, read from one YAML file."""

    name: str
    split: SplitPlan
    labels: LabelRules = field(default_factory=LabelRules)
    columns: Mapping[str, str] = field(default_factory=dict)
    """What the tables call ``patient``, ``pn``, ``cn``, ``pt``, ``centre`` and so on."""
    missing: tuple[str, ...] = outcomes.MISSING
    """Cells, in lower case, that say nothing."""


def load_definition(path: Path) -> Definition:
    """Read a definition; ``CohortUnusable`` names a key that is unknown, missing or wrong."""
    try:
        return decode(Definition, yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, Malformed) as error:
        raise CohortUnusable(f"{path}: {error}") from error


def assemble(
    cases: Path, tables: Sequence[Path], definition: Definition, track: Track
) -> PatientCohort:
    """Return the cohort of the case folders in ``cases`` whose patients are in the tables.

    A case folder's name is the patient's in the tables. Everybody who is in either is assessed and
    ends as a member or with the first screen that did not let him or her pass. Two patients with
    one and the same images are an error, and so is an external centre that nobody comes from.
    """
    if len({path.name for path in tables}) < len(tables):
        raise CohortUnusable("two tables have one file name, so that messages could not tell them")
    told = {
        one.patient: one for one in outcomes.read(tables, definition.columns, definition.missing)
    }
    # What a killed export left half-written has a name that begins with a dot.
    whole = sorted(path for path in cases.iterdir() if not path.name.startswith("."))
    folders = {path.name: path for path in whole if (path / case.FACTS).is_file()}
    refused = _refused(cases / EXPORTED)
    left_out: list[LeftOut] = []
    labelled: dict[str, _Labelled] = {}
    everybody = sorted(set(told) | set(folders) | set(refused))
    with track.stage("reading cases", len(everybody)) as advance:
        for patient in everybody:
            found = _screen(patient, told.get(patient), folders.get(patient), refused, definition)
            if isinstance(found, LeftOut):
                left_out.append(found)
            else:
                labelled[patient] = found
            advance("")
    _require_distinct(labelled)
    _require_external(labelled, definition.split)
    return _placed(definition, tables, labelled, left_out)


@dataclass(frozen=True, kw_only=True)
class _Labelled:
    """A patient who passed every screen."""

    outcome: Outcome
    nodal: NodalClass
    case_digest: str
    study_instance_uid: str
    pet_digest: str
    covariates: Mapping[str, str]


def _screen(
    patient: str,
    outcome: Outcome | None,
    folder: Path | None,
    refused: Mapping[str, str],
    definition: Definition,
) -> _Labelled | LeftOut:
    if outcome is None:
        return LeftOut(patient=patient, step=STEP_OUTCOME, why="in no table")
    if folder is None:
        why = refused.get(patient, "no case folder")
        return LeftOut(patient=patient, step=STEP_IMAGES, why=why)
    try:
        petct = case.read(folder)
    except CaseUnusable:
        return LeftOut(patient=patient, step=STEP_IMAGES, why="the case folder does not load")
    nodal = classify(outcome, definition.labels)
    if isinstance(nodal, Exclusion):
        return LeftOut(patient=patient, step=STEP_LABEL, why=str(nodal))
    return _Labelled(
        outcome=outcome,
        nodal=nodal,
        case_digest=case_digest(folder),
        study_instance_uid=petct.study_instance_uid,
        pet_digest=digest(petct.pet.voxels.tobytes()),
        covariates=_covariates(outcome, petct),
    )


def _covariates(outcome: Outcome, petct: PetCt) -> Mapping[str, str]:
    """Return what the table says; where it does not, age, sex and scanner as headers say."""
    age, sex = petct.patient.age_years, petct.patient.sex
    maker, model = petct.pet_facts.manufacturer, petct.pet_facts.model_name
    headers = {
        "age_years": "" if age is None else f"{age:g}",
        "sex": sex or "",
        "pet_scanner": model if model.startswith(maker) else f"{maker} {model}".strip(),
    }
    return {**{name: text for name, text in headers.items() if text}, **outcome.covariates}


def _refused(path: Path) -> Mapping[str, str]:
    """Return why each patient of an export has no case folder."""
    if not path.exists():
        return {}
    found: dict[str, str] = {}
    for line, row in rows(path):
        if not {"patient", "reason"} <= set(row):
            raise CohortUnusable(f"{path.name}:{line}: the columns are patient and reason")
        if row["reason"]:
            found[row["patient"]] = row["reason"]
    return found


def _require_distinct(labelled: Mapping[str, _Labelled]) -> None:
    """Refuse one person under two names, as far as images can tell."""
    seen: dict[str, str] = {}
    for patient, one in labelled.items():
        for mark in (one.study_instance_uid, one.pet_digest):
            earlier = seen.setdefault(mark, patient)
            if earlier != patient:
                raise CohortUnusable(f"the cases {earlier!r} and {patient!r} are one study")


def _require_external(labelled: Mapping[str, _Labelled], plan: SplitPlan) -> None:
    centres = {one.outcome.centre for one in labelled.values()}
    for centre in plan.external_centres:
        if centre not in centres:
            known = ", ".join(sorted(filter(None, centres))) or "none"
            raise CohortUnusable(
                f"split.external_centres: nobody is of {centre!r}; centres: {known}"
            )
    nameless = [name for name, one in labelled.items() if not one.outcome.centre]
    if plan.external_centres and nameless:
        source = labelled[nameless[0]].outcome.source
        raise CohortUnusable(
            f"{source}: no centre, so nobody knows whether the patient is external"
        )


def _placed(
    definition: Definition,
    tables: Sequence[Path],
    labelled: Mapping[str, _Labelled],
    left_out: Sequence[LeftOut],
) -> PatientCohort:
    parts = partition(
        [
            Placed(patient=name, centre=one.outcome.centre, nodal=one.nodal)
            for name, one in labelled.items()
        ],
        definition.split,
    )
    members = tuple(
        Member(
            patient=name,
            case_digest=one.case_digest,
            centre=one.outcome.centre,
            nodal=one.nodal,
            part=parts[name],
            pt=one.outcome.pt,
            followup_days=one.outcome.followup_days,
            event=one.outcome.event,
            covariates=dict(one.covariates),
            pet_digest=one.pet_digest,
        )
        for name, one in labelled.items()
    )
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in tables}
    return PatientCohort(
        name=definition.name,
        tables=digests,
        rules=definition.labels,
        plan=definition.split,
        members=members,
        left_out=tuple(left_out),
    )
