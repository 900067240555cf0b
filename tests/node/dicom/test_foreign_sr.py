"""Real reports tell regions, and with images made in their geometry, where these lie."""

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from inference.petct import RegionSource
from node.dicom import foreign_sr
from tests.node.dicom.foreign_reports import LUNG, group, loaded, report, told
from tests.node.dicom.minimal import code, ct_plane, pet_plane

IRM = "ihe-air-vendor-sr/EUCAT23-samples/IRM/IRM-segmentation-detect-renal-tumors"
SIEMENS = "ihe-air-vendor-sr/CAT22-vendor-samples/Siemens_AI_RadCompanion"
MILVUE = "ihe-air-vendor-sr/EUCAT24-samples/Milvue/KOS"


def one_of(test_data, pattern):
    (path,) = test_data.glob(pattern)
    return dcmread(path)


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
    for content in report.ContentSequence[-1].ContentSequence:
        for item in content.get("ContentSequence", []):
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
    for content in report.ContentSequence[-1].ContentSequence:
        for item in content.get("ContentSequence", []):
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
