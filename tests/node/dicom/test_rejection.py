"""An earlier version is named and, where configured, rejected by a Key Object Selection (IOCM)."""

import io

import highdicom as hd
import pytest
from pydicom import dcmread

from inference.findings import Reason
from node.dicom import results
from node.instance import ResultKind
from tests import made_study

CLASSES = {
    ResultKind.SEGMENTATION: "1.2.840.10008.5.1.4.1.1.66.4",
    ResultKind.REPORT: "1.2.840.10008.5.1.4.1.1.88.34",
    ResultKind.KEY_IMAGE: "1.2.840.10008.5.1.4.1.1.7",
    ResultKind.REJECTION: "1.2.840.10008.5.1.4.1.1.88.59",
}
EARLIER = tuple(
    results.Predecessor(
        kind=kind,
        sop_class_uid=sop_class_uid,
        sop_instance_uid=f"2.25.9{number}",
        series_instance_uid=f"2.25.8{number}",
        study_instance_uid=made_study.STUDY_UID,
    )
    for number, (kind, sop_class_uid) in enumerate(CLASSES.items())
)
SHOWN = ["2.25.90", "2.25.91", "2.25.92"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return made_study.study(tmp_path_factory.mktemp("rejection"))


def rejection_of(made, **options):
    objects = made_study.analyzed(made, key_image=False, supersede="reject", **options)
    assert objects[-1].kind is ResultKind.REJECTION, "it goes last, after what replaces"
    return dcmread(io.BytesIO(objects[-1].part10))


def kinds(made, **options):
    return [one.kind for one in made_study.analyzed(made, key_image=False, **options)]


def references(ds):
    return {
        item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID: item
        for item in ds.ContentSequence
        if "ReferencedSOPSequence" in item
    }


def test_nothing_is_rejected_where_there_was_nothing_or_it_is_not_configured(made):
    assert ResultKind.REJECTION not in kinds(made, supersede="reject")
    assert ResultKind.REJECTION not in kinds(made, predecessors=EARLIER)
    only = tuple(one for one in EARLIER if one.kind is ResultKind.REJECTION)
    assert ResultKind.REJECTION not in kinds(made, predecessors=only, supersede="reject")


@pytest.mark.parametrize(
    ("title", "meaning"),
    [
        ("113039", "Data Retention Policy Expired"),
        ("113001", "Rejected for Quality Reasons"),
    ],
)
def test_its_title_is_the_one_that_is_configured(made, title, meaning):
    ds = rejection_of(made, predecessors=EARLIER, rejection_title=title)

    (concept,) = ds.ConceptNameCodeSequence
    assert (concept.CodeValue, concept.CodingSchemeDesignator) == (title, "DCM")
    assert concept.CodeMeaning == meaning
    assert ds.ContentTemplateSequence[0].TemplateIdentifier == "2010"


def test_it_rejects_all_that_the_earlier_version_showed_and_not_its_rejection(made):
    ds = rejection_of(made, predecessors=EARLIER)

    assert list(references(ds)) == SHOWN
    (study,) = ds.CurrentRequestedProcedureEvidenceSequence
    evidence = [
        one.ReferencedSOPInstanceUID
        for series in study.ReferencedSeriesSequence
        for one in series.ReferencedSOPSequence
    ]
    assert evidence == SHOWN
    assert study.StudyInstanceUID == made_study.STUDY_UID


def test_images_are_cited_as_images_and_reports_as_composite_objects(made):
    cited = references(rejection_of(made, predecessors=EARLIER))

    assert [item.ValueType for item in cited.values()] == ["IMAGE", "COMPOSITE", "IMAGE"]
    assert not any("ConceptNameCodeSequence" in item for item in cited.values())


def test_it_is_of_the_patient_and_the_study_in_a_series_of_its_own(made):
    ds = rejection_of(made, predecessors=EARLIER)

    assert (ds.Modality, ds.PatientID, ds.StudyInstanceUID) == ("KO", "P1", made_study.STUDY_UID)
    assert (ds.StudyDate, ds.AccessionNumber, ds.StudyID) == ("20260304", "A1", "S1")
    assert ds.StudyDescription == "PET/CT thorax"


def test_highdicom_reads_what_is_rejected(made):
    objects = made_study.analyzed(made, key_image=False, supersede="reject", predecessors=EARLIER)

    document = hd.ko.KeyObjectSelectionDocument.from_dataset(
        dcmread(io.BytesIO(objects[-1].part10))
    )

    assert document.resolve_reference("2.25.91") == (made_study.STUDY_UID, "2.25.81", "2.25.91")


def test_the_new_report_names_the_earlier_report_alone_and_says_that_it_replaces_it(made):
    (report,) = [
        dcmread(io.BytesIO(one.part10))
        for one in made_study.analyzed(made, key_image=False, predecessors=EARLIER)
        if one.kind is ResultKind.REPORT
    ]

    (study,) = report.PredecessorDocumentsSequence
    (series,) = study.ReferencedSeriesSequence
    assert [one.ReferencedSOPInstanceUID for one in series.ReferencedSOPSequence] == ["2.25.91"]
    assert any("Replaces an earlier report" in text for text in _texts(report))


def test_a_refusal_replaces_an_earlier_result_too(made):
    report, rejection = results.refused(
        made.choice.ct.paths,
        [Reason(code="SLICES_DUPLICATE", meaning="different planes at one place")],
        equipment=made_study.EQUIPMENT,
        key="k",
        when=made_study.WHEN,
        options=results.ResultOptions(supersede="reject", predecessors=EARLIER),
    )

    assert "PredecessorDocumentsSequence" in dcmread(io.BytesIO(report.part10))
    assert list(references(dcmread(io.BytesIO(rejection.part10)))) == SHOWN


def _texts(item):
    for child in item.get("ContentSequence", []):
        if child.ValueType == "TEXT":
            yield child.TextValue
        yield from _texts(child)
