"""The editable report holds what OHIF needs to make measurements of its own."""

import io
from dataclasses import replace

import highdicom as hd
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.sr.codedict import codes

from inference.measure import diameters
from node.dicom import results
from node.instance import ResultKind
from tests import made_study


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return made_study.study(tmp_path_factory.mktemp("hydratable"))


def objects_of(made, **options):
    made = made_study.analyzed(made, hydratable=True, key_image=False, **options)
    return {one.kind: dcmread(io.BytesIO(one.part10)) for one in made}


@pytest.fixture(scope="module")
def objects(made):
    return objects_of(made)


@pytest.fixture(scope="module")
def report(objects):
    return objects[ResultKind.EDITABLE]


def items(item):
    for child in item.get("ContentSequence", []):
        yield child
        yield from items(child)


def groups(ds):
    return [
        one
        for one in items(ds)
        if one.ConceptNameCodeSequence[0].CodeMeaning == "Measurement Group"
    ]


def told(group, meaning):
    (item,) = [
        one
        for one in group.ContentSequence
        if one.ConceptNameCodeSequence[0].CodeMeaning == meaning
    ]
    return item


def test_it_is_made_only_where_it_is_asked_for_and_there_is_a_lesion(made):
    without = replace(made, findings=made_study.findings(predictions=()))

    assert ResultKind.EDITABLE not in {one.kind for one in made_study.analyzed(made)}
    assert ResultKind.EDITABLE not in objects_of(without)


def test_it_is_of_the_template_and_title_that_ohif_takes(report):
    assert report.ConceptNameCodeSequence[0].CodeValue == "126000"
    assert report.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    (group,) = groups(report)
    assert group.ContentTemplateSequence[0].TemplateIdentifier == "1501"
    assert told(group, "Tracking Identifier").TextValue == "Cornerstone3DTools@^0.1.0:Bidirectional"


def test_each_number_has_its_own_line_of_two_points_and_its_length(report):
    """Pixels of 4 mm; OHIF asks for these meanings with these capitals."""
    (group,) = groups(report)

    for meaning in ("Long Axis", "Short Axis"):
        axis = told(group, meaning)
        (line,) = axis.ContentSequence
        points = np.reshape(line.GraphicData, (2, 2))
        assert line.ValueType == "SCOORD"
        assert line.GraphicType == "POLYLINE"
        assert line.ContentSequence[0].RelationshipType == "SELECTED FROM"
        length_mm = float(axis.MeasuredValueSequence[0].NumericValue)
        assert length_mm == pytest.approx(4 * np.linalg.norm(points[1] - points[0]), abs=0.06)


def test_the_lines_lie_on_the_plane_where_the_lesion_is_longest(made, report):
    (group,) = groups(report)
    image = told(group, "Long Axis").ContentSequence[0].ContentSequence[0]
    cited = image.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
    heights = {plane.sop_instance_uid: plane.position[2] for plane in made.choice.ct.planes}

    assert abs(heights[cited] - made_study.CENTRE[2]) <= 2.5


@pytest.mark.parametrize("drawn_on", ["CT", "PET"])
@pytest.mark.parametrize("measured_on", ["on_ct", "on_pet"])
def test_its_long_axis_is_the_number_of_the_main_report(made, drawn_on, measured_on):
    """A ball of 40 mm: on pixels of 4 and of 8 mm its longest axial diameter differs."""
    lesion = made_study.lesion()
    axial_mm, _ = diameters(getattr(lesion, measured_on))
    found = made_study.findings(replace(lesion, longest_axial_diameter_mm=axial_mm))

    objects = objects_of(replace(made, findings=found), segmentation_grid=drawn_on)

    (line,) = [x for x in items(objects[ResultKind.EDITABLE]) if _meaning(x) == "Long Axis"]
    (main,) = [x for x in items(objects[ResultKind.REPORT]) if _meaning(x) == "Long axis"]
    both = {float(item.MeasuredValueSequence[0].NumericValue) for item in (line, main)}
    assert both == {round(axial_mm, 1)}


def test_it_says_which_lesion_has_which_axes(report):
    said = [x.TextValue for x in items(report) if _meaning(x).startswith("Lesion that has")]

    assert said == ["primary 1"]


def _meaning(item):
    return item.ConceptNameCodeSequence[0].CodeMeaning


def test_a_viewer_does_not_take_it_for_the_lesion_of_the_main_report(objects, report):
    main = {told(group, "Tracking Unique Identifier").UID for group in groups(objects["SR"])}

    (group,) = groups(report)

    assert told(group, "Tracking Unique Identifier").UID not in main
    assert report.SeriesInstanceUID != objects["SR"].SeriesInstanceUID


def test_each_lesion_has_its_axes(made):
    other = made_study.lesion(label="focus-1", on_ct=made_study.ball(made_study.CT_GRID, (0, 0, 0)))
    both = made_study.findings(made_study.lesion(), other)

    report = objects_of(replace(made, findings=both))[ResultKind.EDITABLE]

    uids = {told(group, "Tracking Unique Identifier").UID for group in groups(report)}
    assert len(uids) == len(groups(report)) == 2


def test_on_the_pet_grid_it_is_drawn_on_the_pet(made):
    report = objects_of(made, segmentation_grid="PET")[ResultKind.EDITABLE]

    (study,) = report.CurrentRequestedProcedureEvidenceSequence
    (series,) = study.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == "2.25.1200"


def test_highdicom_reads_its_axes_back(report):
    content = hd.sr.srread(_buffer(report)).content
    (group,) = content.get_image_measurement_groups()

    names = [one.name for one in group.get_measurements()]

    assert names == [codes.SCT.LongAxis, codes.SCT.ShortAxis]


def test_a_new_version_names_the_editable_report_that_it_replaces(made):
    before = results.Predecessor(
        kind=ResultKind.EDITABLE,
        sop_class_uid="1.2.840.10008.5.1.4.1.1.88.34",
        sop_instance_uid="2.25.9",
        series_instance_uid="2.25.8",
        study_instance_uid=made_study.STUDY_UID,
    )

    objects = objects_of(made, predecessors=(before,))

    (study,) = objects[ResultKind.EDITABLE].PredecessorDocumentsSequence
    assert study.ReferencedSeriesSequence[0].SeriesInstanceUID == "2.25.8"
    assert "PredecessorDocumentsSequence" not in objects[ResultKind.REPORT]


def test_it_says_that_it_is_for_research_use(report):
    texts = [one.TextValue for one in items(report) if one.ValueType == "TEXT"]

    assert "Research use only - not for clinical decisions" in texts


def _buffer(ds):
    buffer = io.BytesIO()
    ds.save_as(buffer)
    buffer.seek(0)
    return buffer
