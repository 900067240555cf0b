"""Findings, or the refusal of a study, as a Comprehensive 3D SR by TID 1500 (PS3.16)."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Final

from highdicom.sr import (
    CodeContentItem,
    Comprehensive3DSR,
    ContainerContentItem,
    ContentSequence,
    ObservationContext,
    ObserverContext,
    RelationshipTypeValues,
    TextContentItem,
)
from highdicom.sr.templates import DEFAULT_LANGUAGE, LanguageOfContentItemAndDescendants
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from inference.findings import Findings, Prediction, Reason
from node.dicom import codes as ours
from node.dicom.lesion_groups import Segmented, groups, percent
from node.dicom.provenance import (
    RESEARCH_USE,
    Provenance,
    algorithm_template,
    device_observer,
    finish,
)
from node.instance import ResultKind, ResultObject

SERIES_NUMBER: Final = 9901
# OHIF draws the contours of an Imaging Measurement Report (126000), and stays black over one that
# has none; under any other title of CID 7021 it shows the text.
TEXT_ONLY_TITLE: Final = codes.DCM.OncologyMeasurementReport


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What the report stands on: patient and study, and every instance that it cites."""

    subject: Dataset
    instances: Sequence[Dataset]
    predecessors: Sequence[Dataset] = ()


def measurement_report(
    findings: Findings,
    segmented: Sequence[Segmented],
    warnings: Sequence[Reason],
    *,
    evidence: Evidence,
    provenance: Provenance,
) -> ResultObject:
    """Return the report on findings; without a lesion it says that the finding is absent."""
    primary = next((s for s in segmented if s.lesion is findings.primary), None)
    carrier = primary or next(iter(segmented), None)
    measured = [
        group
        for one in segmented
        for group in groups(one, findings.predictions if one is carrier else (), provenance)
    ]
    evaluations = [
        _code(ours.OUTCOME, ours.ANALYZED),
        *_finding_absent(findings),
        *_judged(findings),
        *_reasons(ours.INAPPLICABLE_REASON, findings.inapplicable),
        *_reasons(ours.WARNING, warnings),
        *_statements(findings),
    ]
    containers = []
    if measured:
        imaging = ContainerContentItem(
            name=codes.DCM.ImagingMeasurements, relationship_type=RelationshipTypeValues.CONTAINS
        )
        imaging.ContentSequence = ContentSequence([*algorithm_template(provenance), *measured])
        containers.append(imaging)
    else:
        evaluations += _algorithm(provenance)
    containers.append(_evaluations(evaluations))
    return _document(
        containers,
        title=codes.DCM.ImagingMeasurementReport if measured else TEXT_ONLY_TITLE,
        procedure=codes.SCT.PETCTFDGImagingOfWholeBody,
        evidence=evidence,
        provenance=provenance,
    )


def refusal_report(
    reasons: Sequence[Reason], *, evidence: Evidence, provenance: Provenance
) -> ResultObject:
    """Return a report that says that the study was not analysed, with every coded reason."""
    evaluations = [
        _code(ours.OUTCOME, ours.NOT_ANALYZABLE),
        *_reasons(ours.REFUSAL_REASON, reasons),
        _text(ours.INTENDED_USE, RESEARCH_USE),
        *_algorithm(provenance),
    ]
    return _document(
        [_evaluations(evaluations)],
        title=TEXT_ONLY_TITLE,
        procedure=codes.SCT.ImagingProcedure,
        evidence=evidence,
        provenance=provenance,
    )


def _document(
    containers: Sequence[ContainerContentItem],
    *,
    title: Code,
    procedure: Code,
    evidence: Evidence,
    provenance: Provenance,
) -> ResultObject:
    root = ContainerContentItem(name=title, template_id="1500")
    observer = ObservationContext(
        observer_device_context=ObserverContext(
            observer_type=codes.DCM.Device,
            observer_identifying_attributes=device_observer(provenance),
        )
    )
    reported = CodeContentItem(
        name=codes.DCM.ProcedureReported,
        value=procedure,
        relationship_type=RelationshipTypeValues.HAS_CONCEPT_MOD,
    )
    language = LanguageOfContentItemAndDescendants(DEFAULT_LANGUAGE)
    root.ContentSequence = ContentSequence([*language, *observer, reported, *containers])
    _separate(root)
    device = provenance.equipment
    first, *others = evidence.instances
    cited = deepcopy(evidence.subject)
    cited.update(first)
    report = Comprehensive3DSR(
        evidence=[cited, *others],
        content=root,
        series_instance_uid=provenance.uid("series SR"),
        series_number=SERIES_NUMBER,
        sop_instance_uid=provenance.uid("instance SR"),
        instance_number=1,
        manufacturer=device.manufacturer,
        # Whole as far as the device can tell, but no person has verified it, and it is not the
        # definitive means of communicating findings: PRELIMINARY (PS3.3 C.17.2).
        is_complete=True,
        is_final=False,
        is_verified=False,
        previous_versions=list(evidence.predecessors) or None,
        coding_schemes=ours.coding_schemes(),
        series_description="PET/CT analysis (research)",
        specific_character_set="ISO_IR 192",
    )
    return finish(report, ResultKind.REPORT, subject=evidence.subject, provenance=provenance)


def _evaluations(items: Sequence[CodeContentItem | TextContentItem]) -> ContainerContentItem:
    """Return TID 1500 row 12, where the template leaves room for codes and texts of ours."""
    container = ContainerContentItem(
        name=ours.QUALITATIVE_EVALUATIONS, relationship_type=RelationshipTypeValues.CONTAINS
    )
    container.ContentSequence = ContentSequence(items)
    return container


def _algorithm(provenance: Provenance) -> list[TextContentItem]:
    """Return TID 4019 as plain evaluations, for a report without Imaging Measurements.

    Row 12 takes every TEXT for an evaluation, so that PixelMed refuses a modifier there.
    """
    items = [item for item in algorithm_template(provenance) if isinstance(item, TextContentItem)]
    for item in items:
        item.RelationshipType = RelationshipTypeValues.CONTAINS.value
    return items


def _finding_absent(findings: Findings) -> list[CodeContentItem]:
    if findings.lesions:
        return []
    return [_code(codes.DCM.Finding, ours.CLINICAL_FINDING_ABSENT)]


def _judged(findings: Findings) -> list[CodeContentItem | TextContentItem]:
    """Return what the model's answer comes to, in categories and in a sentence for each task."""
    applies = ours.APPLICABLE if findings.applicable else ours.NOT_APPLICABLE
    items: list[CodeContentItem | TextContentItem] = [_code(ours.APPLICABILITY, applies)]
    for prediction in findings.predictions:
        items.append(_code(ours.category(prediction.task), _level(high=prediction.high)))
        items.append(_text(ours.PREDICTION, prediction_sentence(prediction)))
    if findings.risk is not None:
        items.append(_code(ours.NODAL_RISK, _level(high=findings.risk == "high")))
    return items


def prediction_sentence(prediction: Prediction) -> str:
    """Return one prediction in words: what, how probable, and on which side of the cut-off."""
    label = ours.task_label(prediction.task)
    side = "high, above" if prediction.high else "low, not above"
    return (
        f"Probability of {label} {percent(prediction.probability)} %: "
        f"{side} the cut-off of {percent(prediction.cutoff)} %"
    )


def _level(*, high: bool) -> Code:
    return ours.HIGH_RISK if high else ours.LOW_RISK


def _reasons(name: Code, reasons: Sequence[Reason]) -> list[CodeContentItem | TextContentItem]:
    """Return each reason as a code for machines and, whole, as text for people."""
    items: list[CodeContentItem | TextContentItem] = []
    for reason in reasons:
        items.append(_code(name, ours.of_reason(reason)))
        items.append(_text(name, f"{reason.code}: {reason.meaning}"))
    return items


def _statements(findings: Findings) -> list[TextContentItem]:
    chosen = [lesion.explanation for lesion in findings.lesions if lesion.explanation]
    trained = findings.bundle.training_data
    return [
        *(_text(ours.EXPLANATION, sentence) for sentence in chosen),
        _text(ours.INTENDED_USE, RESEARCH_USE),
        *([_text(ours.TRAINING_DATA, trained)] if trained else []),
    ]


def _code(name: Code, value: Code) -> CodeContentItem:
    return CodeContentItem(
        name=name, value=value, relationship_type=RelationshipTypeValues.CONTAINS
    )


def _text(name: Code, value: str) -> TextContentItem:
    return TextContentItem(
        name=name, value=value, relationship_type=RelationshipTypeValues.CONTAINS
    )


def _separate(item: Dataset) -> None:
    """Make every container SEPARATE: renderers print CONTINUOUS numbers without their names."""
    if item.get("ValueType") == "CONTAINER":
        item.ContinuityOfContent = "SEPARATE"
    for child in item.get("ContentSequence", []):
        _separate(child)
