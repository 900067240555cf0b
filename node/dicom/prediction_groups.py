"""What the networks predict of a lesion, as a measurement group for each task (TID 1411).

The group is about the lesion that the networks looked at: its segment, its Tracking UID, its
finding and site. The condition that is predicted is told beside them and is never the finding,
lest a reader of codes take a low risk of a metastasis for a metastasis.
"""

from collections.abc import Iterator
from typing import Final

from highdicom.sr import (
    AlgorithmIdentification,
    ContainerContentItem,
    Measurement,
    QualitativeEvaluation,
    RelationshipTypeValues,
    TextContentItem,
)
from pydicom.sr.coding import Code

from inference.findings import Findings, Prediction, in_percent
from node.dicom import codes as ours
from node.dicom.lesion_groups import Segmented, volumetric
from node.dicom.provenance import Provenance

_OF_THE_NETWORK: Final = "bundle="


def groups(
    segmented: Segmented, findings: Findings, provenance: Provenance
) -> list[ContainerContentItem]:
    """Return one group for each prediction, in their order; none where nothing was predicted."""
    return [_group(one, segmented, findings, provenance) for one in findings.predictions]


def _group(
    prediction: Prediction, segmented: Segmented, findings: Findings, provenance: Provenance
) -> ContainerContentItem:
    probability, cutoff = in_percent(prediction.probability, prediction.cutoff)
    group = volumetric(
        segmented,
        provenance,
        algorithm=_network(provenance),
        measurements=[
            _percentage(ours.probability(prediction.task), probability),
            _percentage(ours.cutoff(prediction.task), cutoff),
        ],
        evaluations=list(_evaluations(prediction, applicable=findings.applicable)),
    )
    if findings.bundle.calibration:
        # highdicom takes codes alone for evaluations; the last two items are the segment's.
        note = TextContentItem(
            name=ours.CALIBRATION,
            value=findings.bundle.calibration,
            relationship_type=RelationshipTypeValues.CONTAINS,
        )
        group.ContentSequence.insert(-2, note)
    return group


def _evaluations(prediction: Prediction, *, applicable: bool) -> Iterator[QualitativeEvaluation]:
    """Yield the side of the cut-off, what is predicted and where, and whether the model applies."""
    task = prediction.task
    level = ours.HIGH_RISK if prediction.high else ours.LOW_RISK
    yield QualitativeEvaluation(ours.category(task), level)
    yield QualitativeEvaluation(ours.PREDICTED, ours.METASTASIS)
    for nodes in ours.nodes(task):
        yield QualitativeEvaluation(ours.PREDICTED_SITE, nodes)
    applies = ours.APPLICABLE if applicable else ours.NOT_APPLICABLE
    yield QualitativeEvaluation(ours.APPLICABILITY, applies)


def _percentage(name: Code, value: str) -> Measurement:
    return Measurement(name=name, value=float(value), unit=ours.PERCENT)


def _network(provenance: Provenance) -> AlgorithmIdentification:
    """Return TID 4019 with the bundle; its digest and what it ran on stand above all groups."""
    told = [one for one in provenance.algorithm_parameters if one.startswith(_OF_THE_NETWORK)]
    return AlgorithmIdentification(
        name=provenance.equipment.model_name,
        version=provenance.equipment.software_version,
        parameters=told or None,
    )
