"""Each prediction is a measurement group of its own, about the lesion and never the finding."""

import io
from dataclasses import replace

import highdicom as hd
import pytest
from pydicom import dcmread
from pydicom.sr.codedict import codes

from inference.applicability import unfamiliar
from inference.card import AnswerSets
from inference.findings import Prediction, Reason
from node.dicom import codes as ours
from node.instance import ResultKind
from tests import made_study

OVERT = Reason(
    code="CN_POSITIVE",
    meaning="not clinically N0: a further focus at a hilum or in the mediastinum, SUVmax up to "
    "6.2 g/ml, more than 2.5 g/ml",
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    one = made_study.study(tmp_path_factory.mktemp("predictions"))
    bundle = replace(one.findings.bundle, calibration="Platt scaling on validation data")
    return replace(one, findings=replace(one.findings, bundle=bundle))


def report_of(made, **findings):
    changed = replace(made, findings=replace(made.findings, **findings))
    objects = made_study.analyzed(changed, key_image=False)
    return dcmread(io.BytesIO(next(x.part10 for x in objects if x.kind is ResultKind.REPORT)))


@pytest.fixture(scope="module")
def report(made):
    return report_of(made)


def items(item):
    for child in item.get("ContentSequence", []):
        yield child
        yield from items(child)


def named(ds, code):
    wanted = (code.value, code.scheme_designator)
    return [item for item in items(ds) if _name(item) == wanted]


def _name(item):
    name = item.ConceptNameCodeSequence[0]
    return name.CodeValue, name.CodingSchemeDesignator


def told(ds, code):
    """The values of all items of a name: a number, a text, a UID or a code's value."""
    return [
        float(item.MeasuredValueSequence[0].NumericValue)
        if item.ValueType == "NUM"
        else item.get("TextValue") or item.get("UID") or item.ConceptCodeSequence[0].CodeValue
        for item in named(ds, code)
    ]


def groups(ds):
    return named(ds, codes.DCM.MeasurementGroup)


def predicting(ds):
    return [group for group in groups(ds) if named(group, ours.PREDICTED)]


def test_there_is_a_group_for_each_task_with_probability_cut_off_and_side(report):
    """N1 62.34 % over 50 %, N2 12.5 % under 40 %."""
    n1, n2 = predicting(report)

    for group, task, numbers, side in (
        (n1, "occult_n1", (62.3, 50.0), ours.HIGH_RISK),
        (n2, "occult_n2", (12.5, 40.0), ours.LOW_RISK),
    ):
        assert told(group, ours.probability(task)) == [numbers[0]]
        assert told(group, ours.cutoff(task)) == [numbers[1]]
        assert told(group, ours.category(task)) == [side.value]
    for task in ("occult_n1", "occult_n2"):
        for of in (ours.probability, ours.cutoff, ours.category):
            assert len(named(report, of(task))) == 1  # and nowhere else


def test_the_condition_and_its_nodes_are_told_beside_the_finding(report):
    """Finding and site are the tumour's: a low risk of a metastasis must not read as one."""
    n1, n2 = predicting(report)

    for group in (n1, n2):
        assert told(group, codes.DCM.Finding) == [codes.SCT.NeoplasmPrimary.value]
        assert told(group, codes.SCT.FindingSite) == [codes.SCT.Lung.value]
        assert told(group, ours.PREDICTED) == [codes.SCT.Metastasis.value]
    assert told(n1, ours.PREDICTED_SITE) == ["53074004", "196662004"]  # hilar, intrapulmonary
    assert told(n2, ours.PREDICTED_SITE) == ["62683002", "28330007"]  # mediastinal, subcarinal


def test_a_group_is_about_the_segment_of_the_primary_and_tracked_as_it(report):
    *others, lesion, _, _ = groups(report)

    assert others == predicting(report)
    for group in others:
        assert group.ContentTemplateSequence[0].TemplateIdentifier == "1411"
        for code in (codes.DCM.TrackingUniqueIdentifier, codes.DCM.TrackingIdentifier):
            assert told(group, code) == told(lesion, code)
        (segment,) = named(group, codes.DCM.ReferencedSegment)
        assert segment.ReferencedSOPSequence[0].ReferencedSegmentNumber == 1


def test_a_viewer_that_lists_five_numbers_of_a_lesion_lists_the_predictions(report):
    """OHIF joins the groups of one Tracking UID in the order of the document."""
    numbers = [item for group in groups(report) for item in items(group) if item.ValueType == "NUM"]

    assert [item.ConceptNameCodeSequence[0].CodeMeaning for item in numbers[:5]] == [
        "Probability of occult N1 metastasis",
        "Cut-off for occult N1 metastasis",
        "Probability of occult N2 metastasis",
        "Cut-off for occult N2 metastasis",
        "SUVbw",
    ]
    assert told(report, codes.DCM.Derivation)[0] == codes.SCT.Maximum.value


def test_a_group_names_the_network_and_how_it_was_calibrated(made, report):
    bundle = made.findings.bundle

    for group in predicting(report):
        assert told(group, codes.DCM.AlgorithmName) == ["petct-node"]
        assert told(group, codes.DCM.AlgorithmParameters) == [
            f"bundle={bundle.name} {bundle.version}"
        ]
        assert told(group, ours.CALIBRATION) == [bundle.calibration]
        last = [_name(item)[0] for item in group.ContentSequence][-3:]
        assert last == ["CALIBRATION", "121191", "121232"]  # then the segment and its series
    assert len(named(report, ours.CALIBRATION)) == 2


def test_without_a_note_on_calibration_there_is_no_empty_one(made):
    bundle = replace(made.findings.bundle, calibration="")

    assert not named(report_of(made, bundle=bundle), ours.CALIBRATION)


def test_a_group_tells_in_words_which_answers_remain_possible(made):
    """Text, not a code: what is merely possible is not what was predicted."""
    sets = AnswerSets(coverage=0.9, positive_from=0.2, negative_to=0.6, positives=99, negatives=99)
    unsure = [replace(one, answers=sets) for one in made.findings.predictions]
    unsure[0], unsure[1] = (replace(unsure[0], probability=0.5), replace(unsure[1], answers=None))

    report = report_of(made, predictions=tuple(unsure))

    (told_of_n1,) = told(report, ours.POSSIBLE)
    assert told_of_n1.startswith("Both, positive and negative")
    assert "90 % of the positive and in 90 % of the negative cases" in told_of_n1
    assert ours.POSSIBLE.value in [_name(one)[0] for one in predicting(report)[0].ContentSequence]


def test_a_prediction_that_the_card_does_not_cover_is_marked_in_its_group(made):
    reason = Reason(code="SLICES_THICK", meaning="CT slices of 10 mm")

    marked = report_of(made, applicable=False, inapplicable=(reason,))

    assert told(marked, ours.APPLICABILITY) == ["NOT_APPLICABLE"] * 3  # N1, N2 and the report
    assert told(marked, ours.NODAL_RISK) == ["15508007"]


def test_what_the_networks_did_not_learn_from_is_said_in_a_code_and_in_words(made):
    """The code's meaning ends in dots, because a coded meaning has 64 characters at most."""
    n1, n2 = made.findings.predictions
    far = (replace(n1, distance=31.24, distance_max=19.9), n2)

    marked = report_of(
        made, predictions=far, applicable=False, inapplicable=(*unfamiliar(far), OVERT)
    )

    assert told(marked, ours.APPLICABILITY) == ["NOT_APPLICABLE"] * 3
    code, words, overt, overt_words = told(marked, ours.INAPPLICABLE_REASON)
    assert (code, overt) == ("UNLIKE_TRAINING", "CN_POSITIVE")
    assert words == (
        "UNLIKE_TRAINING: the networks' features differ from those of their training set: "
        "occult_n1 by 31.2, at most 19.9"
    )
    assert overt_words == f"CN_POSITIVE: {OVERT.meaning}"
    assert told(marked, ours.probability("occult_n1")) == [62.3]  # shown all the same


def test_what_was_not_predicted_is_said_and_has_no_group(made):
    withheld = report_of(made, predictions=())

    assert predicting(withheld) == []
    assert told(withheld, ours.NODAL_RISK) == ["NOT_PREDICTED"]
    assert len(groups(withheld)) == 3


@pytest.mark.parametrize(("second", "risk"), [(0.39, "75976002"), (0.41, "15508007")])
def test_the_risk_as_a_whole_is_high_if_one_prediction_is(made, second, risk):
    both = (
        Prediction(task="occult_n1", probability=0.1, cutoff=0.5),
        Prediction(task="occult_n2", probability=second, cutoff=0.4),
    )

    assert told(report_of(made, predictions=both), ours.NODAL_RISK) == [risk]


def test_numbers_have_as_many_decimals_as_tell_them_apart(made):
    """27.314 % over 27.29 %: with one decimal both were 27.3, and the category a riddle."""
    close = (Prediction(task="occult_n1", probability=0.27314, cutoff=0.2729),)

    (group,) = predicting(report_of(made, predictions=close))

    assert told(group, ours.probability("occult_n1")) == [27.31]
    assert told(group, ours.cutoff("occult_n1")) == [27.29]


def test_a_task_of_another_bundle_has_a_group_without_nodes(made):
    other = (Prediction(task="recurrence", probability=0.3, cutoff=0.2),)

    (group,) = predicting(report_of(made, predictions=other))

    assert told(group, ours.category("recurrence")) == ["15508007"]
    assert not named(group, ours.PREDICTED_SITE)


def test_highdicom_reads_three_groups_of_one_tracking_uid(report):
    buffer = io.BytesIO()
    report.save_as(buffer)
    buffer.seek(0)

    content = hd.sr.srread(buffer).content

    uids = {group.tracking_uid for group in content.get_volumetric_roi_measurement_groups()}
    assert len(content.get_volumetric_roi_measurement_groups()) == 3
    assert len(uids) == 1
