"""Contours and segments come onto the images' grids, the likeliest primary tumour first."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from inference.geometry import axial_grid
from inference.petct import RegionSource
from node.config import Selection
from node.dicom import segments
from node.dicom.naming import Wanted, rank
from node.dicom.polygons import draw
from node.dicom.rtstruct import rois
from node.dicom.series import choose
from node.dicom.volumes import load
from tests.node.dicom.minimal import FRAME, STUDY, code, ct_plane, pet_plane, save, series

WANTED = Wanted(names=Selection().contour_names, codes=Selection().contour_codes)
GRID = axial_grid(shape=(6, 20, 30), spacing=(3.0, 2.0, 1.0), centre=(10.0, -5.0, 40.0))


def square(slice_index, rows, columns, grid=GRID):
    """A polygon along the edges of the voxels of two half-open ranges."""
    (top, bottom), (left, right) = rows, columns
    corners = [(top, left), (top, right), (bottom, right), (bottom, left)]
    return grid.to_patient([(slice_index, r - 0.5, c - 0.5) for r, c in corners])


def box(slices, rows, columns, grid=GRID):
    mask = np.zeros(grid.shape, bool)
    mask[slice(*slices), slice(*rows), slice(*columns)] = True
    return mask


def test_a_polygon_along_voxel_edges_gives_those_voxels():
    drawn = draw([square(i, (4, 9), (10, 20)) for i in (1, 2, 3)], GRID)

    assert np.array_equal(drawn.mask, box((1, 4), (4, 9), (10, 20)))
    assert drawn.dropped == 0


def test_a_contour_of_a_million_points_takes_no_more_memory_than_its_points():
    """Four times it runs up and down the image, eight million crossings of rows in all."""
    rows = np.tile([-5.0, 25.0], 50_000)
    columns = np.linspace(0, 29, rows.size)
    zigzag = GRID.to_patient(np.column_stack([np.full(rows.size, 1.0), rows, columns]))
    tracemalloc.start()
    try:
        drawn = draw([zigzag] * 4, GRID)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert not drawn.mask.any()  # each of an even number cuts out what the one before drew
    assert peak < 250e6


def test_a_voxel_belongs_where_its_centre_lies_inside():
    """From a little left of column 10's centre to a little left of column 12's: 10 and 11."""
    inside = GRID.to_patient(
        [(1, r, c) for r, c in ((2.9, 9.9), (2.9, 11.9), (4.1, 11.9), (4.1, 9.9))]
    )

    assert np.array_equal(draw([inside], GRID).mask, box((1, 2), (3, 5), (10, 12)))


def test_a_polygon_inside_another_cuts_a_hole():
    outer, hole = square(2, (2, 12), (5, 25)), square(2, (5, 8), (10, 15))
    expected = box((2, 3), (2, 12), (5, 25)) & ~box((2, 3), (5, 8), (10, 15))

    assert np.array_equal(draw([outer, hole], GRID).mask, expected)


def test_a_keyhole_is_a_hole():
    """One polygon: round the outside, in along row 5's edge, round the hole, and out again."""
    points = [(1.5, 4.5), (1.5, 24.5), (11.5, 24.5), (11.5, 4.5), (6.5, 4.5)]
    points += [(6.5, 9.5), (7.5, 9.5), (7.5, 14.5), (4.5, 14.5), (4.5, 9.5), (6.5, 9.5), (6.5, 4.5)]
    keyhole = GRID.to_patient([(2, row, column) for row, column in points])
    expected = box((2, 3), (2, 12), (5, 25)) & ~box((2, 3), (5, 8), (10, 15))

    assert np.array_equal(draw([keyhole], GRID).mask, expected)


def test_two_islands_of_one_plane_are_both_drawn():
    drawn = draw([square(2, (2, 4), (3, 6)), square(2, (10, 14), (20, 29))], GRID)

    assert drawn.mask.sum() == 2 * 3 + 4 * 9


def test_a_polygon_over_the_edge_of_the_image_is_cut_off():
    assert np.array_equal(
        draw([square(0, (-5, 4), (25, 60))], GRID).mask, box((0, 1), (0, 4), (25, 30))
    )


@pytest.mark.parametrize(
    "polygon",
    [
        square(-1, (2, 5), (2, 5)),
        square(6.1, (2, 5), (2, 5)),
        GRID.to_patient([(1, 2, 2), (1, 2, 8), (2, 8, 8)]),
        square(2, (2, 5), (2, 5))[:2],
    ],
    ids=["below", "above", "not parallel", "two points"],
)
def test_a_polygon_on_no_slice_is_dropped_and_counted(polygon):
    drawn = draw([polygon, square(1, (2, 5), (2, 5))], GRID)

    assert drawn.dropped == 1
    assert drawn.mask.sum() == 9


def test_a_plane_within_half_a_slice_is_taken():
    assert np.array_equal(
        draw([square(2.4, (2, 5), (2, 5))], GRID).mask, box((2, 3), (2, 5), (2, 5))
    )


def test_planes_closer_than_slices_do_not_cancel_each_other():
    near, far = square(2.0, (2, 5), (2, 5)), square(2.3, (2, 5), (2, 5))

    assert np.array_equal(draw([near, far], GRID).mask, box((2, 3), (2, 5), (2, 5)))


def test_contours_on_every_second_slice_stand_for_those_between():
    planes = [square(i, (2, 5), (2, 5)) for i in (0, 2, 4)]

    assert draw(planes, GRID).mask.any(axis=(1, 2)).tolist() == [True] * 6


def test_a_gap_between_two_lesions_stays_a_gap():
    fine = axial_grid(shape=(12, 20, 30), spacing=(3.0, 2.0, 1.0))
    planes = [square(i, (2, 5), (2, 5), fine) for i in (1, 2, 3, 8, 9)]

    assert np.flatnonzero(draw(planes, fine).mask.any(axis=(1, 2))).tolist() == [1, 2, 3, 8, 9]


@settings(max_examples=40)
@given(
    radius_mm=st.floats(4, 9),
    row=st.floats(8, 11),
    column=st.floats(12, 17),
)
def test_a_disc_holds_the_voxels_whose_centres_it_holds(radius_mm, row, column):
    angles = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    rows, columns = row + radius_mm / 2 * np.sin(angles), column + radius_mm * np.cos(angles)
    points = GRID.to_patient(np.stack([np.full(720, 3), rows, columns], axis=-1))
    drawn = draw([points], GRID).mask[3]

    grid_rows, grid_columns = np.indices(drawn.shape)
    distance = np.hypot((grid_rows - row) * 2, grid_columns - column)
    sure = np.abs(distance - radius_mm) > 0.01
    assert np.array_equal(drawn[sure], (distance < radius_mm)[sure])


@pytest.mark.parametrize(
    ("surer", "less_sure"),
    [
        ("GTVp", "GTV-1"),
        ("gtv_p", "GTV"),
        ("GTV-1", "GTV"),
        ("GTV", "GTV_Mass_PET"),
        ("GTV_Mass_PET", "GTV_Edema"),
        ("lesion 3", "GTV_Edema"),
        ("gtv left", "Primary"),
        ("GTV 1", "Tumor"),
    ],
)
def test_names_rank_in_the_order_of_the_list_and_edema_last(surer, less_sure):
    assert rank(surer, (), WANTED) < rank(less_sure, (), WANTED)


@pytest.mark.parametrize(
    "name",
    [
        "GTVn",
        "GTV_N1",
        "GTV-LN2",
        "gtv nodes",
        "GTV nodal",
        "GTV lymph",
        "GTV met",
        "Lung",
        "PTV",
        "",
    ],
)
def test_nodes_metastases_and_other_structures_are_never_wanted(name):
    assert rank(name, (), WANTED) is None


def test_a_number_must_not_go_on():
    assert rank("GTV-10", (), Wanted(names=("GTV-1",), codes=())) is None


@pytest.mark.parametrize(
    "concept", [("86049000", "SCT"), ("M-80003", "SRT"), ("M-80003", "SNM3"), ("M-80003", "99SDM")]
)
def test_the_code_of_a_primary_neoplasm_is_wanted_in_any_scheme(concept):
    scheme = {"SNM3": "SRT", "99SDM": "SRT"}.get(concept[1], concept[1])
    item = Dataset()
    item.SegmentSequence = [segment_item(1, "Segment 1", concept)]
    (segment,) = segments.segments(item)

    assert segment.codes[0].scheme_designator == scheme
    assert rank(segment.label, segment.codes, WANTED) is not None


def segment_item(number, label, concept=("272673000", "SCT"), algorithm="MANUAL"):
    item = Dataset()
    item.SegmentNumber, item.SegmentLabel = number, label
    item.SegmentAlgorithmType = algorithm
    item.SegmentedPropertyTypeCodeSequence = [code(*concept, "concept")]
    return item


def file_of(sop_class_uid, uid, modality):
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class_uid, uid
    ds.file_meta.MediaStorageSOPClassUID = sop_class_uid
    ds.file_meta.MediaStorageSOPInstanceUID = uid
    ds.StudyInstanceUID, ds.SeriesInstanceUID = STUDY, f"{uid}.9"
    ds.Modality = modality
    return ds


def structure_set(names, refer_to="1.2.3.2", frame=FRAME, uid="1.2.7", place=8.0):
    """Every named region is the same square of 2 x 3 voxels on plane 2 of the PET."""
    ds = file_of("1.2.840.10008.5.1.4.1.1.481.3", uid, "RTSTRUCT")
    ds.StructureSetROISequence, ds.ROIContourSequence = [], []
    for number, name in enumerate(names, start=1):
        roi, drawn, contour = Dataset(), Dataset(), Dataset()
        roi.ROINumber, roi.ROIName = number, name
        roi.ReferencedFrameOfReferenceUID = frame
        contour.ContourGeometricType = "CLOSED_PLANAR"
        left, right, top, bottom = -14 + 2 * 4 - 2, -14 + 5 * 4 - 2, -14 + 4 - 2, -14 + 3 * 4 - 2
        corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
        contour.ContourData = [value for x, y in corners for value in (x, y, place)]
        contour.NumberOfContourPoints = 4
        if refer_to:
            image = Dataset()
            image.ReferencedSOPClassUID = "1.2.840.10008.5.1.4.1.1.128"
            image.ReferencedSOPInstanceUID = f"{refer_to}.3"
            contour.ContourImageSequence = [image]
        drawn.ReferencedROINumber, drawn.ContourSequence = number, [contour]
        ds.StructureSetROISequence.append(roi)
        ds.ROIContourSequence.append(drawn)
    return ds


def loaded(folder, *documents):
    images = [*series(pet_plane, "1.2.3.2"), *series(ct_plane, "1.2.3.3")]
    choice = choose(save(folder, [*images, *documents]))
    return load(choice, contour_names=WANTED.names, contour_codes=WANTED.codes)


def told(petct):
    return [reason.code for reason in petct.warnings]


def test_a_contour_is_drawn_on_the_images_it_refers_to(tmp_path):
    petct = loaded(tmp_path, structure_set(["GTV"]), structure_set(["GTV"], "1.2.3.3", uid="1.2.8"))
    on_pet, on_ct = petct.given

    assert on_pet.region.grid is petct.pet.grid
    assert on_ct.region.grid is petct.ct.grid
    assert np.argwhere(on_pet.region.mask).tolist() == [
        [2, row, column] for row in (1, 2) for column in (2, 3, 4)
    ]
    assert (on_pet.source, on_pet.name) == (RegionSource.RTSTRUCT, "GTV")
    assert (on_pet.sop_instance_uid, on_pet.series_instance_uid) == ("1.2.7", "1.2.7.9")


def test_several_contours_are_ranked_and_told(tmp_path):
    petct = loaded(tmp_path, structure_set(["GTV_Edema", "GTVn", "lesion", "GTV-1", "Lung"]))

    assert [given.name for given in petct.given] == ["GTV-1", "lesion", "GTV_Edema"]
    assert told(petct) == ["CONTOUR_SEVERAL"]
    assert "'GTV-1' of 3" in petct.warnings[0].meaning


def test_regions_of_which_none_is_taken_are_counted(tmp_path):
    petct = loaded(tmp_path, structure_set(["Heart", "Lung", "GTVn"]))

    assert petct.given == ()
    assert told(petct) == ["CONTOUR_UNTAKEN"]
    assert petct.warnings[-1].meaning.endswith(": 3 of other names")


@pytest.mark.parametrize(
    ("document", "code_value"),
    [
        (structure_set(["GTV"], refer_to="1.2.99"), "CONTOUR_NO_IMAGE"),
        (structure_set(["GTV"], refer_to="", frame="1.2.99"), "CONTOUR_FRAME"),
        (structure_set(["GTV"], place=30.0), "CONTOUR_DROPPED"),
    ],
    ids=["no image", "frame", "off the grid"],
)
def test_a_contour_that_does_not_belong_is_left_with_a_warning(tmp_path, document, code_value):
    petct = loaded(tmp_path, document)

    assert petct.given == ()
    assert told(petct)[0] == code_value


def test_a_contour_without_references_is_placed_by_its_frame(tmp_path):
    petct = loaded(tmp_path, structure_set(["GTV"], refer_to=""))

    assert petct.given[0].region.grid is petct.ct.grid


def test_a_reference_to_an_image_outweighs_a_made_up_frame(tmp_path):
    petct = loaded(tmp_path, structure_set(["GTV"], frame="1.2.99"))

    assert petct.given[0].region.grid is petct.pet.grid


def test_a_structure_set_that_cannot_be_read_is_told(tmp_path):
    images = [*series(pet_plane, "1.2.3.2"), *series(ct_plane, "1.2.3.3")]
    paths = save(tmp_path, [*images, structure_set(["GTV"])])
    choice = choose(paths)
    paths[-1].unlink()
    petct = load(choice, contour_names=WANTED.names, contour_codes=WANTED.codes)

    assert petct.given == ()
    assert told(petct) == ["CONTOUR_BAD"]


def segmentation(kind, items, frames, places, **values):
    """Frames of 8 x 8 on the PET's planes at ``places``; ``values`` are per frame."""
    ds = file_of("1.2.840.10008.5.1.4.1.1.66.4", "1.2.6", "SEG")
    ds.FrameOfReferenceUID = FRAME
    ds.SegmentationType, ds.SegmentSequence = kind, items
    ds.Rows = ds.Columns = 8
    ds.NumberOfFrames = len(frames)
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
    bits = 1 if kind == "BINARY" else 8
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = bits, bits, bits - 1
    ds.MaximumFractionalValue = 200
    shared, measures, axes = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [4.0, 4.0], 4.0
    axes.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [axes]
    ds.SharedFunctionalGroupsSequence = [shared]
    ds.PerFrameFunctionalGroupsSequence = []
    for place, number in zip(places, values["segments"], strict=True):
        group, position, segment = Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = [-14.0, -14.0, place]
        segment.ReferencedSegmentNumber = number
        group.PlanePositionSequence = [position]
        group.SegmentIdentificationSequence = [segment]
        ds.PerFrameFunctionalGroupsSequence.append(group)
    reference, image = Dataset(), Dataset()
    image.ReferencedSOPClassUID = "1.2.840.10008.5.1.4.1.1.128"
    image.ReferencedSOPInstanceUID = "1.2.3.2.1"
    reference.SeriesInstanceUID, reference.ReferencedInstanceSequence = "1.2.3.2", [image]
    ds.ReferencedSeriesSequence = [reference]
    stored = np.asarray(frames, np.uint8)
    ds.PixelData = (
        np.packbits(stored.ravel(), bitorder="little").tobytes() if bits == 1 else stored.tobytes()
    )
    return ds


def frame_of(value, *voxels):
    frame = np.zeros((8, 8), np.uint8)
    for voxel in voxels:
        frame[voxel] = value
    return frame


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


@pytest.mark.parametrize("name", ["STS_001", "STS_002", "STS_025"])
def test_a_real_contour_on_pet_and_on_ct_encloses_the_same_volume(test_data, name):
    choice = choose(list((test_data / "ibsi-sts-petct-gml" / name).rglob("*.dcm")))
    petct = load(choice, contour_names=WANTED.names, contour_codes=WANTED.codes)
    on_pet, on_ct = petct.given

    assert (on_pet.name, on_ct.name) == ("GTV_Mass_PET", "GTV_Mass_CT")
    assert on_pet.region.grid is petct.pet.grid
    assert on_pet.region.volume_ml == pytest.approx(on_ct.region.volume_ml, rel=0.02)


@pytest.mark.parametrize(("name", "suv_max"), [("STS_002", 21.6757), ("STS_025", 6.3759)])
def test_the_hottest_voxel_of_a_real_crop_lies_in_its_contour(test_data, name, suv_max):
    """STS_001's hottest voxel, 25.4123, lies outside its contour."""
    choice = choose(list((test_data / "ibsi-sts-petct-gml" / name).rglob("*.dcm")))
    petct = load(choice, contour_names=WANTED.names, contour_codes=WANTED.codes)

    inside = petct.pet.voxels[petct.given[0].region.mask]
    assert inside.max() == pytest.approx(suv_max, abs=1e-4)


def test_a_real_structure_set_tells_its_regions_and_references(test_data):
    (roi,) = rois(dcmread(test_data / "rt-utils-rtstruct" / "rt.dcm"))
    image = dcmread(test_data / "rt-utils-rtstruct" / "ct_1.dcm", stop_before_pixels=True)

    assert roi.name == "ROI-1"
    assert roi.references().instances == {image.SOPInstanceUID}
    assert roi.references().series == {image.SeriesInstanceUID}
    assert [len(polygon) for polygon in roi.polygons()] == [4, 8]


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
