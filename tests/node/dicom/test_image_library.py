"""The library of a report tells how the PET and the CT were acquired, and where they lie."""

import io
from dataclasses import replace

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from inference.findings import Reason
from node.dicom import results
from node.instance import ResultKind
from tests import made_study


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return made_study.study(tmp_path_factory.mktemp("library"))


def report_of(made):
    objects = made_study.analyzed(made, key_image=False)
    (one,) = [one for one in objects if one.kind is ResultKind.REPORT]
    return dcmread(io.BytesIO(one.part10))


def groups_of(report):
    """The groups of the library by modality."""
    (library,) = children(report, codes.DCM.ImageLibrary)
    return {
        children(group, codes.DCM.Modality)[0].ConceptCodeSequence[0].CodeValue: group
        for group in children(library, codes.DCM.ImageLibraryGroup)
    }


def children(item, code):
    return [
        child
        for child in item.ContentSequence
        if child.ConceptNameCodeSequence[0].CodeValue == code.value
    ]


def number(item, code):
    (child,) = children(item, code)
    return float(child.MeasuredValueSequence[0].NumericValue)


def images(group):
    return [item for item in group.ContentSequence if item.ValueType == "IMAGE"]


def uids(group):
    return [item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for item in images(group)]


def test_there_is_a_group_for_the_ct_and_one_for_the_pet(made):
    groups = groups_of(report_of(made))

    assert set(groups) == {"CT", "PT"}
    assert number(groups["CT"], codes.DCM.HorizontalPixelSpacing) == 4
    assert number(groups["PT"], codes.DCM.HorizontalPixelSpacing) == 8
    assert number(groups["CT"], codes.DCM.PixelDataRows) == 80
    assert number(groups["CT"], codes.DCM.SpacingBetweenSlices) == 5
    for group in groups.values():
        (frame,) = children(group, codes.DCM.FrameOfReferenceUID)
        assert frame.UID == made_study.FRAME_UID


def test_a_group_lists_the_first_the_last_and_the_planes_that_are_drawn_on(made):
    """20 planes from z = -47.5 to 47.5 mm, 5 mm apart; the tumour is centred at 5 mm."""
    report = report_of(made)
    groups = groups_of(report)

    for modality, series in (("CT", made.choice.ct), ("PT", made.choice.pet)):
        heights = [number(one, codes.DCM.ImagePositionPatientZ) for one in images(groups[modality])]
        assert heights == [-47.5, 2.5, 47.5]
        listed = uids(groups[modality])
        assert listed[0] == series.planes[0].sop_instance_uid
        assert listed[-1] == series.planes[-1].sop_instance_uid


def test_frames_of_one_instance_are_listed_by_their_numbers(made):
    groups = groups_of(report_of(made_study.multiframe(made)))

    frames = [one.ReferencedSOPSequence[0].ReferencedFrameNumber for one in images(groups["CT"])]
    assert set(uids(groups["CT"])) == {"2.25.1101"}
    assert frames == [20, 10, 1]


def test_the_orientation_has_the_direction_of_a_row_first(made):
    group = groups_of(report_of(made))["CT"]

    assert number(group, codes.DCM.ImageOrientationPatientRowX) == 1
    assert number(group, codes.DCM.ImageOrientationPatientColumnY) == 1
    assert number(group, codes.DCM.ImageOrientationPatientColumnX) == 0


def test_dose_injection_and_uptake_of_the_pet_are_told(tmp_path):
    injection = Dataset()
    injection.RadionuclideTotalDose = "350000000.4"
    injection.RadiopharmaceuticalStartDateTime = "20260304030000"
    study = made_study.study(tmp_path, RadiopharmaceuticalInformationSequence=[injection])

    group = groups_of(report_of(study))["PT"]

    assert number(group, codes.DCM.RadionuclideTotalDose) == 350_000_000
    assert number(group, codes.DCM.PETRadionuclideIncubationTime) == 158
    (start,) = children(group, codes.DCM.RadiopharmaceuticalStartDatetime)
    assert start.DateTime == "20260304030000"


def test_what_the_headers_do_not_state_is_left_out(tmp_path):
    study = made_study.study(tmp_path, AcquisitionDate=None, StudyTime="noon", SliceThickness=None)
    facts = replace(study.petct.pet_facts, uptake_min=None)
    unknown = replace(study, petct=replace(study.petct, pet_facts=facts))

    group = groups_of(report_of(unknown))["PT"]

    assert not children(group, codes.DCM.PETRadionuclideIncubationTime)
    assert not children(group, codes.DCM.SliceThickness)
    assert not children(group, codes.DCM.StudyTime)
    assert all(not children(one, codes.DCM.AcquisitionTime) for one in images(group))


def test_a_report_without_a_lesion_names_the_series_in_few_lines(made):
    """Viewers show it as text, from the top: what was found is to be seen without scrolling."""
    groups = groups_of(report_of(replace(made, findings=made_study.findings(predictions=()))))

    assert [len(images(group)) for group in groups.values()] == [1, 1]
    assert not children(groups["CT"], codes.DCM.PixelDataRows)
    assert children(groups["PT"], codes.DCM.PETRadionuclideIncubationTime)


def test_a_refusal_lists_the_series_that_there_are(made):
    (one,) = results.refused(
        made.choice.ct.paths,
        [Reason(code="PET_MISSING", meaning="no PET")],
        equipment=made_study.EQUIPMENT,
        key="k",
        when=made_study.WHEN,
    )

    groups = groups_of(dcmread(io.BytesIO(one.part10)))

    assert uids(groups["CT"]) == [made.choice.ct.planes[0].sop_instance_uid]
    assert set(groups) == {"CT"}
