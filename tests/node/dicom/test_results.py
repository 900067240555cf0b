"""Which objects come of an analysis or a refusal."""

import io
from dataclasses import replace

import numpy as np
import pytest
from pydicom import dcmread

from inference.findings import Reason
from inference.petct import GivenRegion, RegionSource
from inference.volume import Region
from node.dicom import results
from node.dicom.series import Document
from node.errors import UnusableStudy
from node.instance import ResultKind
from tests import made_study

REASONS = (Reason(code="NO_CT", meaning="the study holds no CT series"),)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return made_study.study(tmp_path_factory.mktemp("results"))


def analyzed(made, **options):
    return results.analyzed(
        made.choice,
        made.petct,
        made.findings,
        equipment=made_study.EQUIPMENT,
        key="k",
        when=made_study.WHEN,
        options=results.ResultOptions(**options),
    )


def refused(paths):
    return results.refused(
        paths, REASONS, equipment=made_study.EQUIPMENT, key="k", when=made_study.WHEN
    )


def read(one):
    return dcmread(io.BytesIO(one.part10))


def test_a_lesion_gives_a_segmentation_then_its_report_then_a_key_image(made):
    kinds = [one.kind for one in analyzed(made)]

    assert kinds == [ResultKind.SEGMENTATION, ResultKind.REPORT, ResultKind.KEY_IMAGE]


def test_without_a_lesion_there_is_no_empty_segmentation(made):
    kinds = [one.kind for one in analyzed(replace(made, findings=made_study.findings()))]

    assert kinds == [ResultKind.REPORT, ResultKind.KEY_IMAGE]


def test_a_key_image_is_made_only_where_it_is_asked_for(made):
    kinds = [one.kind for one in analyzed(made, key_image=False)]

    assert ResultKind.KEY_IMAGE not in kinds


def test_each_object_is_in_a_series_of_its_own_in_the_study_of_the_images(made):
    objects = analyzed(made)

    assert len({one.series_instance_uid for one in objects}) == 3
    assert {one.study_instance_uid for one in objects} == {made_study.STUDY_UID}


def test_what_is_told_of_an_object_is_what_it_holds(made):
    for one in analyzed(made):
        ds = read(one)
        assert one.sop_class_uid == ds.SOPClassUID == ds.file_meta.MediaStorageSOPClassUID
        assert one.sop_instance_uid == ds.SOPInstanceUID
        assert one.sop_instance_uid == ds.file_meta.MediaStorageSOPInstanceUID
        assert one.series_instance_uid == ds.SeriesInstanceUID
        assert one.transfer_syntax_uid == ds.file_meta.TransferSyntaxUID
        assert one.part10[128:132] == b"DICM"


def test_a_lesion_too_small_for_a_voxel_of_the_ct_is_segmented_on_the_pet(made):
    nothing = Region(mask=np.zeros(made_study.CT_GRID.shape, bool), grid=made_study.CT_GRID)
    small = made_study.findings(made_study.lesion(on_ct=nothing))

    seg = read(analyzed(replace(made, findings=small))[0])

    assert seg.ReferencedSeriesSequence[0].SeriesInstanceUID == "2.25.1200"


def test_the_document_whose_contour_was_taken_is_evidence(made):
    document = Document(
        path=made.choice.ct.paths[0],
        modality="RTSTRUCT",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.481.3",
        sop_instance_uid="2.25.1301",
        series_instance_uid="2.25.1300",
    )
    lesion = made_study.lesion(source="RTSTRUCT")
    given = GivenRegion(
        region=lesion.on_ct,
        source=RegionSource.RTSTRUCT,
        name="GTV",
        series_instance_uid="2.25.1300",
        sop_instance_uid="2.25.1301",
    )
    contoured = replace(
        made,
        choice=replace(made.choice, documents=(document,)),
        petct=replace(made.petct, given=(given,)),
        findings=made_study.findings(lesion),
    )

    def evidence(study):
        report = read(analyzed(study, key_image=False)[1])
        (item,) = report.CurrentRequestedProcedureEvidenceSequence
        return [series.SeriesInstanceUID for series in item.ReferencedSeriesSequence]

    assert "2.25.1300" in evidence(contoured)
    assert "2.25.1300" not in evidence(replace(contoured, findings=made.findings))


@pytest.mark.parametrize("modality", ["ct", "pet"])
def test_a_study_of_one_modality_can_be_refused(made, modality):
    paths = getattr(made.choice, modality).paths

    (report,) = refused(paths)

    assert report.kind is ResultKind.REPORT
    (study,) = read(report).CurrentRequestedProcedureEvidenceSequence
    assert len(study.ReferencedSeriesSequence[0].ReferencedSOPSequence) == len(paths)


def test_files_that_are_no_images_are_passed_over_in_a_refusal(made, tmp_path):
    letter = tmp_path / "letter.txt"
    letter.write_text("Dear colleague")

    (report,) = refused([letter, made.choice.ct.paths[0]])

    assert read(report).PatientID == "P1"


def test_a_refusal_without_any_image_is_impossible(tmp_path):
    with pytest.raises(UnusableStudy, match="NO_IMAGES"):
        refused([tmp_path / "absent.dcm"])
