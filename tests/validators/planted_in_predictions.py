"""Single faults to plant in what our own reports predict."""

from copy import deepcopy

from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from node.dicom import codes as ours
from node.dicom.lint import Rule
from tests.validators.planted_in_reports import every, first, without
from tests.validators.planting import Fault, adding_to

FAULTS: list[Fault] = []
fault = adding_to(FAULTS)


def group_of(ds: Dataset, task: str) -> Dataset:
    """The measurement group that predicts a task."""
    wanted = first(ds, ours.category(task))
    return next(g for g in every(ds, codes.DCM.MeasurementGroup) if wanted in g.ContentSequence)


def say(item: Dataset, code) -> None:
    """Give a coded item another value."""
    value = item.ConceptCodeSequence[0]
    value.CodeValue, value.CodeMeaning = code.value, code.meaning
    value.CodingSchemeDesignator = code.scheme_designator


@fault("SR", what="A probability became a text", rule=Rule.NUMBER)
def number_as_text(ds):
    item = first(ds, ours.probability("occult_n1"))
    item.ValueType = "TEXT"
    item.TextValue = "62.3"
    del item.MeasuredValueSequence


@fault("SR", what="A probability of 162 %", rule=Rule.NUMBER)
def probability_impossible(ds):
    item = first(ds, ours.probability("occult_n1"))
    item.MeasuredValueSequence[0].NumericValue = "162.3"


@fault("SR", what="A probability as a fraction without unit", rule=Rule.UNIT)
def probability_as_fraction(ds):
    value = first(ds, ours.probability("occult_n1")).MeasuredValueSequence[0]
    value.NumericValue = "0.62"
    unit = value.MeasurementUnitsCodeSequence[0]
    unit.CodeValue, unit.CodeMeaning = "1", "no units"


@fault("SR", what="The category contradicts the probability", rule=Rule.NUMBER)
def category_wrong(ds):
    say(first(ds, ours.category("occult_n1")), ours.LOW_RISK)


@fault("SR", what="The category is neither high nor low", rule=Rule.NUMBER)
def category_undecided(ds):
    say(first(ds, ours.category("occult_n1")), codes.SCT.ModerateRisk)


@fault("SR", what="A prediction has no cut-off", rule=Rule.NUMBER)
def no_cutoff(ds):
    without(ds, ours.cutoff("occult_n2"))


@fault("SR", what="The risk as a whole is low, though one task's is high", rule=Rule.NUMBER)
def risk_wrong(ds):
    say(first(ds, ours.NODAL_RISK), ours.LOW_RISK)


@fault("negative SR", what="Nothing was predicted, and the risk is called low", rule=Rule.NUMBER)
def risk_of_nothing(ds):
    say(first(ds, ours.NODAL_RISK), ours.LOW_RISK)


@fault("SR", what="The probabilities of N1 and N2 are in each other's group", rule=Rule.NUMBER)
def tasks_exchanged(ds):
    groups = [group_of(ds, task).ContentSequence for task in ("occult_n1", "occult_n2")]
    places = [
        next(n for n, item in enumerate(group) if item is first(ds, ours.probability(task)))
        for group, task in zip(groups, ("occult_n1", "occult_n2"), strict=True)
    ]
    (n1, n2), (one, other) = groups, places
    n1[one], n2[other] = n2[other], n1[one]


@fault("SR", what="A task is predicted twice", rule=Rule.TEMPLATE)
def predicted_twice(ds):
    group = group_of(ds, "occult_n1")
    first(ds, codes.DCM.ImagingMeasurements).ContentSequence.insert(-3, deepcopy(group))


@fault("SR", what="A category stands among the evaluations, not in its group", rule=Rule.TEMPLATE)
def category_outside(ds):
    category = first(ds, ours.category("occult_n1"))
    group_of(ds, "occult_n1").ContentSequence.remove(category)
    first(ds, ours.QUALITATIVE_EVALUATIONS).ContentSequence.append(category)


@fault("SR", what="A metastasis is the finding, as if it had been seen", rule=Rule.TRACKING)
def metastasis_found(ds):
    say(first(group_of(ds, "occult_n2"), codes.DCM.Finding), codes.SCT.Metastasis)


@fault("SR", what="The condition that is predicted is not told", rule=Rule.TEMPLATE)
def no_condition(ds):
    without(ds, ours.PREDICTED, all_of_them=False)


@fault("SR", what="The nodes of N2 stand in the group of N1", rule=Rule.TEMPLATE)
def nodes_of_the_other(ds):
    group = group_of(ds, "occult_n1")
    for item, code in zip(every(group, ours.PREDICTED_SITE), ours.nodes("occult_n2"), strict=True):
        say(item, code)


@fault("SR", what="Group and report differ on whether the model applies", rule=Rule.TEMPLATE)
def applies_and_does_not(ds):
    say(first(group_of(ds, "occult_n1"), ours.APPLICABILITY), ours.NOT_APPLICABLE)


@fault("SR", what="SUVmax stands among a prediction", rule=Rule.TEMPLATE)
def measured_and_predicted(ds):
    suv = deepcopy(first(ds, codes.DCM.Suvbw))
    group_of(ds, "occult_n1").ContentSequence.append(suv)


@fault("SR", what="A prediction does not name its network", rule=Rule.EQUIPMENT)
def network_unnamed(ds):
    without(group_of(ds, "occult_n1"), codes.DCM.AlgorithmName)


@fault("SR", what="A prediction is about no segment", rule=Rule.TRACKING)
def prediction_of_nothing(ds):
    without(group_of(ds, "occult_n1"), codes.DCM.ReferencedSegment)


@fault("SR", what="A prediction is tracked apart and has no contour", rule=Rule.VIEWER)
def prediction_tracked_apart(ds):
    first(group_of(ds, "occult_n1"), codes.DCM.TrackingUniqueIdentifier).UID = "2.25.31"


@fault("SR", what="Predictions come last, where OHIF does not list them", rule=Rule.VIEWER)
def predictions_last(ds):
    measurements = first(ds, codes.DCM.ImagingMeasurements)
    content = list(measurements.ContentSequence)
    groups = [group_of(ds, task) for task in ("occult_n1", "occult_n2")]
    measurements.ContentSequence = [*(one for one in content if one not in groups), *groups]
