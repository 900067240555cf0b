"""Segmentations hold the lesions' voxels and name the planes that they lie on."""

import io
from dataclasses import replace

import highdicom as hd
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian

from node.dicom import seg, source
from node.dicom.groundwork import Groundwork
from node.dicom.provenance import of_findings
from node.instance import ResultKind
from tests import made_study
from tests.node.dicom import by_highdicom


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return made_study.study(tmp_path_factory.mktemp("seg"))


def segmentation_of(made, **options):
    objects = made_study.analyzed(made, key_image=False, **options)
    return next(one for one in objects if one.kind is ResultKind.SEGMENTATION)


def dataset(one):
    return dcmread(io.BytesIO(one.part10))


def test_its_voxels_are_the_lesions_voxels_plane_by_plane(made):
    read = hd.seg.segread(io.BytesIO(segmentation_of(made).part10))
    lesion = made.findings.lesions[0]
    uids = [plane.sop_instance_uid for plane in made.choice.ct.planes]

    voxels = read.get_pixels_by_source_instance(
        uids,
        segment_numbers=[1],
        ignore_spatial_locations=True,
        assert_missing_frames_are_empty=True,
    )[..., 0]

    assert np.array_equal(voxels.astype(bool), lesion.on_ct.mask)


def test_each_frame_lies_where_its_source_plane_lies(made):
    read = dataset(segmentation_of(made))
    positions = {plane.sop_instance_uid: plane.position for plane in made.choice.ct.planes}

    for frame in read.PerFrameFunctionalGroupsSequence:
        cited = frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        at = frame.PlanePositionSequence[0].ImagePositionPatient
        assert np.allclose(at, positions[cited], atol=1e-6)


def test_planes_without_a_lesion_are_left_out(made):
    read = dataset(segmentation_of(made))
    occupied = made.findings.lesions[0].on_ct.mask.any(axis=(1, 2))

    assert read.NumberOfFrames == np.count_nonzero(occupied)


def test_it_is_binary_native_and_on_the_grid_of_the_ct(made):
    read = dataset(segmentation_of(made))

    assert read.SegmentationType == "BINARY"
    assert read.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert (read.Rows, read.Columns) == made_study.CT_GRID.shape[1:]
    assert read.FrameOfReferenceUID == made_study.FRAME_UID
    shared = read.SharedFunctionalGroupsSequence[0]
    assert shared.PixelMeasuresSequence[0].PixelSpacing == [4, 4]
    assert shared.PlaneOrientationSequence[0].ImageOrientationPatient == [1, 0, 0, 0, 1, 0]


def test_it_may_be_on_the_grid_of_the_pet(made):
    read = dataset(segmentation_of(made, segmentation_grid="PET"))

    assert (read.Rows, read.Columns) == made_study.PET_GRID.shape[1:]
    assert read.ReferencedSeriesSequence[0].SeriesInstanceUID == "2.25.1200"


def test_a_segment_outside_the_thorax_names_no_region(made):
    findings = made_study.findings(made_study.lesion(site=None))
    segment = dataset(segmentation_of(replace(made, findings=findings))).SegmentSequence[0]

    assert "AnatomicRegionSequence" not in segment


def test_a_segment_tells_what_it_is_where_and_who_found_it(made):
    segment = dataset(segmentation_of(made)).SegmentSequence[0]

    assert segment.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Neoplasm, Primary"
    region = segment.AnatomicRegionSequence[0]
    assert region.CodeMeaning == "Lung"
    assert region.AnatomicRegionModifierSequence[0].CodeMeaning == "Left"
    assert segment.SegmentAlgorithmType == "AUTOMATIC"
    assert segment.SegmentAlgorithmName == "petct-node"
    assert len(segment.RecommendedDisplayCIELabValue) == 3
    assert segment.TrackingID == "primary 1"
    algorithm = segment.SegmentationAlgorithmIdentificationSequence[0]
    assert "digest=sha256:abab" in algorithm.AlgorithmParameters


def test_a_region_that_came_with_the_study_is_not_called_automatic(tmp_path):
    made = made_study.study(tmp_path)
    given = made_study.findings(made_study.lesion(source="RTSTRUCT"))
    subject = source.subject_of((made.choice.ct,))
    provenance = of_findings(given, equipment=made_study.EQUIPMENT, key="k", when=made_study.WHEN)

    one = seg.segmentation(
        given.lesions,
        [lesion.on_ct for lesion in given.lesions],
        series=made.choice.ct,
        subject=subject,
        provenance=provenance,
    )

    assert dataset(one).SegmentSequence[0].SegmentAlgorithmType == "SEMIAUTOMATIC"


def test_two_lesions_are_two_segments_that_may_overlap(tmp_path):
    made = made_study.study(tmp_path)
    second = made_study.lesion(label="node", on_ct=made_study.ball(made_study.CT_GRID, (50, 0, 0)))
    both = made_study.findings(made_study.lesion(), second)

    one = segmentation_of(made_study.MadeStudy(choice=made.choice, petct=made.petct, findings=both))
    read = hd.seg.segread(io.BytesIO(one.part10))

    assert [s.SegmentLabel for s in read.SegmentSequence] == ["primary 1", "node 2"]
    assert len({s.TrackingUID for s in read.SegmentSequence}) == 2
    stored = sum(int(np.count_nonzero(frame)) for frame in read.pixel_array)
    assert stored == sum(lesion.on_ct.voxel_count for lesion in both.lesions)


def test_a_multiframe_source_is_cited_by_instance_and_frame(made):
    """The frames run from head to feet, against the planes, and one instance holds them all."""
    turned = made_study.multiframe(made)
    read = dataset(segmentation_of(turned))
    frames = {plane.position[2]: plane.frame for plane in turned.choice.ct.planes}

    for item in read.PerFrameFunctionalGroupsSequence:
        cited = item.DerivationImageSequence[0].SourceImageSequence[0]
        height = item.PlanePositionSequence[0].ImagePositionPatient[2]
        assert cited.ReferencedSOPInstanceUID == "2.25.1101"
        assert cited.ReferencedFrameNumber == frames[height]
    (instance,) = read.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert instance.ReferencedSOPClassUID == "1.2.840.10008.5.1.4.1.1.2.1"


def test_regions_that_do_not_fit_the_planes_are_refused(made):
    with pytest.raises(ValueError, match="do not fit the 20 planes"):
        seg.segmentation(
            made.findings.lesions,
            [made_study.ball(made_study.CT_GRID.crop((0, 0, 0), (10, 80, 80)))],
            series=made.choice.ct,
            subject=source.subject_of((made.choice.ct,)),
            provenance=of_findings(
                made.findings, equipment=made_study.EQUIPMENT, key="k", when=made_study.WHEN
            ),
        )


def test_a_focus_in_the_mediastinum_is_a_segment_with_codes_of_its_own(made):
    """The lung's neoplasm and what may be a node must not be taken for each other."""
    focus = made_study.lesion(
        label="focus-1",
        laterality="left",
        place="mediastinum",
        on_ct=made_study.ball(made_study.CT_GRID, (0, 0, 0)),
    )
    nodule = made_study.lesion(
        label="focus-2", place="lung", on_ct=made_study.ball(made_study.CT_GRID, (-60, 0, 0))
    )
    several = replace(made, findings=made_study.findings(made_study.lesion(), focus, nodule))

    primary, node, other = dataset(segmentation_of(several)).SegmentSequence

    kinds = [
        segment.SegmentedPropertyTypeCodeSequence[0].CodeMeaning
        for segment in (primary, node, other)
    ]
    assert kinds == ["Neoplasm, Primary", "Lesion", "Neoplasm"]
    regions = [segment.AnatomicRegionSequence[0] for segment in (primary, node, other)]
    assert [region.CodeMeaning for region in regions] == ["Lung", "Mediastinum", "Lung"]
    assert "AnatomicRegionModifierSequence" not in regions[1]
    colours = {tuple(segment.RecommendedDisplayCIELabValue) for segment in (primary, node, other)}
    assert len(colours) == len({s.TrackingUID for s in (primary, node, other)}) == 3


def with_balls(*centres, holed=False):
    """Lesions of the CT around these places; holed, without the middle plane of the first."""
    regions = [made_study.ball(made_study.CT_GRID, centre) for centre in centres]
    if holed:
        mask = regions[0].mask.copy()
        mask[round(float(regions[0].voxels[:, 0].mean()))] = False
        regions[0] = replace(regions[0], mask=mask)
    return [made_study.lesion(label=f"{n}", on_ct=region) for n, region in enumerate(regions)]


LESIONS = {
    "one": with_balls((50, 0, 0)),
    "one with a hole": with_balls((50, 0, 0), holed=True),
    "apart": with_balls((50, 0, 0), (-50, 0, 20)),
    "overlapping": with_balls((50, 0, 0), (54, 0, 4), (-60, 0, 0)),
}
PLACES = {
    "as they are": lambda _, p: p,
    "from head to feet": lambda _, p: (*p[:2], -p[2]),
    "at long decimals": lambda n, p: (-1 / 3, p[1] / 7, n * 10 / 3),
    "unevenly spaced": lambda n, p: (*p[:2], p[2] + 0.4 * n * n),
    "leaning": lambda n, p: (p[0] + n / 10, *p[1:]),
}


@pytest.mark.parametrize("multiframe", [False, True], ids=["files", "one file"])
@pytest.mark.parametrize("places", PLACES)
@pytest.mark.parametrize("lesions", LESIONS)
def test_it_has_the_bytes_of_one_of_which_highdicom_tells_every_frame(
    made, lesions, places, multiframe
):
    ct = (made_study.multiframe(made) if multiframe else made).choice.ct
    planes = [replace(p, position=PLACES[places](n, p.position)) for n, p in enumerate(ct.planes)]
    series = replace(ct, planes=tuple(planes))
    findings = made_study.findings(*LESIONS[lesions])
    subject = source.subject_of((ct,))
    about = {
        "series": series,
        "subject": subject,
        "provenance": of_findings(
            findings, equipment=made_study.EQUIPMENT, key="k", when=made_study.WHEN
        ),
    }
    regions = [lesion.on_ct for lesion in findings.lesions]
    ours = seg.segmentation(findings.lesions, regions, **about)

    assert ours == by_highdicom.segmentation(findings.lesions, regions, **about)


def test_one_head_serves_any_segments(made):
    """It is made before anything is found, and the same after it was used."""
    ground = Groundwork(
        choice=made.choice,
        petct=made.petct,
        equipment=made_study.EQUIPMENT,
        key="k",
        when=made_study.WHEN,
    )
    for name in ("one", "overlapping", "one"):
        findings = made_study.findings(*LESIONS[name])
        about = {
            "series": made.choice.ct,
            "subject": ground.subject,
            "provenance": of_findings(
                findings, equipment=made_study.EQUIPMENT, key="k", when=made_study.WHEN
            ),
        }
        regions = [lesion.on_ct for lesion in findings.lesions]
        afresh = seg.segmentation(findings.lesions, regions, **about)

        assert seg.segmentation(findings.lesions, regions, **about, head=ground.head) == afresh
