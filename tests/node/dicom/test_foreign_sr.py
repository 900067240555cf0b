"""Reports and Segmentations of other systems, and our own coming back, as regions."""

import io
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from scipy import ndimage

from inference.petct import RegionSource
from inference.scanner import SCANNERS
from node.dicom import attributes, foreign_sr, graphics, results, segments
from node.dicom.contours import Wanted, given_regions
from node.dicom.graphics import Graphic
from node.dicom.naming import in_thorax
from node.dicom.outline import outline
from node.dicom.series import Document, choose
from node.dicom.volumes import load
from tests import made_study
from tests.node.dicom.minimal import CT, FRAME, STUDY, code, ct_plane, pet_plane, save, series

WANTED = Wanted(
    names=("GTV", "primary", "lesion"), codes=("SCT:86049000", "SCT:108369006", "SCT:27925004")
)
LUNG = code("39607008", "SCT", "Lung")
GRID = made_study.CT_GRID
IRM = "ihe-air-vendor-sr/EUCAT23-samples/IRM/IRM-segmentation-detect-renal-tumors"
SIEMENS = "ihe-air-vendor-sr/CAT22-vendor-samples/Siemens_AI_RadCompanion"
MILVUE = "ihe-air-vendor-sr/EUCAT24-samples/Milvue/KOS"


def one_of(test_data, pattern):
    (path,) = test_data.glob(pattern)
    return dcmread(path)


# --- what the groups of real reports hold ---------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (f"{IRM}/SR_*.dcm", [("Overall", ["POLYLINE"], 0)]),
        (
            "ihe-air-vendor-sr/EUCAT23-samples/MILVUE/Case05_Locations_2.0/*.dcm",
            [("Pulmonaryopacity0", ["POLYLINE"], 0), ("Pleuraleffusion1", ["POLYLINE"], 0)],
        ),
        ("dcmqi-examples/sr-example/sr.dcm", [("primary tumor", [], 1)]),
        (
            "highdicom-test-files/sr_document_with_multiple_groups.dcm",
            [("LungNodule0001", ["CIRCLE"], 0), ("Vertebra0001", ["POINT"], 0)],
        ),
        ("highdicom-test-files/sr_document.dcm", [("Planar ROI Measurements", ["CIRCLE"], 0)]),
    ],
)
def test_real_reports_tell_their_regions_and_segments(test_data, pattern, expected):
    """An open polyline, as of the aorta in highdicom's file, encloses nothing."""
    found = [
        (group.name, [outline.graphic.kind for outline in group.outlines], len(group.segments))
        for group in foreign_sr.groups(one_of(test_data, pattern))
    ]

    assert found == expected


@pytest.mark.parametrize(
    "pattern",
    [
        f"{SIEMENS}/Chest_CT_LungLesions/*.dcm",  # ends of diameters alone
        f"{SIEMENS}/Chest_CT_LungParemchyma/*.dcm",  # sic; captures as representation
        f"{MILVUE}/SR*.dcm",  # angles
        f"{MILVUE}/1.*.dcm",  # a key object
        "ihe-air-vendor-sr/CAT22-vendor-samples/Qure.ai/*.dcm",
        *(f"ihe-air-vendor-sr/IHE_RAD_Tech_samples/ex{n}.dcm" for n in (2, 311, 312, 321, 322)),
    ],
)
def test_real_reports_that_outline_nothing_give_no_region(test_data, pattern):
    assert foreign_sr.groups(one_of(test_data, pattern)) == ()


def test_only_a_report_that_names_a_person_is_confirmed(test_data):
    assert foreign_sr.is_confirmed(one_of(test_data, "dcmqi-examples/sr-example/sr.dcm"))
    assert not foreign_sr.is_confirmed(one_of(test_data, f"{IRM}/SR_*.dcm"))


def test_verified_without_a_verifier_is_not_believed():
    ds, verifier = report(group("GTV"), observer="121007"), Dataset()
    ds.VerificationFlag = "VERIFIED"
    assert not foreign_sr.is_confirmed(ds)

    verifier.VerifyingObserverName = "Reader^A"
    ds.VerifyingObserverSequence = [verifier]
    assert foreign_sr.is_confirmed(ds)


# --- real reports with images made in their geometry ----------------------------------------------


def planes(make, series_uid, uids, positions, like, *, frame_uid):
    """A series of empty images with given UIDs and places, of the size and spacing of ``like``."""
    size, spacing = like
    made = []
    for index, (uid, position) in enumerate(zip(uids, positions, strict=True)):
        ds = make(index, series_uid)
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = uid
        ds.FrameOfReferenceUID = frame_uid
        ds.ImagePositionPatient = [float(v) for v in position]
        ds.Rows = ds.Columns = size
        ds.PixelSpacing = [float(spacing)] * 2
        ds.PixelData = np.zeros((size, size), np.int16).tobytes()
        made.append(ds)
    return made


def loaded(folder, study_uid, datasets, wanted=WANTED):
    for ds in datasets:
        ds.StudyInstanceUID = study_uid
    choice = choose(save(folder, datasets))
    return load(choice, contour_names=wanted.names, contour_codes=wanted.codes)


def told(petct):
    return [reason.code for reason in petct.warnings if reason.code.startswith("CONTOUR")]


def irm(folder, test_data, *documents):
    """IRM's CT as its Segmentation tells it: every plane's instance and place."""
    seg = one_of(test_data, f"{IRM}/SEG_*.dcm")
    places = {}
    for frame in seg.PerFrameFunctionalGroupsSequence:
        uid = frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        places[uid] = frame.PlanePositionSequence[0].ImagePositionPatient
    shared = seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    spacing = float(shared.PixelSpacing[0])
    common = {"frame_uid": seg.FrameOfReferenceUID}
    ct_uid = seg.ReferencedSeriesSequence[0].SeriesInstanceUID
    ct = planes(ct_plane, ct_uid, places, places.values(), (512, spacing), **common)
    pet_uids = [f"1.2.3.2.{n}" for n in range(len(places))]
    # The centre of the first of voxels eight times as wide lies 3.5 voxels further in.
    pet_places = [
        (x + 3.5 * spacing, y + 3.5 * spacing, z)
        for x, y, z in (map(float, p) for p in places.values())
    ]
    pet = planes(pet_plane, "1.2.3.2", pet_uids, pet_places, (64, 8 * spacing), **common)
    return loaded(folder, seg.StudyInstanceUID, [*ct, *pet, *documents])


def place_in_lung(test_data):
    """IRM's report and Segmentation, as if they said that the tumour lies in the lung."""
    report, seg = one_of(test_data, f"{IRM}/SR_*.dcm"), one_of(test_data, f"{IRM}/SEG_*.dcm")
    for group in report.ContentSequence[-1].ContentSequence:
        for item in group.get("ContentSequence", []):
            if item.ConceptNameCodeSequence[0].CodeValue == "363698007":
                item.ConceptCodeSequence = [LUNG]
            if item.ConceptNameCodeSequence[0].CodeValue == "121071":
                item.ConceptCodeSequence = [code("108369006", "SCT", "Neoplasm")]
    for segment in seg.SegmentSequence:
        segment.AnatomicRegionSequence = [LUNG]
    return report, seg


def test_an_outline_of_a_real_report_lies_on_the_real_segment_that_it_belongs_to(
    tmp_path, test_data
):
    """IRM sends both: pixel for pixel, the polyline runs along the border of the segment."""
    report, seg = place_in_lung(test_data)
    petct = irm(tmp_path, test_data, report, seg)
    on_segment, on_outline = petct.given

    (plane,) = np.flatnonzero(on_outline.region.mask.any(axis=(1, 2)))
    outline, segment = on_outline.region.mask[plane], on_segment.region.mask[plane]
    both = np.count_nonzero(outline & segment)
    assert 2 * both / (np.count_nonzero(outline) + np.count_nonzero(segment)) > 0.95
    assert on_segment.region.voxel_count == segment_voxels(seg, 2)


def segment_voxels(seg, number):
    mine = [
        frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber == number
        for frame in seg.PerFrameFunctionalGroupsSequence
    ]
    return np.count_nonzero(seg.pixel_array[mine])


def test_what_an_algorithm_drew_in_the_lung_is_taken_last_and_told(tmp_path, test_data):
    petct = irm(tmp_path, test_data, *place_in_lung(test_data))

    assert [given.source for given in petct.given] == [RegionSource.SEG, RegionSource.SR]
    assert [given.marks_only for given in petct.given] == [False, True]
    assert told(petct) == ["CONTOUR_SEVERAL", "CONTOUR_AUTO"]
    assert petct.given[0].origin == (
        "an algorithm of IRM SHERPA RCC drew it and no person confirmed it; "
        "the first of 2 by who drew it, extent, name and code"
    )


def test_a_tumour_of_the_kidney_is_never_the_primary_of_the_lung(tmp_path, test_data):
    """The segment does not say where it lies; an algorithm's word alone is not enough then."""
    report, _ = place_in_lung(test_data)
    for group in report.ContentSequence[-1].ContentSequence:
        for item in group.get("ContentSequence", []):
            if item.ConceptNameCodeSequence[0].CodeValue == "363698007":
                item.ConceptCodeSequence = [code("64033007", "SCT", "Kidney")]
    petct = irm(tmp_path, test_data, report, one_of(test_data, f"{IRM}/SEG_*.dcm"))

    assert petct.given == ()
    assert set(told(petct)) == {"CONTOUR_SITE", "CONTOUR_NO_SITE"}
    assert any("IRM SHERPA RCC" in reason.meaning for reason in petct.warnings)


def dcmqi(folder, test_data, *, site=None, with_seg=True):
    """dcmqi's PET as its Segmentation tells it; the tumour is said to lie in the tonsil."""
    seg = one_of(test_data, "dcmqi-examples/sr-example/seg.dcm")
    report = one_of(test_data, "dcmqi-examples/sr-example/sr.dcm")
    referenced = seg.ReferencedSeriesSequence[0]
    uids = [item.ReferencedSOPInstanceUID for item in referenced.ReferencedInstanceSequence]
    places = [
        frame.PlanePositionSequence[0].ImagePositionPatient
        for frame in seg.PerFrameFunctionalGroupsSequence
    ]
    measures = seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    like = (128, measures.PixelSpacing[0])
    common = {"frame_uid": seg.FrameOfReferenceUID}
    pet = planes(pet_plane, referenced.SeriesInstanceUID, uids, places, like, **common)
    ct_uids = [f"1.2.3.3.{n}" for n in range(len(uids))]
    ct = planes(ct_plane, "1.2.3.3", ct_uids, places, like, **common)
    if site is not None:
        seg.SegmentSequence[0].AnatomicRegionSequence = [site]
        for item in report.ContentSequence[-1].ContentSequence[0].ContentSequence:
            if item.ConceptNameCodeSequence[0].CodeValue == "G-C0E3":
                item.ConceptCodeSequence = [site]
    documents = [report, seg] if with_seg else [report]
    return loaded(folder, seg.StudyInstanceUID, [*ct, *pet, *documents])


def test_a_primary_of_the_tonsil_is_left(tmp_path, test_data):
    petct = dcmqi(tmp_path, test_data)

    assert petct.given == ()
    assert told(petct) == ["CONTOUR_SITE"]
    assert "pharyngeal tonsil" in petct.warnings[-1].meaning


def test_a_segment_that_a_report_measured_has_the_reported_volume(tmp_path, test_data):
    """The report says 33.5824 ml."""
    petct = dcmqi(tmp_path, test_data, site=LUNG)
    (given,) = petct.given

    assert given.source is RegionSource.SEG
    assert given.region.grid is petct.pet.grid
    assert given.region.volume_ml == pytest.approx(33.5824, abs=1e-3)
    assert given.origin == ""
    assert told(petct) == []


def test_a_report_on_a_segmentation_that_is_not_there_is_told(tmp_path, test_data):
    petct = dcmqi(tmp_path, test_data, site=LUNG, with_seg=False)

    assert petct.given == ()
    assert told(petct) == ["CONTOUR_NO_SEG"]
    assert "'primary tumor'" in petct.warnings[-1].meaning


def nodule_study(folder, test_data, *, with_image=True):
    """highdicom's CT image and two made ones above it, and its report by a person."""
    report = one_of(test_data, "highdicom-test-files/sr_document_with_multiple_groups.dcm")
    image = one_of(test_data, "highdicom-test-files/ct_image.dcm")
    x, y, z = map(float, image.ImagePositionPatient)
    places = [(x, y, z + 5 * n) for n in range(3)]
    like = (128, image.PixelSpacing[0])
    common = {"frame_uid": image.FrameOfReferenceUID}
    uids = [image.SOPInstanceUID if with_image else "1.2.3.3.1", "1.2.3.3.2", "1.2.3.3.3"]
    ct = planes(ct_plane, image.SeriesInstanceUID, uids, places, like, **common)
    pet = planes(pet_plane, "1.2.3.2", [f"1.2.3.2.{n}" for n in range(3)], places, like, **common)
    return loaded(folder, report.StudyInstanceUID, [*ct, *pet, report])


def test_a_circle_of_a_real_report_is_drawn_on_its_image(tmp_path, test_data):
    """Centre 45, 55 and radius 10 pixels: 314 of them."""
    petct = nodule_study(tmp_path, test_data)
    (given,) = petct.given

    rows, columns = np.nonzero(given.region.mask[0])
    assert given.name == "LungNodule0001"
    assert given.marks_only
    assert given.region.voxel_count == pytest.approx(np.pi * 100, abs=4)
    assert (columns.mean() + 0.5, rows.mean() + 0.5) == pytest.approx((45, 55), abs=0.1)
    assert told(petct) == ["CONTOUR_PLANAR"]


def test_a_report_on_images_that_are_not_there_is_told_and_does_no_harm(tmp_path, test_data):
    petct = nodule_study(tmp_path, test_data, with_image=False)

    assert petct.given == ()
    assert told(petct) == ["CONTOUR_NO_IMAGE"]


# --- reports made for one question each -----------------------------------------------------------


def item(kind, name, **values):
    ds = Dataset()
    ds.ValueType, ds.ConceptNameCodeSequence = kind, [code(name, "DCM", "concept")]
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


def scoord(kind, points, image="1.2.3.3.3", frame=None):
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = CT, image
    if frame is not None:
        reference.ReferencedFrameNumber = frame
    source = item("IMAGE", "121324", ReferencedSOPSequence=[reference])
    data = [float(v) for point in points for v in point]
    return item("SCOORD", "111030", GraphicType=kind, GraphicData=data, ContentSequence=[source])


def scoord3d(kind, points, frame_uid=FRAME):
    data = [float(v) for point in points for v in point]
    return item(
        "SCOORD3D",
        "121231",
        GraphicType=kind,
        GraphicData=data,
        ReferencedFrameOfReferenceUID=frame_uid,
    )


def group(name, *children, uid=None, site=LUNG):
    content = [item("TEXT", "112039", TextValue=name)]
    if uid:
        content.append(item("UIDREF", "112040", UID=uid))
    if site:
        place = item("CODE", "0", ConceptCodeSequence=[site])
        place.ConceptNameCodeSequence = [code("363698007", "SCT", "Finding Site")]
        content.append(place)
    return item("CONTAINER", "125007", ContentSequence=[*content, *children])


def report(*groups, observer="121006", uid="1.2.5"):
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.88.34", uid
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = uid
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.Modality = STUDY, f"{uid}.9", "SR"
    ds.Manufacturer, ds.ManufacturerModelName = "Maker", "Reader"
    who = item("CODE", "121005", ConceptCodeSequence=[code(observer, "DCM", "observer")])
    ds.ContentSequence = [who, item("CONTAINER", "126010", ContentSequence=list(groups))]
    return ds


def read(folder, *documents):
    images = [*series(pet_plane, "1.2.3.2"), *series(ct_plane, "1.2.3.3")]
    return loaded(folder, STUDY, [*images, *documents])


SQUARE = [(2, 1), (5, 1), (5, 3), (2, 3), (2, 1)]
"""Round the pixels of columns 2 to 4 and rows 1 and 2."""
SQUARE_VOXELS = [[row, column] for row in (1, 2) for column in (2, 3, 4)]


def test_a_closed_polyline_encloses_the_pixels_inside(tmp_path):
    petct = read(tmp_path, report(group("GTV", scoord("POLYLINE", SQUARE))))
    (given,) = petct.given

    assert np.argwhere(given.region.mask).tolist() == [[2, *voxel] for voxel in SQUARE_VOXELS]
    assert given.region.grid is petct.ct.grid
    assert (given.source, given.name, given.sop_instance_uid) == (RegionSource.SR, "GTV", "1.2.5")


def test_an_outline_on_the_pet_is_drawn_on_the_pet(tmp_path):
    petct = read(tmp_path, report(group("GTV", scoord("POLYLINE", SQUARE, "1.2.3.2.2"))))

    assert petct.given[0].region.grid is petct.pet.grid
    assert np.argwhere(petct.given[0].region.mask[1]).tolist() == SQUARE_VOXELS


@pytest.mark.parametrize(
    "graphic",
    [
        scoord("POLYLINE", SQUARE[:-1]),
        scoord("POLYLINE", [(1, 1), (5, 5)]),
        scoord("CIRCLE", [(4, 4)]),
        scoord("ELLIPSE", SQUARE[:3]),
    ],
    ids=["open", "line", "no edge", "no axes"],
)
def test_what_encloses_nothing_is_no_region(tmp_path, graphic):
    petct = read(tmp_path, report(group("GTV", graphic)))

    assert (petct.given, told(petct)) == ((), [])


def test_the_ends_of_a_diameter_are_no_region(tmp_path):
    length = item("NUM", "410668003", ContentSequence=[scoord("POLYLINE", SQUARE)])

    assert read(tmp_path, report(group("GTV", length))).given == ()


def test_groups_of_one_tracking_uid_are_one_volume(tmp_path):
    groups = [
        group("GTV", scoord("POLYLINE", SQUARE, f"1.2.3.3.{n}"), uid="1.2.77") for n in (2, 3)
    ]
    (given,) = read(tmp_path, report(*groups)).given

    assert np.unique(np.argwhere(given.region.mask)[:, 0]).tolist() == [1, 2]
    assert not given.marks_only


def test_planes_of_spatial_coordinates_are_one_volume(tmp_path):
    """Planes at 4, 8 and 12 mm: slices 1 to 3, voxels of 4 mm centred on -14, -10 ..."""
    corners = [(-8, -12), (4, -12), (4, -4), (-8, -4), (-8, -12)]
    loops = [scoord3d("POLYGON", [(x, y, z) for x, y in corners]) for z in (4, 8, 12)]
    petct = read(tmp_path, report(group("GTV", *loops)))
    (given,) = petct.given

    expected = [[n, *voxel] for n in (1, 2, 3) for voxel in SQUARE_VOXELS]
    assert np.argwhere(given.region.mask).tolist() == expected
    assert told(petct) == []


def test_a_point_marks_its_voxel(tmp_path):
    (given,) = read(tmp_path, report(group("GTV", scoord3d("POINT", [(-6, -10, 8)])))).given

    assert np.argwhere(given.region.mask).tolist() == [[2, 1, 2]]
    assert given.marks_only


@pytest.mark.parametrize(
    ("graphic", "code_value"),
    [
        (scoord("POLYLINE", SQUARE, "1.2.99"), "CONTOUR_NO_IMAGE"),
        (scoord3d("POINT", [(0, 0, 0)], frame_uid="1.2.99"), "CONTOUR_FRAME"),
        (scoord3d("POINT", [(0, 0, 500)]), "CONTOUR_EMPTY"),
        (scoord("CIRCLE", [(40, 4), (41, 4)]), "CONTOUR_EMPTY"),
    ],
    ids=["image", "frame", "above", "beside"],
)
def test_what_lies_elsewhere_is_left_with_a_warning(tmp_path, graphic, code_value):
    petct = read(tmp_path, report(group("GTV", graphic)))

    assert petct.given == ()
    assert told(petct)[-1] == code_value


def test_a_report_that_is_cut_off_is_told(tmp_path):
    images = [*series(pet_plane, "1.2.3.2"), *series(ct_plane, "1.2.3.3")]
    paths = save(tmp_path, [*images, report(group("GTV", scoord("POLYLINE", SQUARE)))])
    choice = choose(paths)
    paths[-1].unlink()
    petct = load(choice, contour_names=WANTED.names, contour_codes=WANTED.codes)

    assert (petct.given, told(petct)) == ((), ["CONTOUR_BAD"])


def test_a_content_tree_without_end_is_told(tmp_path):
    child = group("GTV", scoord("POLYLINE", SQUARE))
    for _ in range(40):
        child = item("CONTAINER", "111064", ContentSequence=[child])

    assert told(read(tmp_path, report(child))) == ["CONTOUR_BAD"]


def test_a_person_goes_before_an_algorithm_and_a_volume_before_one_plane(tmp_path):
    def volume(name):
        return [group(name, scoord("POLYLINE", SQUARE, f"1.2.3.3.{n}"), uid=name) for n in (2, 3)]

    by_person = report(*volume("lesion.2"), group("GTV flat", scoord("POLYLINE", SQUARE)))
    by_algorithm = report(*volume("GTV.1"), observer="121007", uid="1.2.6")
    petct = read(tmp_path, by_person, by_algorithm)

    assert [given.name for given in petct.given] == ["lesion.2", "GTV flat", "GTV.1"]
    assert petct.given[0].origin == "the first of 3 by who drew it, extent, name and code"


def test_of_equal_names_the_larger_region_goes_first(tmp_path):
    small = group("lesion 1", scoord("CIRCLE", [(4, 4), (4, 5)]))
    large = group("lesion 2", scoord("CIRCLE", [(4, 4), (4, 7)]))
    petct = read(tmp_path, report(small, large))

    assert [given.name for given in petct.given] == ["lesion 2", "lesion 1"]


def test_a_group_on_a_lymph_node_is_not_wanted(tmp_path):
    node = item("CODE", "121071", ConceptCodeSequence=[code("59441001", "SCT", "Lymph node")])

    assert read(tmp_path, report(group("lesion 1", node, scoord("POLYLINE", SQUARE)))).given == ()


# --- graphics and sites as values -----------------------------------------------------------------


def test_an_ellipse_encloses_pi_times_its_half_axes():
    """Half axes of 20 and 10 pixels: 628 of them."""
    ellipse = Graphic(kind="ELLIPSE", points=np.asarray([(20.0, 40), (60, 40), (40, 30), (40, 50)]))
    drawn = graphics.draw([graphics.in_patient(ellipse, GRID, 3)], GRID)

    assert np.count_nonzero(drawn.mask[3]) == pytest.approx(628, rel=0.01)
    assert drawn.mask.sum() == drawn.mask[3].sum()


@settings(max_examples=30)
@given(
    seed=st.integers(0, 2**32 - 1),
    scanner=st.sampled_from(["small", "feet-first", "oblique"]),
    slice_index=st.integers(0, 83),
)
def test_what_we_outline_is_what_we_read_back(seed, scanner, slice_index):
    """The polygon runs along the edges of pixels, on any grid: not one pixel is lost or won."""
    grid = SCANNERS[scanner].ct_grid(FRAME)
    noise = np.random.default_rng(seed).random(grid.shape[1:])
    plane = ndimage.gaussian_filter(noise, 6) > 0.51
    labels, count = ndimage.label(plane)
    assume(count > 0)
    largest = labels == np.argmax(np.bincount(labels.ravel())[1:]) + 1
    polyline = Graphic(kind="POLYLINE", points=outline(plane))

    drawn = graphics.draw([graphics.in_patient(polyline, grid, slice_index)], grid)

    assert np.array_equal(drawn.mask[slice_index], ndimage.binary_fill_holes(largest))
    assert drawn.dropped == 0


def test_an_ellipsoid_has_its_volume_and_its_place():
    """4/3 pi times 30, 24 and 20 mm: 60.3 ml."""
    axes = np.diag([30.0, 24.0, 20.0])
    ends = np.asarray([sign * axis for axis in axes for sign in (-1, 1)])
    points = ends + np.asarray((5, -3, 2))
    mask = graphics.draw([Graphic(kind="ELLIPSOID", points=points)], GRID).mask

    assert np.count_nonzero(mask) * GRID.voxel_volume_ml == pytest.approx(60.3, rel=0.05)
    assert GRID.to_patient(np.argwhere(mask).mean(axis=0)) == pytest.approx((5, -3, 2), abs=0.6)


@pytest.mark.parametrize(
    ("value", "scheme", "meaning", "expected"),
    [
        ("39607008", "SCT", "Lunge", True),
        ("T-28000", "SRT", "Lung", True),
        ("RID13437", "RADLEX", "Both lungs", True),
        ("41224006", "SCT", "Lower lobe of left lung", True),
        ("62683002", "SCT", "Mediastinal lymph node", False),
        ("64033007", "SCT", "Kidney", False),
        ("T-D00F7", "SRT", "Cervico-thoracic spine", False),
        ("T-C5300", "SRT", "pharyngeal tonsil (adenoid)", False),
    ],
)
def test_a_site_is_where_a_lung_tumour_arises_or_not(value, scheme, meaning, expected):
    assert in_thorax([attributes.code(scheme, value, meaning)]) is expected


def test_without_a_site_nothing_is_said():
    assert in_thorax([]) is None


# --- our own results coming back ------------------------------------------------------------------


@pytest.fixture
def own(tmp_path):
    """A study and the files of its report and Segmentation."""
    made = made_study.study(tmp_path)
    objects = results.analyzed(
        made.choice,
        made.petct,
        made.findings,
        equipment=made_study.EQUIPMENT,
        key="k",
        when=made_study.WHEN,
        options=results.ResultOptions(key_image=False),
    )
    return made, [dcmread(io.BytesIO(one.part10)) for one in objects]


def regions(made, folder, datasets):
    documents = []
    for index, ds in enumerate(datasets):
        path = folder / f"document {index}.dcm"
        ds.save_as(path, enforce_file_format=True)
        documents.append(
            Document(
                path=path,
                modality=ds.Modality,
                sop_class_uid=ds.SOPClassUID,
                sop_instance_uid=ds.SOPInstanceUID,
                series_instance_uid=ds.SeriesInstanceUID,
            )
        )
    known = made.choice.sop_instance_uids | {ds.SOPInstanceUID for ds in datasets}
    choice = replace(made.choice, documents=tuple(documents), sop_instance_uids=known)
    return given_regions(
        choice, pet_grid=made.petct.pet.grid, ct_grid=made.petct.ct.grid, wanted=WANTED
    )


def test_our_own_report_reads_back_as_it_was_meant(own):
    made, (seg, sr) = own
    lesion = made.findings.lesions[0]
    on_segment, on_pet = foreign_sr.groups(sr)

    assert on_segment.segments == ((seg.SOPInstanceUID, 1),)
    assert on_segment.tracking_uid == seg.SegmentSequence[0].TrackingUID
    assert on_pet.name == "primary 1 on PT"
    assert in_thorax(on_segment.sites) is True
    (segment,) = segments.segments(seg)
    region = segments.region(seg, segment)
    assert region.volume_ml == pytest.approx(lesion.on_ct.volume_ml)


def test_our_own_results_are_never_taken_for_a_contour(own, tmp_path):
    made, documents = own

    given, notes = regions(made, tmp_path, documents)

    assert given == ()
    assert {note.code for note in notes} == {"CONTOUR_OWN"}
    assert {note.meaning.rsplit(": ")[-1] for note in notes} == {"SEG", "SR"}


@pytest.mark.parametrize("algorithm", ["AUTOMATIC", "SEMIAUTOMATIC"])
def test_neither_are_those_that_rest_on_a_contour_that_came_with_the_study(
    own, tmp_path, algorithm
):
    made, (seg, _) = own
    seg.SegmentSequence[0].SegmentAlgorithmType = algorithm

    given, notes = regions(made, tmp_path, [seg])

    assert (given, [note.code for note in notes]) == ((), ["CONTOUR_OWN"])


def test_a_copy_that_was_edited_elsewhere_is_taken_voxel_by_voxel(own, tmp_path):
    made, (seg, _) = own
    seg.Manufacturer, seg.ManufacturerModelName = "Editor", "Workstation"
    seg.SegmentSequence[0].SegmentAlgorithmType = "SEMIAUTOMATIC"

    (given,), notes = regions(made, tmp_path, [seg])

    assert np.array_equal(given.region.mask, made.findings.lesions[0].on_ct.mask)
    assert (given.source, given.name, notes) == (RegionSource.SEG, "primary 1", ())
