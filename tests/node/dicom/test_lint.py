"""The lint is silent over every kind of object that we make, and never breaks over a bad one."""

import io
import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread

from inference.findings import Prediction, Reason
from inference.lesion import LesionRules, locate
from node.config import Selection
from node.dicom import lint, results, series, volumes
from node.errors import UnusableStudy
from node.instance import ResultKind
from tests import made_study

COMMON = {"equipment": made_study.EQUIPMENT, "key": "k", "when": made_study.WHEN}
REASON = Reason(code="SLICES_THICK", meaning="CT slices of 10 mm, which is more than 5 mm" * 3)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return made_study.study(tmp_path_factory.mktemp("lint"))


def analyzed(made, **options):
    return results.analyzed(
        made.choice,
        made.petct,
        made.findings,
        options=results.ResultOptions(**options),
        **COMMON,
    )


@pytest.fixture(scope="module")
def pair(made):
    """A Segmentation and its report."""
    return analyzed(made, key_image=False)


def faults_of(made, objects):
    return [
        (one.code, one.detail)
        for one in lint.check(objects, lint.Source.of(made.choice, made.petct))
    ]


def single(made):
    return made


def several(made):
    focus = made_study.lesion(
        label="focus-1",
        on_ct=made_study.ball(made_study.CT_GRID, (-50, 0, 0), 9),
        on_pet=made_study.ball(made_study.PET_GRID, (-50, 0, 0), 9),
        laterality="midline",
    )
    return replace(made, findings=made_study.findings(made_study.lesion(), focus))


def negative(made):
    withheld = made_study.findings(predictions=(), applicable=False, inapplicable=(REASON,))
    return replace(made, findings=withheld)


def drawn(made):
    lesion = made_study.lesion(source="RTSTRUCT", site=None, suv_peak=None, explanation="x" * 900)
    return replace(made, findings=made_study.findings(lesion))


EARLIER = tuple(
    results.Predecessor(
        kind=kind,
        sop_class_uid=sop_class_uid,
        sop_instance_uid=f"2.25.9{number}",
        series_instance_uid=f"2.25.8{number}",
        study_instance_uid=made_study.STUDY_UID,
    )
    for number, (kind, sop_class_uid) in enumerate(
        (
            (ResultKind.REPORT, "1.2.840.10008.5.1.4.1.1.88.34"),
            (ResultKind.SEGMENTATION, "1.2.840.10008.5.1.4.1.1.66.4"),
            (ResultKind.KEY_IMAGE, "1.2.840.10008.5.1.4.1.1.7"),
        )
    )
)


def marked(made):
    """Unusual for the card, but predicted."""
    unusual = made_study.findings(
        made_study.lesion(), made_study.lesion(label="focus-1"), applicable=False
    )
    return replace(made, findings=replace(unusual, inapplicable=(REASON,)))


def withheld(made):
    """A lesion of which nothing was predicted, between the voxels of the CT."""
    nothing = made_study.findings(
        made_study.between_voxels(), predictions=(), applicable=False, inapplicable=(REASON,)
    )
    return replace(made, findings=nothing)


def of_another_task(made):
    long_name = Prediction(task="occult_metastasis_anywhere", probability=0.3, cutoff=0.2)
    return replace(
        made, findings=made_study.findings(made_study.lesion(), predictions=(long_name,))
    )


@pytest.mark.parametrize("grid", ["CT", "PET"])
@pytest.mark.parametrize(
    "study",
    [
        single,
        several,
        negative,
        drawn,
        marked,
        withheld,
        of_another_task,
        made_study.multiframe,
    ],
    ids=lambda of: of.__name__,
)
def test_it_is_silent_over_what_an_analysis_makes(made, study, grid):
    case = study(made)

    assert faults_of(case, analyzed(case, segmentation_grid=grid)) == []


@pytest.mark.parametrize(
    ("probability", "cutoff"),
    [(0.0, 0.5), (1.0, 0.999999), (0.25, 0.25), (0.25 + 1e-12, 0.25), (0.27314, 0.2729)],
)
def test_it_is_silent_over_a_prediction_however_near_to_its_cut_off(made, probability, cutoff):
    one = Prediction(task="occult_n1", probability=probability, cutoff=cutoff)
    close = made_study.findings(made_study.lesion(), predictions=(one,))
    case = replace(made, findings=close)

    assert faults_of(case, analyzed(case, key_image=False)) == []


@pytest.mark.parametrize("study", [several, negative], ids=lambda of: of.__name__)
@pytest.mark.parametrize("title", ["113039", "113001"])
def test_it_is_silent_over_a_next_version(made, study, title):
    case = study(made)
    objects = analyzed(
        case, hydratable=True, supersede="reject", rejection_title=title, predecessors=EARLIER
    )

    assert ResultKind.REJECTION in {one.kind for one in objects}
    assert faults_of(case, objects) == []


def test_it_is_silent_over_a_refusal_that_replaces_a_result(made):
    options = results.ResultOptions(supersede="reject", predecessors=EARLIER)
    paths = made.choice.ct.paths

    objects = results.refused(paths, [REASON], options=options, **COMMON)

    assert len(objects) == 2
    assert lint.check(objects, lint.Source.of_files(paths)) == ()


def test_it_is_silent_over_a_refusal_whatever_files_lie_beside_the_images(made, tmp_path):
    other = tmp_path / "0.txt"
    other.write_text("not DICOM", encoding="utf-8")
    paths = [other, *made.choice.pet.paths, *made.choice.ct.paths]

    objects = results.refused(paths, [REASON], **COMMON)

    assert lint.check(objects, lint.Source.of_files(paths)) == ()


@pytest.mark.parametrize(
    "header",
    [
        {"PatientName": "Жданов^Иван", "StudyDescription": "Обследование"},
        {"PatientID": "7" * 70, "AccessionNumber": "A" * 20},
        {"PatientBirthDate": "", "PatientSex": "", "StudyID": "ABCDEFGHIJKLMNOPQ"},
        {"PatientIdentityRemoved": "YES", "TimezoneOffsetFromUTC": "+0530"},
    ],
    ids=["cyrillic", "too long", "blank", "de-identified"],
)
def test_it_is_silent_over_what_the_source_itself_says(tmp_path, header):
    with results.source.tolerant():
        made = made_study.study(tmp_path, **header)

    assert faults_of(made, analyzed(made)) == []
    refusal = results.refused(made.choice.ct.paths, [REASON], **COMMON)
    assert lint.check(refusal, lint.Source.of_files(made.choice.ct.paths)) == ()


def test_a_uid_of_the_source_with_leading_zeros_is_cited_as_it_is(made):
    planes = tuple(
        replace(plane, sop_instance_uid=f"1.2.03.{index}")
        for index, plane in enumerate(made.choice.ct.planes)
    )
    ct = replace(made.choice.ct, planes=planes)
    case = replace(made, choice=replace(made.choice, ct=ct))

    with results.source.tolerant():
        objects = analyzed(case)

    assert faults_of(case, objects) == []
    # What the source does not hold must conform.
    assert ("LINT_VALUE", "ReferencedSOPInstanceUID is not a valid UI") in faults_of(made, objects)


def test_it_is_silent_over_a_real_study(test_data):
    folder = test_data / "ibsi-sts-petct-gml" / "STS_002"
    if not folder.is_dir():
        pytest.skip(f"no {folder.name} in {folder.parent}")
    choice = series.choose([path for path in folder.rglob("*") if path.is_file()])
    selection = Selection()
    petct = volumes.load(
        choice,
        contour_names=selection.contour_names,
        contour_codes=selection.contour_codes,
    )
    findings = made_study.findings(*locate(petct, LesionRules()))
    case = made_study.MadeStudy(choice=choice, petct=petct, findings=findings)

    assert faults_of(case, analyzed(case)) == []


def test_a_fault_names_rule_and_object_and_fits_a_report(made):
    objects = analyzed(made)
    report = next(one for one in objects if one.kind is ResultKind.REPORT)
    alone = [one for one in objects if one.kind is not ResultKind.SEGMENTATION]

    (fault, *_) = lint.check(alone, lint.Source.of(made.choice, made.petct))

    assert fault.code == "LINT_TRACKING"
    assert fault.sop_instance_uid == report.sop_instance_uid
    assert fault.reason.meaning.startswith("Report and Segmentation do not track the same lesions:")
    assert all(len(rule) <= 16 and len(lint.MEANINGS[rule]) <= 64 for rule in lint.Rule)


def test_a_report_that_tells_nothing_of_a_segment_is_caught(made):
    one_lesion = next(x for x in analyzed(made) if x.kind is ResultKind.REPORT)
    two_segments = next(x for x in analyzed(several(made)) if x.kind is ResultKind.SEGMENTATION)

    assert ("LINT_TRACKING", "the report tells nothing of a segment") in faults_of(
        made, [two_segments, one_lesion]
    )


def test_results_of_another_patients_images_are_caught(made, tmp_path):
    other = made_study.study(tmp_path, PatientID="P2", PatientName="Phantom^Square")

    told = faults_of(other, analyzed(made))

    assert told.count(("LINT_IDENTITY", "PatientID differs from the images'")) == 3


def test_nothing_of_the_patient_is_told_in_a_fault(made, tmp_path):
    other = made_study.study(tmp_path, PatientID="SECRET1", PatientName="Secret^Name")

    said = str(faults_of(other, analyzed(made)))

    assert not any(word in said for word in ("SECRET1", "Secret", "Round", "P1"))


def test_bytes_that_are_no_object_are_told_and_not_raised(made):
    objects = analyzed(made)
    broken = [replace(one, part10=one.part10[:1000]) for one in objects]
    empty = [replace(one, part10=b"") for one in objects]

    for objects in (broken, empty):
        codes = {code for code, _ in faults_of(made, objects)}
        assert codes & {"LINT_UNREADABLE", "LINT_IDENTITY"}


@settings(max_examples=30)
@given(data=st.data())
def test_no_damage_to_the_bytes_makes_it_raise(pair, made, data):
    segmentation, report = pair
    damaged = bytearray(report.part10)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(132, len(damaged) - 1))] = data.draw(st.integers(0, 255))

    faults_of(made, [segmentation, replace(report, part10=bytes(damaged))])


def test_it_takes_less_time_than_anybody_would_notice(made):
    """CPU time, the best of five, so that a busy machine does not matter."""
    objects, source = analyzed(made), lint.Source.of(made.choice, made.petct)
    lint.check(objects, source)  # the tables of codes are read once

    def seconds():
        started = time.process_time()
        lint.check(objects, source)
        return time.process_time() - started

    assert min(seconds() for _ in range(5)) < 0.05


def test_what_is_checked_is_what_is_sent(made):
    """The lint reads the bytes, not the values that they were made from."""
    objects = list(analyzed(made))
    report = next(one for one in objects if one.kind is ResultKind.REPORT)
    dataset = dcmread(io.BytesIO(report.part10))
    dataset.PatientBirthDate = "19610101"
    dataset.save_as(buffer := io.BytesIO(), enforce_file_format=True)
    objects[objects.index(report)] = replace(report, part10=buffer.getvalue())

    assert faults_of(made, objects) == [
        ("LINT_IDENTITY", "PatientBirthDate differs from the images'")
    ]


@pytest.mark.parametrize(
    ("told", "detail"),
    [
        ({"series_instance_uid": "2.25.6"}, "SeriesInstanceUID is not what is told of the object"),
        ({"kind": ResultKind.KEY_IMAGE}, "it is not of the class of a SC"),
    ],
)
def test_what_is_told_of_an_object_must_be_what_it_is(made, pair, told, detail):
    segmentation, report = pair

    assert ("LINT_IDENTITY", detail) in faults_of(made, [segmentation, replace(report, **told)])


def test_an_object_that_is_sent_twice_is_caught(made, pair):
    assert ("LINT_IDENTITY", "two objects have one UID") in faults_of(made, [*pair, pair[0]])


def test_a_study_without_images_has_nothing_to_compare_with(tmp_path):
    file = tmp_path / "0.txt"
    file.write_text("not DICOM", encoding="utf-8")

    with pytest.raises(UnusableStudy, match="NO_IMAGES"):
        lint.Source.of_files([file])
