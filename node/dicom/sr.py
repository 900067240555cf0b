"""Findings, or the refusal of a study, as a Comprehensive 3D SR by TID 1500 (PS3.16)."""

from collections.abc import Sequence
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
)
from highdicom.sr.templates import DEFAULT_LANGUAGE, LanguageOfContentItemAndDescendants
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from inference.findings import Findings, Reason
from inference.petct import PetCt
from node.dicom import codes as ours
from node.dicom import evaluations, image_library, prediction_groups
from node.dicom.encoding import Elements, joined, reference, sequence, value
from node.dicom.image_library import SourceSeries
from node.dicom.lesion_groups import Segmented, groups
from node.dicom.provenance import Provenance, algorithm_template, device_observer, finish
from node.dicom.source import Reference
from node.instance import ResultKind, ResultObject

SERIES_NUMBER: Final = 9901
# OHIF draws the contours of an Imaging Measurement Report (126000), and stays black over one that
# has none; under any other title of CID 7021 it shows the text.
TEXT_ONLY_TITLE: Final = codes.DCM.OncologyMeasurementReport
# A refusal is another object than the report on the same images, which a second try may yield.
REFUSAL_ROLE: Final = "SR refusal"


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What the report stands on: patient and study, and every instance of it that it cites."""

    subject: Dataset
    instances: Sequence[Reference]
    predecessors: Sequence[Dataset] = ()
    series: Sequence[SourceSeries] = ()
    """The PET and the CT that were analysed."""


@dataclass(frozen=True, kw_only=True)
class Document:
    """What one report is and holds, apart from what all reports have in common."""

    kind: ResultKind
    title: Code
    procedure: Code
    containers: Sequence[ContainerContentItem]
    series_number: int = SERIES_NUMBER
    series_description: str = "PET/CT analysis (research)"
    role: str = ""
    """What the UIDs are derived for; empty: the kind."""

    def uid(self, of: str, provenance: Provenance) -> str:
        """Return the UID of the document's ``series`` or ``instance``."""
        return provenance.uid(f"{of} {self.role or self.kind.value}")


def measurement_report(
    findings: Findings,
    segmented: Sequence[Segmented],
    warnings: Sequence[Reason],
    *,
    petct: PetCt,
    evidence: Evidence,
    provenance: Provenance,
) -> ResultObject:
    """Return the report on findings; without a lesion it says that the finding is absent."""
    primary = next((s for s in segmented if s.lesion is findings.primary), None)
    carrier = primary or next(iter(segmented), None)
    # Predictions first: viewers list the numbers of one Tracking UID in this order, OHIF five.
    predicted = prediction_groups.groups(carrier, findings, provenance) if carrier else []
    measured = [*predicted, *(g for one in segmented for g in groups(one, provenance))]
    told = evaluations.of_findings(findings, petct, warnings, replaces=bool(evidence.predecessors))
    containers = [
        image_library.image_library(evidence.series, image_library.cited_in(measured)),
        *([imaging_measurements(measured, provenance)] if measured else []),
        evaluations.container([*told, *([] if measured else evaluations.algorithm(provenance))]),
    ]
    document = Document(
        kind=ResultKind.REPORT,
        title=codes.DCM.ImagingMeasurementReport if measured else TEXT_ONLY_TITLE,
        procedure=codes.SCT.PETCTFDGImagingOfWholeBody,
        containers=containers,
    )
    return write(document, evidence=evidence, provenance=provenance)


def refusal_report(
    reasons: Sequence[Reason],
    headers: Sequence[Dataset],
    *,
    evidence: Evidence,
    provenance: Provenance,
) -> ResultObject:
    """Return a report that says that the study was not analysed, with every coded reason.

    ``headers`` are those of the instances that it stands on.
    """
    told = evaluations.of_refusal(reasons, replaces=bool(evidence.predecessors))
    library = image_library.headers_library(headers)
    document = Document(
        kind=ResultKind.REPORT,
        title=TEXT_ONLY_TITLE,
        procedure=codes.SCT.ImagingProcedure,
        containers=[
            *([] if library is None else [library]),
            evaluations.container([*told, *evaluations.algorithm(provenance)]),
        ],
        role=REFUSAL_ROLE,
    )
    return write(document, evidence=evidence, provenance=provenance)


def imaging_measurements(
    measured: Sequence[ContainerContentItem], provenance: Provenance
) -> ContainerContentItem:
    """Return TID 1500 row 6: the algorithm and the groups that it measured."""
    imaging = ContainerContentItem(
        name=codes.DCM.ImagingMeasurements, relationship_type=RelationshipTypeValues.CONTAINS
    )
    imaging.ContentSequence = ContentSequence([*algorithm_template(provenance), *measured])
    return imaging


def write(document: Document, *, evidence: Evidence, provenance: Provenance) -> ResultObject:
    """Return a document of TID 1500: language, observer, procedure and its own containers."""
    root = ContainerContentItem(name=document.title, template_id="1500")
    reported = CodeContentItem(
        name=codes.DCM.ProcedureReported,
        value=document.procedure,
        relationship_type=RelationshipTypeValues.HAS_CONCEPT_MOD,
    )
    language = LanguageOfContentItemAndDescendants(DEFAULT_LANGUAGE)
    observer = ObservationContext(observer_device_context=device_context(provenance))
    # highdicom copies the whole tree, for questions that nobody asks it, and searches it for what
    # is no evidence, which the lint finds: it gets one item, and the tree comes after; so does the
    # evidence, hundreds of instances.
    root.ContentSequence = ContentSequence([reported])
    content = ContentSequence([*language, *observer, reported, *document.containers])
    for item in (root, *content):
        _separate(item)
    report = Comprehensive3DSR(
        evidence=[evidence.subject],
        content=root,
        series_instance_uid=document.uid("series", provenance),
        series_number=document.series_number,
        sop_instance_uid=document.uid("instance", provenance),
        instance_number=1,
        manufacturer=provenance.equipment.manufacturer,
        # Whole as far as the device can tell, but no person has verified it, and it is not the
        # definitive means of communicating findings: PRELIMINARY (PS3.3 C.17.2).
        is_complete=True,
        is_final=False,
        is_verified=False,
        previous_versions=list(evidence.predecessors) or None,
        coding_schemes=ours.coding_schemes(),
        series_description=document.series_description,
        specific_character_set="ISO_IR 192",
    )
    report.ContentSequence = content
    del report.CurrentRequestedProcedureEvidenceSequence
    return finish(
        report,
        document.kind,
        subject=evidence.subject,
        provenance=provenance,
        among=_cited(evidence),
    )


def _cited(evidence: Evidence) -> Elements:
    """Return the evidence, all of it of the study, each instance once in its series."""
    of_series: dict[str, dict[str, bytes]] = {}
    for one in evidence.instances:
        items = of_series.setdefault(one.series_instance_uid, {})
        item = joined(reference(one.sop_class_uid, one.sop_instance_uid))
        items.setdefault(one.sop_instance_uid, item)
    series = [
        joined(
            value("SeriesInstanceUID", uid.encode())
            | sequence("ReferencedSOPSequence", [*items.values()])
        )
        for uid, items in of_series.items()
    ]
    study_uid = str(evidence.subject.StudyInstanceUID)
    study = value("StudyInstanceUID", study_uid.encode()) | sequence(
        "ReferencedSeriesSequence", series
    )
    return sequence("CurrentRequestedProcedureEvidenceSequence", [joined(study)])


def device_context(provenance: Provenance) -> ObserverContext:
    """Return TID 1002: a device observes, no person."""
    return ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=device_observer(provenance),
    )


def _separate(item: Dataset) -> None:
    """Make every container SEPARATE: renderers print CONTINUOUS numbers without their names."""
    if item.get("ValueType") == "CONTAINER":
        item.ContinuityOfContent = "SEPARATE"
    for child in item.get("ContentSequence", []):
        _separate(child)
