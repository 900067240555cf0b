"""What an analysis, or a refusal, becomes for the PACS: reports, images and what they stand on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Literal

from pydicom.dataset import Dataset
from pydicom.uid import UID

from inference.findings import Findings, Reason
from inference.petct import PetCt
from inference.stages import stage
from node.dicom import source
from node.dicom.groundwork import Groundwork
from node.dicom.hydratable import editable_report
from node.dicom.key_image import key_image
from node.dicom.lesion_groups import Segmented
from node.dicom.provenance import Equipment, Provenance, of_findings
from node.dicom.rejection import rejection
from node.dicom.rotating_mip import rotating_mip
from node.dicom.saliency_map import saliency_maps
from node.dicom.seg import segmentation
from node.dicom.series import Choice
from node.dicom.sr import REFUSAL_ROLE, Evidence, measurement_report, refusal_report
from node.errors import UnusableStudy
from node.instance import ResultKind, ResultObject

__all__ = ["Equipment", "Predecessor", "ResultOptions", "analyzed", "refused"]


@dataclass(frozen=True, kw_only=True)
class Predecessor:
    """An object of the study's earlier result, which the new one replaces."""

    kind: ResultKind = ResultKind.REPORT
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str


@dataclass(frozen=True, kw_only=True)
class ResultOptions:
    """What is made of the findings."""

    segmentation_grid: Literal["CT", "PET"] = "CT"
    key_image: bool = True
    rotating_mip: bool = False
    """Whether the PET is also shown turning round its long axis."""
    saliency_map: bool = True
    """Whether a map of each task shows where its network looked."""
    hydratable: bool = False
    """Whether a second report brings axes that a reader can move in OHIF."""
    supersede: Literal["none", "reject"] = "none"
    """What becomes of the earlier result where there is one: it stays, or it is rejected."""
    rejection_title: Literal["113039", "113001"] = "113039"
    predecessors: tuple[Predecessor, ...] = ()
    """The objects of the earlier result; its reports are named as predecessors."""


@source.tolerant()
def analyzed(  # noqa: PLR0913 - key and time are the run's identity
    choice: Choice,
    petct: PetCt,
    findings: Findings,
    *,
    equipment: Equipment,
    key: str,
    when: datetime,
    options: ResultOptions,
    ground: Groundwork | None = None,
) -> tuple[ResultObject, ...]:
    """Return the report and, as there are lesions and as ``options`` say, the other objects.

    The same ``key``, findings and ``when`` make the same bytes; UIDs depend on ``key`` alone.
    Segmentation and maps stand before the report that cites them. ``ground`` was laid for the same
    study, key and time; without it there is none yet.
    """
    provenance = of_findings(findings, equipment=equipment, key=key, when=when)
    ground = ground or Groundwork(
        choice=choice,
        petct=petct,
        equipment=equipment,
        key=key,
        when=when,
        segmented_on=options.segmentation_grid,
    )
    subject = ground.subject
    segmented = _segmented(ground, findings, options, provenance)
    shown = [
        *([segmented[0].segmentation] if segmented else []),
        *_maps(ground, findings, options, provenance),
    ]
    evidence = Evidence(
        subject=subject,
        instances=[
            *source.references(choice.ct),
            *source.references(choice.pet),
            *_given(choice, petct, findings),
            *(_cited(one) for one in shown),
        ],
        predecessors=_earlier(options, ResultKind.REPORT),
        series=ground.series,
    )
    warnings = _distinct((*choice.warnings, *petct.warnings, *findings.warnings))
    with stage("report"):
        report = measurement_report(
            findings, segmented, warnings, petct=petct, evidence=evidence, provenance=provenance
        )
    pictures = _pictures(ground, findings, options, provenance)
    editable = (
        [_editable(segmented, choice, options, subject, provenance)]
        if options.hydratable and segmented
        else []
    )
    return (*shown, report, *editable, *pictures, *_rejection(options, subject, provenance))


@source.tolerant()
def refused(
    headers: Sequence[Path],
    reasons: Sequence[Reason],
    *,
    equipment: Equipment,
    key: str,
    when: datetime,
    options: ResultOptions = ResultOptions(),
) -> tuple[ResultObject, ...]:
    """Return a report that says why a study was not analysed, on whatever images it has.

    Files that are no DICOM instances, or of another study than the first, are passed over.
    Raises UnusableStudy where there is no image, since a report must name patient and study.
    """
    read = [header for path in headers if (header := source.read_header(path)) is not None]
    if not any(_is_image(header) for header in read):
        raise UnusableStudy("NO_IMAGES", "no readable image to report on")
    read.sort(key=lambda header: not _is_image(header))  # only images tell all of the patient
    study = [one for one in read if one.StudyInstanceUID == read[0].StudyInstanceUID]
    subject = source.subject(study)
    provenance = Provenance(equipment=equipment, key=key, when=when)
    options = _without(options, provenance.uid(f"instance {REFUSAL_ROLE}"))
    evidence = Evidence(
        subject=subject,
        instances=[source.Reference.of(header) for header in study],
        predecessors=_earlier(options, ResultKind.REPORT),
    )
    report = refusal_report(reasons, study, evidence=evidence, provenance=provenance)
    return (report, *_rejection(options, subject, provenance))


def _segmented(
    ground: Groundwork, findings: Findings, options: ResultOptions, provenance: Provenance
) -> list[Segmented]:
    """Return every lesion with its segment, or nothing where there is no lesion."""
    if not findings.lesions:
        return []
    on_ct = (ground.choice.ct, [lesion.on_ct for lesion in findings.lesions])
    on_pet = (ground.choice.pet, [lesion.on_pet for lesion in findings.lesions])
    # A lesion that is too small to have a voxel on the CT has one on the PET.
    use_ct = options.segmentation_grid == "CT" and not any(region.is_empty for region in on_ct[1])
    (series, regions), (other, others) = (on_ct, on_pet) if use_ct else (on_pet, on_ct)
    with stage("segmentation"):
        seg = segmentation(
            findings.lesions,
            regions,
            series=series,
            subject=ground.subject,
            provenance=provenance,
            head=ground.head if series.modality == ground.head.series.modality else None,
        )
    return [
        Segmented(
            lesion=lesion,
            number=number,
            segmentation=seg,
            on=series,
            region=regions[number - 1],
            also_on=other,
            also_region=others[number - 1],
        )
        for number, lesion in enumerate(findings.lesions, 1)
    ]


def _maps(
    ground: Groundwork, findings: Findings, options: ResultOptions, provenance: Provenance
) -> list[ResultObject]:
    """Return where each network looked, as far as the networks tell and where it is asked for."""
    if not options.saliency_map or not findings.saliency:
        return []
    with stage("saliency"):
        return saliency_maps(
            findings.saliency,
            series=ground.choice.pet,
            grid=ground.petct.pet.grid,
            subject=ground.subject,
            provenance=provenance,
            whole=ground.frames,
        )


def _pictures(
    ground: Groundwork, findings: Findings, options: ResultOptions, provenance: Provenance
) -> list[ResultObject]:
    drawn = []
    for name, draw, wanted in (
        ("key_image", partial(key_image, body=ground.body), options.key_image),
        ("rotating_mip", rotating_mip, options.rotating_mip),
    ):
        if wanted:
            with stage(name):
                made = draw(
                    ground.choice,
                    ground.petct,
                    findings,
                    subject=ground.subject,
                    provenance=provenance,
                )
                drawn.append(made)
    return drawn


def _editable(
    segmented: Sequence[Segmented],
    choice: Choice,
    options: ResultOptions,
    subject: Dataset,
    provenance: Provenance,
) -> ResultObject:
    """Return the second report; it stands on the images alone, which is all that it draws on."""
    drawn_on = choice.ct if segmented[0].on is choice.ct else choice.pet
    evidence = Evidence(
        subject=subject,
        instances=source.references(drawn_on),
        predecessors=_earlier(options, ResultKind.EDITABLE),
    )
    return editable_report(segmented, evidence=evidence, provenance=provenance)


def _without(options: ResultOptions, sop_instance_uid: str) -> ResultOptions:
    """Return the options without the earlier result if it is the one about to be made again."""
    own = any(one.sop_instance_uid == sop_instance_uid for one in options.predecessors)
    return replace(options, predecessors=()) if own else options


def _earlier(options: ResultOptions, kind: ResultKind) -> list[Dataset]:
    return [_reference(one) for one in options.predecessors if one.kind is kind]


def _rejection(
    options: ResultOptions, subject: Dataset, provenance: Provenance
) -> list[ResultObject]:
    """Return the rejection of all that the earlier result showed, where it is to be rejected."""
    shown = [one for one in options.predecessors if one.kind is not ResultKind.REJECTION]
    if options.supersede == "none" or not shown:
        return []
    return [
        rejection(
            [_reference(one) for one in shown],
            title=options.rejection_title,
            subject=subject,
            provenance=provenance,
        )
    ]


def _given(choice: Choice, petct: PetCt, findings: Findings) -> list[source.Reference]:
    """Return the documents whose contours became lesions."""
    sources = {lesion.source for lesion in findings.lesions}
    used = {given.sop_instance_uid for given in petct.given if given.source in sources}
    return [
        source.Reference(
            sop_class_uid=document.sop_class_uid,
            sop_instance_uid=document.sop_instance_uid,
            series_instance_uid=document.series_instance_uid,
        )
        for document in choice.documents
        if document.sop_instance_uid in used
    ]


def _is_image(header: Dataset) -> bool:
    return UID(header.SOPClassUID).name.endswith("Image Storage")


def _cited(made: ResultObject) -> source.Reference:
    return source.Reference(
        sop_class_uid=made.sop_class_uid,
        sop_instance_uid=made.sop_instance_uid,
        series_instance_uid=made.series_instance_uid,
    )


def _reference(instance: Predecessor) -> Dataset:
    return source.reference(
        sop_class_uid=instance.sop_class_uid,
        sop_instance_uid=instance.sop_instance_uid,
        series_instance_uid=instance.series_instance_uid,
        study_instance_uid=instance.study_instance_uid,
    )


def _distinct(reasons: Sequence[Reason]) -> list[Reason]:
    return list(dict.fromkeys(reasons))
