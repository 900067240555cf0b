"""What a report says in codes and sentences: TID 1500 row 12, Qualitative Evaluations."""

from collections.abc import Sequence
from typing import Final, TypeAlias

from highdicom.sr import (
    CodeContentItem,
    ContainerContentItem,
    ContentSequence,
    RelationshipTypeValues,
    TextContentItem,
)
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from inference.findings import Findings, Reason
from inference.petct import PatientFacts, PetCt, PetFacts
from node.dicom import codes as ours
from node.dicom.provenance import RESEARCH_USE, Provenance, algorithm_template
from node.dicom.seg import tracking_identifier

Evaluation: TypeAlias = CodeContentItem | TextContentItem

_RISKS: Final = {"high": ours.HIGH_RISK, "low": ours.LOW_RISK}
NEW_VERSION: Final = (
    "Replaces an earlier report on this study: the images that are there now, or the model, "
    "are not those that it was made from"
)


def of_findings(
    findings: Findings, petct: PetCt, warnings: Sequence[Reason], *, replaces: bool
) -> list[Evaluation]:
    """Return outcome, absence and risk first, then for what use, then how it came about."""
    return [
        code(ours.OUTCOME, ours.ANALYZED),
        *version(replaces=replaces),
        *_absent(findings),
        *_judged(findings),
        *reasons(ours.INAPPLICABLE_REASON, findings.inapplicable),
        *_about_the_model(findings),
        *reasons(ours.WARNING, warnings),
        *_uptake_and_suv(petct.pet_facts),
        *_not_stated(petct.patient),
        *(text(ours.EXPLANATION, sentence) for sentence in _chosen(findings)),
    ]


def of_refusal(refusals: Sequence[Reason], *, replaces: bool) -> list[Evaluation]:
    """Return that nothing was analysed, and why."""
    return [
        code(ours.OUTCOME, ours.NOT_ANALYZABLE),
        *version(replaces=replaces),
        *reasons(ours.REFUSAL_REASON, refusals),
        text(ours.INTENDED_USE, RESEARCH_USE),
    ]


def container(items: Sequence[Evaluation]) -> ContainerContentItem:
    """Return the container, where the template leaves room for codes and texts of ours."""
    made = ContainerContentItem(
        name=ours.QUALITATIVE_EVALUATIONS, relationship_type=RelationshipTypeValues.CONTAINS
    )
    made.ContentSequence = ContentSequence(items)
    return made


def algorithm(provenance: Provenance) -> list[TextContentItem]:
    """Return TID 4019 as plain evaluations, for a report without Imaging Measurements.

    Row 12 takes every TEXT for an evaluation, so that PixelMed refuses a modifier there.
    """
    items = [item for item in algorithm_template(provenance) if isinstance(item, TextContentItem)]
    for item in items:
        item.RelationshipType = RelationshipTypeValues.CONTAINS.value
    return items


def version(*, replaces: bool) -> list[TextContentItem]:
    """Return a sentence where the report replaces an earlier one; the header names which."""
    return [text(ours.VERSION, NEW_VERSION)] if replaces else []


def reasons(name: Code, told: Sequence[Reason]) -> list[Evaluation]:
    """Return each reason as a code for machines and, whole, as text for people."""
    items: list[Evaluation] = []
    for reason in told:
        items.append(code(name, ours.of_reason(reason)))
        items.append(text(name, f"{reason.code}: {reason.meaning}"))
    return items


def code(name: Code, value: Code) -> CodeContentItem:
    """Return one coded evaluation."""
    return CodeContentItem(
        name=name, value=value, relationship_type=RelationshipTypeValues.CONTAINS
    )


def text(name: Code, value: str) -> TextContentItem:
    """Return one evaluation in words."""
    return TextContentItem(
        name=name, value=value, relationship_type=RelationshipTypeValues.CONTAINS
    )


def _absent(findings: Findings) -> list[CodeContentItem]:
    if findings.lesions:
        return []
    return [code(codes.DCM.Finding, ours.CLINICAL_FINDING_ABSENT)]


def _judged(findings: Findings) -> list[CodeContentItem]:
    """Return what all predictions together come to, and whether the model applies."""
    applies = ours.APPLICABLE if findings.applicable else ours.NOT_APPLICABLE
    risk = _RISKS.get(findings.risk or "", ours.NOT_PREDICTED)
    return [code(ours.NODAL_RISK, risk), code(ours.APPLICABILITY, applies)]


def _uptake_and_suv(facts: PetFacts) -> list[Evaluation]:
    """Return how long the tracer was taken up and by which rule activity became SUVbw."""
    known = facts.uptake_min is not None
    uptake = f"{facts.uptake_min:.0f} min" if known else "unknown"
    factor = "one factor for each plane"
    if facts.suvbw_factor is not None:
        factor = f"factor {facts.suvbw_factor:.4g}"
    rule = ours.DECAY_RULES.get(facts.decay_reference)
    uncoded = f"decay-corrected to: {facts.decay_reference}; " if rule is None else ""
    said = f"From {facts.units}, {factor}; {uncoded}tracer {facts.tracer}"
    return [
        text(ours.UPTAKE, uptake),
        *([] if rule is None else [code(ours.DECAY_RULE, rule)]),
        text(ours.SUV_RULE, said),
    ]


def _not_stated(patient: PatientFacts) -> list[CodeContentItem]:
    """Return each covariate that is absent; none of them was guessed."""
    covariates = (
        (patient.height_m, ours.HEIGHT),
        (patient.weight_kg, ours.WEIGHT),
        (patient.age_years, codes.DCM.SubjectAge),
        (patient.sex, codes.DCM.SubjectSex),
    )
    return [code(ours.NOT_STATED, name) for value, name in covariates if value is None]


def _chosen(findings: Findings) -> list[str]:
    """Return why each lesion is one, under the name that its groups and its segment have."""
    return [
        f"{tracking_identifier(lesion, number)}: {lesion.explanation}"
        for number, lesion in enumerate(findings.lesions, 1)
        if lesion.explanation
    ]


def _about_the_model(findings: Findings) -> list[TextContentItem]:
    said = [(ours.INTENDED_USE, RESEARCH_USE), (ours.TRAINING_DATA, findings.bundle.training_data)]
    return [text(name, sentence) for name, sentence in said if sentence]
