"""Segments come onto the images' grids, whoever drew them and however they are stored."""

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from inference.petct import RegionSource
from node.dicom import segments
from node.dicom.naming import rank
from tests.node.dicom.drawn_regions import (
    WANTED,
    frame_of,
    loaded,
    segment_item,
    segmentation,
    structure_set,
    told,
)
from tests.node.dicom.minimal import code


def test_sparse_binary_segments_come_onto_the_pet(tmp_path):
    items = [segment_item(1, "GTV"), segment_item(2, "Lung")]
    frames = [frame_of(1, (5, 6)), frame_of(1, (1, 2), (1, 3)), frame_of(1, (0, 0))]
    ds = segmentation("BINARY", items, frames, [12.0, 4.0, 8.0], segments=[1, 1, 2])
    (given,) = loaded(tmp_path, ds).given

    assert np.argwhere(given.region.mask).tolist() == [[1, 1, 2], [1, 1, 3], [3, 5, 6]]
    assert (given.name, given.source) == ("GTV", RegionSource.SEG)


def test_a_fractional_segment_holds_voxels_from_one_half(tmp_path):
    frames = [frame_of(100, (1, 1)) + frame_of(99, (1, 2)) + frame_of(200, (1, 3))]
    ds = segmentation("FRACTIONAL", [segment_item(1, "GTV")], frames, [8.0], segments=[1])
    (given,) = loaded(tmp_path, ds).given

    assert np.argwhere(given.region.mask).tolist() == [[2, 1, 1], [2, 1, 3]]


def test_a_labelmap_holds_segments_by_their_number(tmp_path):
    frames = [frame_of(7, (1, 1)) + frame_of(2, (1, 2)), frame_of(7, (4, 4))]
    ds = segmentation("LABELMAP", [segment_item(7, "GTV")], frames, [0.0, 16.0], segments=[0, 0])
    (given,) = loaded(tmp_path, ds).given

    assert np.argwhere(given.region.mask).tolist() == [[0, 1, 1], [4, 4, 4]]


def test_a_segment_between_the_planes_is_carried_and_told(tmp_path):
    """Two frames of 4 mm at 5 and 9 mm lie over the planes at 4 and 8 mm more than over others."""
    everything = np.ones((8, 8), np.uint8)
    ds = segmentation(
        "BINARY", [segment_item(1, "GTV")], [everything] * 2, [5.0, 9.0], segments=[1, 1]
    )
    petct = loaded(tmp_path, ds)

    assert np.unique(np.argwhere(petct.given[0].region.mask)[:, 0]).tolist() == [1, 2]
    assert told(petct) == ["CONTOUR_CARRIED"]


def test_a_segment_that_an_algorithm_drew_alone_must_name_a_site_in_the_thorax(tmp_path):
    item = segment_item(1, "GTV", algorithm="AUTOMATIC")
    ds = segmentation("BINARY", [item], [frame_of(1, (1, 1))], [4.0], segments=[1])
    left = loaded(tmp_path, ds)
    item.AnatomicRegionSequence = [code("39607008", "SCT", "Lung")]
    taken = loaded(tmp_path, ds)

    assert (left.given, told(left)) == ((), ["CONTOUR_NO_SITE"])
    assert [given.name for given in taken.given] == ["GTV"]
    assert told(taken) == ["CONTOUR_AUTO"]


@pytest.mark.parametrize(
    ("approval", "names", "codes"),
    [("UNAPPROVED", [], ["CONTOUR_NO_SITE"]), ("APPROVED", ["GTV"], [])],
)
def test_an_automatic_contour_counts_once_a_person_approved_it(tmp_path, approval, names, codes):
    ds = structure_set(["GTV"])
    ds.StructureSetROISequence[0].ROIGenerationAlgorithm = "AUTOMATIC"
    ds.ApprovalStatus = approval
    petct = loaded(tmp_path, ds)

    assert [given.name for given in petct.given] == names
    assert told(petct) == codes


@pytest.mark.parametrize(("name", "wanted"), [("1", True), ("GTVn", False), ("Lung", False)])
def test_the_label_names_a_contour_whose_name_is_only_a_number(tmp_path, name, wanted):
    ds, observation = structure_set([name]), Dataset()
    observation.ReferencedROINumber, observation.ROIObservationLabel = 1, "GTV"
    ds.RTROIObservationsSequence = [observation]

    assert bool(loaded(tmp_path, ds).given) is wanted


def test_a_segmentation_whose_pixels_are_cut_off_is_told(tmp_path):
    ds = segmentation(
        "LABELMAP", [segment_item(1, "GTV")], [frame_of(1, (1, 1))] * 2, [4.0, 8.0], segments=[0, 0]
    )
    ds.PixelData = ds.PixelData[:64]

    assert told(loaded(tmp_path, ds)) == ["CONTOUR_BAD"]


def test_an_empty_segment_is_told(tmp_path):
    ds = segmentation("BINARY", [segment_item(1, "GTV")], [frame_of(1)], [4.0], segments=[1])

    assert told(loaded(tmp_path, ds)) == ["CONTOUR_EMPTY"]


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("highdicom-test-files/seg_image_ct_binary_overlap.dcm", None),
        ("highdicom-test-files/seg_image_ct_true_fractional.dcm", None),
        ("dcmqi-examples/segmentations/partial_overlaps.dcm", None),
        ("dcmqi-examples/segmentations/sparse-labelmap-ppv5.dcm", None),
        ("ibsi-digital-phantom-pixelmed-seg/mask/mask.dcm", 74),
    ],
)
def test_real_segmentations_hold_what_their_frames_hold(test_data, name, counts):
    """The IBSI digital phantom's region has 74 voxels (IBSI reference manual)."""
    ds = dcmread(test_data / name)
    stored = ds.pixel_array
    total = 0
    for segment in segments.segments(ds):
        if ds.SegmentationType == "LABELMAP":
            expected = np.count_nonzero(stored == segment.number)
        else:
            mine = [
                group.SegmentIdentificationSequence[0].ReferencedSegmentNumber == segment.number
                for group in ds.PerFrameFunctionalGroupsSequence
            ]
            half = ds.get("MaximumFractionalValue", 1) / 2
            least = half if ds.SegmentationType == "FRACTIONAL" else 1
            expected = np.count_nonzero(stored[mine] >= least)
        region = segments.region(ds, segment)
        assert region.voxel_count == expected
        total += region.voxel_count
    assert total > 0
    assert counts in (None, total)


def test_a_real_segmentation_of_a_primary_tumour_has_its_reported_volume(test_data):
    """The SR beside it reports 33.5824 ml."""
    ds = dcmread(test_data / "dcmqi-examples" / "sr-example" / "seg.dcm")
    (segment,) = segments.segments(ds)

    assert rank(segment.label, segment.codes, WANTED) is not None
    assert segments.region(ds, segment).volume_ml == pytest.approx(33.5824, abs=1e-3)
