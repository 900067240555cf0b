"""Reports say what was found, by which rule, and what it is good for."""

import io
import re
from dataclasses import replace
from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from inference.findings import Reason
from inference.petct import PatientFacts
from node.dicom import codes as ours
from node.dicom import decay, pet
from tests import made_study
from tests.node.dicom.sr.reports import cited_image, concept, measured, named, report_of, values


def test_a_reader_gets_the_numbers_of_the_lesion(report):
    """suv_max 18.123456 is worth two decimals, the diameter of 41.26 mm one."""
    content = hd.sr.srread(_buffer(report)).content
    *_, group = content.get_volumetric_roi_measurement_groups()
    numbers = {
        (one.name.meaning, one.derivation.meaning if one.derivation else None): one.value
        for one in group.get_measurements()
    }

    assert numbers == {
        ("SUVbw", "Maximum"): 18.12,
        ("SUVbw", "Mean"): 12.5,
        ("SUVbw", "Peak Value Within ROI"): 15.75,
        ("Metabolic Volume", None): 20.0,
        ("Total Lesion Glycolysis", None): 250.0,
        ("Volume", None): 33.51,
        ("Diameter", "Maximum"): 41.3,
    }


def test_a_number_that_could_not_be_had_is_left_out(made):
    findings = made_study.findings(made_study.lesion(suv_peak=None, tlg_g=float("nan")))

    ds = report_of(replace(made, findings=findings))

    derivations = values(ds, codes.DCM.Derivation)
    assert codes.DCM.PeakValueWithinROI.value not in derivations
    assert not named(ds, codes.DCM.TotalLesionGlycolysis)


def test_the_volume_and_the_first_contour_have_one_tracking_uid_and_the_segment_too(made, report):
    volumetric, on_ct, on_pet = measured(report)
    uids = [named(group, codes.DCM.TrackingUniqueIdentifier)[0].UID for group in measured(report)]
    segment = named(volumetric, codes.DCM.ReferencedSegment)[0].ReferencedSOPSequence[0]

    assert [g.ContentTemplateSequence[0].TemplateIdentifier for g in measured(report)] == [
        "1411",
        "1410",
        "1410",
    ]
    assert uids[0] == uids[1]
    assert uids[2] != uids[0]
    assert segment.ReferencedSegmentNumber == 1
    assert cited_image(on_ct).ReferencedSOPInstanceUID.startswith("2.25.1100.")
    assert cited_image(on_pet).ReferencedSOPInstanceUID.startswith("2.25.1200.")


def test_the_contour_encloses_the_largest_slice_of_the_lesion(made, report):
    """The centre, LPS (60, 10), is at column (60 + 158) / 4 + 0.5, row (10 + 158) / 4 + 0.5."""
    group = measured(report)[1]
    (scoord,) = named(group, codes.DCM.ImageRegion)
    points = np.reshape(scoord.GraphicData, (-1, 2))
    x, y = points.T
    mask = made.findings.lesions[0].on_ct.mask
    area = abs(float(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]))) / 2

    assert scoord.GraphicType == "POLYLINE"
    assert len(points) > 5
    assert area == np.count_nonzero(mask, axis=(1, 2)).max()
    assert np.allclose(points[:-1].mean(axis=0), [55, 42.5], atol=0.5)


def test_a_lesion_between_the_voxels_of_the_ct_is_drawn_on_the_one_that_holds_its_middle(made):
    """One contour alone makes PixelMed take volumes for contours. (60, 10, 5) is in row 42."""
    ds = report_of(replace(made, findings=made_study.findings(made_study.between_voxels())))

    _, on_pet, on_ct = measured(ds)

    assert cited_image(on_pet).ReferencedSOPInstanceUID.startswith("2.25.1200.")
    assert cited_image(on_ct).ReferencedSOPInstanceUID.startswith("2.25.1100.")
    points = np.reshape(named(on_ct, codes.DCM.ImageRegion)[0].GraphicData, (-1, 2))
    assert points.min(axis=0).tolist() == [54, 42]
    assert points.max(axis=0).tolist() == [55, 43]
    assert len(points) > 5


def test_a_lesion_outside_the_ct_is_drawn_on_the_pet_alone(made):
    far = replace(made_study.between_voxels(), centroid_lps_mm=(900.0, 0.0, 0.0))

    ds = report_of(replace(made, findings=made_study.findings(far)))

    assert len(measured(ds)) == 2


def test_a_finding_has_its_site_and_side_and_the_way_its_region_came_about(report):
    content = hd.sr.srread(_buffer(report)).content

    for group in content.get_volumetric_roi_measurement_groups():
        assert group.finding_type == codes.SCT.NeoplasmPrimary
        assert group.finding_sites[0].value == codes.SCT.Lung
        assert group.finding_sites[0].laterality == codes.SCT.Left
    assert values(report, codes.SCT.MeasurementMethod) == ["REGION_THRESHOLD"]


@pytest.mark.parametrize(
    ("laterality", "site", "side"),
    [("right", "Lung", "Right"), ("midline", "Thorax", None), (None, "Lung", None)],
)
def test_the_side_is_told_only_where_there_is_one(made, laterality, site, side):
    findings = made_study.findings(made_study.lesion(laterality=laterality))

    ds = report_of(replace(made, findings=findings))

    (first, *_) = named(ds, codes.SCT.FindingSite)
    assert first.ConceptCodeSequence[0].CodeMeaning == site
    sides = [item.ConceptCodeSequence[0].CodeMeaning for item in first.get("ContentSequence", [])]
    assert sides == ([side] if side else [])


def test_a_lesion_outside_the_thorax_has_no_site(made):
    findings = made_study.findings(made_study.lesion(site=None))

    assert named(report_of(replace(made, findings=findings)), codes.SCT.FindingSite) == []


def test_each_sentence_on_why_a_lesion_was_chosen_names_the_lesion(made):
    other = made_study.lesion(label="focus-1", explanation="Another avid focus.")
    both = made_study.findings(made_study.lesion(explanation=""), other)

    ds = report_of(replace(made, findings=both))

    assert values(ds, ours.EXPLANATION) == ["focus-1 2: Another avid focus."]
    assert values(report_of(made), ours.EXPLANATION) == [
        "primary 1: It has the highest uptake inside the lungs."
    ]


def test_the_evaluations_begin_with_the_result_and_what_it_is_good_for(made):
    reason = Reason(code="SLICES_THICK", meaning="CT slices of 10 mm")
    findings = made_study.findings(predictions=(), applicable=False, inapplicable=(reason,))

    (container,) = named(report_of(replace(made, findings=findings)), ours.QUALITATIVE_EVALUATIONS)

    told = [concept(item)[0] for item in container.ContentSequence]
    assert told[:8] == [
        "OUTCOME",
        codes.DCM.Finding.value,
        "NODAL_RISK",
        "APPLICABILITY",
        "INAPPLICABLE",
        "INAPPLICABLE",
        "INTENDED_USE",
        "TRAINING_DATA",
    ]


def test_warnings_from_every_stage_are_told_once_with_their_code(made):
    repeated = made_study.findings(made_study.lesion()).warnings[0]
    other = Reason(code="SERIES_TWO", meaning="the study holds two PET series")
    changed = replace(
        made,
        choice=replace(made.choice, warnings=(other,)),
        petct=replace(made.petct, warnings=(repeated,)),
    )

    ds = report_of(changed)

    assert values(ds, ours.WARNING) == [
        "SERIES_TWO",
        "SERIES_TWO: the study holds two PET series",
        "UPTAKE_LONG",
        "UPTAKE_LONG: uptake of 158 min, more than 90 min",
    ]


def test_uptake_and_the_rule_behind_suv_are_told_as_code_and_in_words(report):
    assert values(report, ours.UPTAKE) == ["158 min"]
    assert values(report, ours.DECAY_RULE) == ["DR_SERIES"]
    assert values(report, ours.SUV_RULE) == ["From BQML, factor 0.0004; tracer FDG"]


def test_an_unknown_uptake_and_a_factor_for_each_plane_are_told_as_such(made):
    facts = replace(
        made.petct.pet_facts, uptake_min=None, suvbw_factor=None, decay_reference="VENDOR_FACTOR"
    )

    ds = report_of(replace(made, petct=replace(made.petct, pet_facts=facts)))

    assert values(ds, ours.UPTAKE) == ["unknown"]
    assert values(ds, ours.DECAY_RULE) == ["DR_VENDOR"]
    assert "one factor for each plane" in values(ds, ours.SUV_RULE)[0]


def test_every_decay_reference_that_can_occur_has_a_code():
    """As ``node.dicom.pet`` and ``node.dicom.decay`` name them."""
    sources = "".join(Path(module.__file__).read_text() for module in (pet, decay))
    occurring = {"SERIES_TIME", "FIRST_ACQUISITION", "ACQUISITION_TIME", "NOT_NEEDED"}
    occurring |= set(re.findall(r'(?:kind=|_same\(|return )"([A-Z]{4,}[A-Z_]*)"', sources))
    occurring |= set(re.findall(r'units, "([A-Z_]+)", tracer', sources))

    assert occurring == set(ours.DECAY_RULES)


def test_covariates_that_the_images_do_not_state_are_listed_and_not_guessed(made, report):
    assert values(report, ours.NOT_STATED) == ["HEIGHT", "WEIGHT", "121033", "121032"]
    patient = PatientFacts(age_years=66, sex="F", weight_kg=70, height_m=None)

    ds = report_of(replace(made, petct=replace(made.petct, patient=patient)))

    assert values(ds, ours.NOT_STATED) == ["HEIGHT"]


def test_a_reason_of_many_words_is_whole_in_the_text_and_cut_in_the_code():
    reason = Reason(code="LONG", meaning="x" * 80)

    assert ours.of_reason(reason) == Code("LONG", "99PETCTNODE", "x" * 61 + "...")


def test_a_study_that_the_model_does_not_cover_says_so(made):
    reason = Reason(code="SLICES_THICK", meaning="CT slices of 10 mm")
    findings = made_study.findings(
        made_study.lesion(), predictions=(), applicable=False, inapplicable=(reason,)
    )

    ds = report_of(replace(made, findings=findings))

    assert values(ds, ours.APPLICABILITY) == ["NOT_APPLICABLE"]
    assert values(ds, ours.INAPPLICABLE_REASON)[0] == "SLICES_THICK"
    assert values(ds, ours.NODAL_RISK) == ["NOT_PREDICTED"]


def test_research_use_and_training_data_are_said_in_every_report(made, report, refusal):
    assert values(report, ours.INTENDED_USE) == ["Research use only - not for clinical decisions"]
    assert values(refusal, ours.INTENDED_USE) == values(report, ours.INTENDED_USE)
    assert values(report, ours.TRAINING_DATA) == [made.findings.bundle.training_data]


def _buffer(ds):
    buffer = io.BytesIO()
    ds.save_as(buffer)
    buffer.seek(0)
    return buffer
