"""What the networks predict of a lesion, as a measurement group for each task (TID 1411).

The group is about the lesion that the networks looked at: its segment, its Tracking UID, its
finding and site. The condition that is predicted is told beside them and is never the finding,
lest a reader of codes take a low risk of a metastasis for a metastasis.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
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

from inference.card import Possible
from inference.findings import Findings, Prediction, in_percent
from node.dicom import codes as ours
from node.dicom.lesion_groups import Segmented, volumetric
from node.dicom.provenance import Provenance

_OF_THE_NETWORK: Final = "bundle="
_ANSWERS: Final[Mapping[Possible, str]] = MappingProxyType(
    {
        Possible.POSITIVE: "Positive alone",
        Possible.NEGATIVE: "Negative alone",
        Possible.BOTH: "Both, positive and negative: the probability does not tell",
        Possible.NEITHER: "Neither: unlike both the positive and the negative cases",
    }
)


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
    # highdicom takes codes alone for evaluations; the last two items are the segment's.
    for note in _notes(prediction, findings):
        group.ContentSequence.insert(-2, note)
    return group


def _notes(prediction: Prediction, findings: Findings) -> Iterator[TextContentItem]:
    """Yield what is said of the probability in words: what it leaves open, how it was calibrated.

    The answers are text and no codes, lest a reader of codes take one that is only possible for
    one that was given.
    """
    told = {ours.POSSIBLE: _possible(prediction), ours.CALIBRATION: findings.bundle.calibration}
    for name, value in told.items():
        if value:
            yield TextContentItem(
                name=name, value=value, relationship_type=RelationshipTypeValues.CONTAINS
            )


def _possible(prediction: Prediction) -> str:
    if prediction.answers is None or prediction.possible is None:
        return ""
    share = f"{100 * prediction.answers.coverage:g} %"
    return (
        f"{_ANSWERS[prediction.possible]}. Sets of answers made in this way hold the truth in "
        f"{share} of the positive and in {share} of the negative cases, among cases like those "
        "that they were made on"
    )


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
