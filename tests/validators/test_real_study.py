"""Results on a real GE PET/CT whose tumour a radiologist has drawn."""

import io

import numpy as np
import pytest
from pydicom import dcmread

from inference.lesion import LesionRules, locate
from node.config import Selection
from node.dicom import results, series, volumes
from node.instance import ResultKind
from tests import made_study


@pytest.fixture(scope="module")
def analysis(test_data):
    """The study's choice, its findings and its results by kind."""
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
    made = results.analyzed(
        choice,
        petct,
        findings,
        equipment=made_study.EQUIPMENT,
        key="real",
        when=made_study.WHEN,
        options=results.ResultOptions(),
    )
    return choice, findings, {one.kind: one for one in made}


def test_the_judges_find_no_error(judge, analysis, tmp_path):
    choice, _, objects = analysis
    paths = []
    for kind, one in objects.items():
        paths.append(tmp_path / f"{kind.value}.dcm")
        paths[-1].write_bytes(one.part10)
        said = judge("dciodvfy", paths[-1])
        assert not [line for line in said.splitlines() if line.startswith("Error")]

    # The PET has a study description of its own, so that results can agree with the CT alone.
    said = judge("dcentvfy", choice.ct.paths[0], *paths)

    # The source's Study ID has 17 characters, one more than VR SH holds; ours is cut to 16.
    errors = [line for line in said.splitlines() if line.startswith("Error")]
    assert [line for line in errors if "<StudyID>" not in line] == []


def test_the_segment_is_the_drawn_tumour_on_the_planes_of_the_ct(analysis):
    choice, findings, objects = analysis
    seg = dcmread(io.BytesIO(objects[ResultKind.SEGMENTATION].part10))
    frames = seg.pixel_array.reshape(-1, seg.Rows, seg.Columns)
    planes = {plane.sop_instance_uid: index for index, plane in enumerate(choice.ct.planes)}
    mask = findings.lesions[0].on_ct.mask

    assert int(np.count_nonzero(frames)) == int(np.count_nonzero(mask))
    for frame, item in zip(frames, seg.PerFrameFunctionalGroupsSequence, strict=True):
        cited = item.DerivationImageSequence[0].SourceImageSequence[0]
        assert np.array_equal(frame, mask[planes[cited.ReferencedSOPInstanceUID]])


def test_the_contours_of_the_radiologist_are_evidence(analysis):
    choice, _, objects = analysis
    report = dcmread(io.BytesIO(objects[ResultKind.REPORT].part10))
    (study,) = report.CurrentRequestedProcedureEvidenceSequence
    cited = {
        item.ReferencedSOPInstanceUID
        for one in study.ReferencedSeriesSequence
        for item in one.ReferencedSOPSequence
    }

    assert cited & {document.sop_instance_uid for document in choice.documents}
