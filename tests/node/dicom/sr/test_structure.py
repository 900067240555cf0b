"""Reports are TID 1500, whole and of the study, also where nothing was found or analysed."""

from dataclasses import replace

import numpy as np
from pydicom.sr.codedict import codes

from node.dicom import codes as ours
from node.dicom import results
from tests import made_study
from tests.node.dicom.sr.reports import (
    cited_image,
    concept,
    groups,
    items,
    measured,
    named,
    report_of,
    values,
)

UCUM = {"g/ml{SUVbw}", "ml", "g", "mm", "%", "{pixels}", "{-1:1}", "min"}


def test_every_group_has_a_tracking_identifier_and_a_tracking_uid(report):
    for group in groups(report):
        assert len(named(group, codes.DCM.TrackingIdentifier)) == 1
        assert len(named(group, codes.DCM.TrackingUniqueIdentifier)) == 1


def test_every_number_has_a_ucum_unit(report):
    units = {
        (unit.CodeValue, unit.CodingSchemeDesignator)
        for item in items(report)
        if item.ValueType == "NUM"
        for unit in item.MeasuredValueSequence[0].MeasurementUnitsCodeSequence
    }

    assert units == {(value, "UCUM") for value in UCUM}


def test_every_standard_code_carries_the_meaning_of_the_standard(report, refusal):
    known = {}
    for scheme in (codes.DCM, codes.SCT):
        for code in (getattr(scheme, name) for name in scheme.dir()):
            meanings = known.setdefault((code.scheme_designator, code.value), set())
            meanings |= {code.meaning.lower(), code.meaning.lower().removesuffix(" (attribute)")}
    checked = 0
    for ds in (report, refusal):
        for item in [ds, *items(ds)]:
            for keyword in ("ConceptNameCodeSequence", "ConceptCodeSequence"):
                for code in item.get(keyword, []):
                    key = (code.CodingSchemeDesignator, code.CodeValue)
                    if key in known:
                        # Capitals and SNOMED's suffixes differ between the standard's own tables.
                        assert code.CodeMeaning.lower() in known[key]
                        checked += 1
    assert checked > 30


def test_every_code_is_of_a_scheme_that_is_standard_or_declared(report, refusal):
    for ds in (report, refusal):
        used = {
            code.CodingSchemeDesignator
            for item in [ds, *items(ds)]
            for keyword in ("ConceptNameCodeSequence", "ConceptCodeSequence")
            for code in item.get(keyword, [])
        }
        declared = {one.CodingSchemeDesignator for one in ds.CodingSchemeIdentificationSequence}
        assert used - declared <= {"DCM", "SCT", "UCUM", "UMLS", "RFC5646"}
        assert declared == {"99PETCTNODE"}


def test_the_report_and_its_evidence_are_of_the_study_of_the_images(report, refusal):
    for ds in (report, refusal):
        assert ds.StudyInstanceUID == made_study.STUDY_UID
        (study,) = ds.CurrentRequestedProcedureEvidenceSequence
        assert study.StudyInstanceUID == made_study.STUDY_UID
        assert "PertinentOtherEvidenceSequence" not in ds


def test_the_root_has_a_title_of_the_template_and_its_identifier(report, refusal):
    """Imaging Measurement Report; Oncology Measurement Report where there is only text to show."""
    assert concept(report) == ("126000", "DCM")
    assert concept(refusal) == ("126001", "DCM")
    for ds in (report, refusal):
        assert ds.ContentTemplateSequence[0].TemplateIdentifier == "1500"
        assert ds.ContentTemplateSequence[0].MappingResource == "DCMR"


def test_the_procedure_reported_is_the_imaging_and_not_the_algorithm(report, refusal):
    assert values(report, codes.DCM.ProcedureReported) == ["443271005"]  # FDG PET/CT
    assert values(refusal, codes.DCM.ProcedureReported) == ["363679005"]  # imaging procedure


def test_the_observer_is_a_device(report, refusal):
    for ds in (report, refusal):
        assert values(ds, codes.DCM.ObserverType) == [codes.DCM.Device.value]
        assert values(ds, codes.DCM.DeviceObserverModelName) == ["petct-node"]


def test_without_a_lesion_the_report_says_that_the_finding_is_absent(made):
    ds = report_of(replace(made, findings=made_study.findings(predictions=())))

    assert values(ds, codes.DCM.Finding) == ["373572006"]
    assert concept(ds) == ("126001", "DCM")
    assert not groups(ds)
    assert values(ds, ours.OUTCOME) == ["ANALYZED"]
    assert values(ds, ours.NODAL_RISK) == ["NOT_PREDICTED"]


def test_a_refusal_gives_each_reason_and_analyses_nothing(refusal):
    assert values(refusal, ours.OUTCOME) == ["NOT_ANALYZABLE"]
    assert values(refusal, ours.REFUSAL_REASON) == [
        "NO_PET",
        "NO_PET: the study holds no PET series",
    ]
    assert not groups(refusal)
    assert not named(refusal, codes.DCM.Finding)


def test_every_image_and_the_segmentation_are_evidence_once(made, report):
    (study,) = report.CurrentRequestedProcedureEvidenceSequence
    cited = {
        series.SeriesInstanceUID: [s.ReferencedSOPInstanceUID for s in series.ReferencedSOPSequence]
        for series in study.ReferencedSeriesSequence
    }
    segment = named(report, codes.DCM.ReferencedSegment)[0].ReferencedSOPSequence[0]

    assert len(cited) == len(study.ReferencedSeriesSequence) == 3
    for series in (made.choice.ct, made.choice.pet):
        assert cited[series.series_instance_uid] == [p.sop_instance_uid for p in series.planes]
    assert [segment.ReferencedSOPInstanceUID] in cited.values()


def test_it_is_complete_preliminary_and_unverified(report, refusal):
    for ds in (report, refusal):
        assert ds.CompletionFlag == "COMPLETE"
        assert ds.PreliminaryFlag == "PRELIMINARY"
        assert ds.VerificationFlag == "UNVERIFIED"


def test_every_container_is_separate(report):
    containers = [item for item in [report, *items(report)] if item.ValueType == "CONTAINER"]

    # The root, the library with two groups, and measurements with two predictions, the lesion and
    # two contours.
    assert len(containers) == 11
    assert {item.ContinuityOfContent for item in containers} == {"SEPARATE"}


def test_patient_and_study_are_those_of_the_images(report):
    assert str(report.PatientName) == "Phantom^Round"
    assert report.PatientID == "P1"
    assert (report.StudyID, report.AccessionNumber) == ("S1", "A1")
    assert report.SpecificCharacterSet == "ISO_IR 192"
    assert "ProcedureCodeSequence" not in report


def test_a_name_that_is_not_latin_reaches_the_report(tmp_path):
    name = "Wang^XiaoDong=王^小东"
    made = made_study.study(tmp_path, PatientName=name)

    assert str(report_of(made).PatientName) == name


def test_a_new_version_names_its_predecessor(made):
    before = results.Predecessor(
        sop_class_uid="1.2.840.10008.5.1.4.1.1.88.34",
        sop_instance_uid="2.25.9",
        series_instance_uid="2.25.8",
        study_instance_uid=made_study.STUDY_UID,
    )

    ds = report_of(made, predecessors=(before,))

    series = ds.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0]
    assert series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == "2.25.9"


def test_a_frame_of_a_multiframe_source_is_named_in_the_contour(made):
    ds = report_of(made_study.multiframe(made))

    image = cited_image(measured(ds)[1])

    assert image.ReferencedSOPInstanceUID == "2.25.1101"
    mask = made.findings.lesions[0].on_ct.mask
    index = int(np.argmax(np.count_nonzero(mask, axis=(1, 2))))
    assert image.ReferencedFrameNumber == 20 - index
