"""The instances of one study, turned into its outcome: findings or a coded refusal, and objects."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from inference.analyze import Model, analyze
from inference.findings import Findings, Reason
from inference.lesion import LesionRules
from inference.stages import Recording, recorded, stage
from node.config import Selection
from node.dicom import lint, results, series, volumes
from node.dicom.groundwork import Groundwork
from node.dicom.provenance import of_findings
from node.document import analyzed_document, refused_document
from node.errors import UnusableStudy
from node.instance import ResultObject

logger = logging.getLogger(__name__)

Made = Callable[[Sequence[ResultObject]], None]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What every study of an installation is analysed with."""

    model: Model
    lesion: LesionRules
    selection: Selection
    equipment: results.Equipment
    options: results.ResultOptions
    refusals: bool
    """Whether a refused study yields a report that says so."""

    def key(self, study_instance_uid: str, instance_set_digest: str) -> str:
        """Return what the UIDs of a study's results derive from.

        The same instances, bundle and software give the same UIDs; any other makes new objects.
        """
        bundle, software = self.model.bundle.digest, self.equipment.software_version
        return f"{study_instance_uid} {instance_set_digest} {bundle} {software}"


@dataclass(frozen=True, kw_only=True)
class Conclusion:
    """The one visible end of a study."""

    study_instance_uid: str
    reasons: tuple[Reason, ...]
    """Why the study was refused; empty when it was analysed."""
    document: Mapping[str, Any]
    """What ``findings.json`` holds."""
    objects: tuple[ResultObject, ...]
    findings: Findings | None = None
    """What was found, with its masks; None where the study was refused."""

    @property
    def refused(self) -> bool:
        """Whether the study will never yield a result."""
        return bool(self.reasons)


@dataclass(frozen=True, kw_only=True)
class StudyOnDisk:
    """The files of one study, and the key that all UIDs of its results derive from."""

    study_instance_uid: str
    paths: Sequence[Path]
    key: str
    warnings: tuple[Reason, ...] = ()
    """What is to be said of the set of files; it goes into the findings and the report."""
    predecessors: tuple[results.Predecessor, ...] = ()
    """The objects of the study's earlier result, which this one replaces."""


def conclude(
    study: StudyOnDisk,
    recipe: Recipe,
    *,
    when: datetime,
    clock: Callable[[], float],
    made: Made = lambda _: None,
) -> Conclusion:
    """Analyse one study; a study that cannot be used comes back refused, with its coded reason.

    ``when`` (aware) dates the result objects, ``clock`` gives seconds for the timings. ``made``
    hears of the objects of an analysis before the last look at them, after which it is known
    whether the conclusion holds them.
    """
    with recorded(clock) as recording:
        try:
            return _analyzed(study, recipe, when=when, recording=recording, made=made)
        except UnusableStudy as unusable:
            logger.warning(
                "refused a study: %s",
                unusable.reason.code,
                extra={"study": study.study_instance_uid},
            )
            with stage("refuse"):
                return _refused(study, recipe, unusable.reason, when=when)


def _analyzed(
    study: StudyOnDisk, recipe: Recipe, *, when: datetime, recording: Recording, made: Made
) -> Conclusion:
    with stage("read"):
        with stage("choose"):
            choice = series.choose(study.paths)
        petct = volumes.load(
            choice,
            contour_names=recipe.selection.contour_names,
            contour_codes=recipe.selection.contour_codes,
        )
    petct = replace(petct, warnings=(*petct.warnings, *study.warnings))
    ground = Groundwork(
        choice=choice,
        petct=petct,
        equipment=recipe.equipment,
        key=study.key,
        when=when,
        maps=recipe.options.saliency_map,
        key_image=recipe.options.key_image,
        segmented_on=recipe.options.segmentation_grid,
        provenance=of_findings(
            recipe.model.found_nothing(), equipment=recipe.equipment, key=study.key, when=when
        ),
        tasks=[task.name for task in recipe.model.bundle.tasks],
    )
    findings = analyze(petct, model=recipe.model, rules=recipe.lesion, meanwhile=ground.lay)
    with stage("write"):
        objects = results.analyzed(
            choice,
            petct,
            findings,
            equipment=recipe.equipment,
            key=study.key,
            when=when,
            options=replace(recipe.options, predecessors=study.predecessors),
            ground=ground,
        )
    made(objects)
    with stage("check"):
        faults = _faults(objects, ground.source)
    if faults:
        raise UnusableStudy(faults[0].code, faults[0].meaning)
    findings = replace(findings, timings_s=recording.seconds)
    return Conclusion(
        study_instance_uid=study.study_instance_uid,
        reasons=(),
        document=analyzed_document(petct, findings),
        objects=objects,
        findings=findings,
    )


def _refused(study: StudyOnDisk, recipe: Recipe, reason: Reason, *, when: datetime) -> Conclusion:
    objects: tuple[ResultObject, ...] = ()
    faults: tuple[Reason, ...] = ()
    if recipe.refusals:
        try:
            objects = results.refused(
                study.paths,
                (reason,),
                equipment=recipe.equipment,
                key=study.key,
                when=when,
                options=replace(recipe.options, predecessors=study.predecessors),
            )
            faults = _faults(objects, lint.Source.of_files(study.paths))
        except UnusableStudy as without_images:
            logger.warning("no report on the refusal: %s", without_images.reason.meaning)
    reasons = (reason, *faults[:1])
    return Conclusion(
        study_instance_uid=study.study_instance_uid,
        reasons=reasons,
        document=refused_document(study.study_instance_uid, reasons),
        objects=() if faults else objects,
    )


def _faults(objects: Sequence[ResultObject], source: lint.Source) -> tuple[Reason, ...]:
    """Return why the objects must not be sent, having logged each fault; empty where they may."""
    faults = lint.check(objects, source)
    for fault in faults:
        logger.error(
            "%s in a result: %s",
            fault.code,
            fault.detail,
            extra={"study": source.study_instance_uid, "instance": fault.sop_instance_uid},
        )
    return tuple(fault.reason for fault in faults)
