"""Contours come onto the grid of their images, the likeliest primary tumour first."""

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from inference.petct import RegionSource
from node.dicom import segments
from node.dicom.naming import Wanted, rank
from node.dicom.rtstruct import rois
from node.dicom.series import choose
from node.dicom.volumes import load
from tests.node.dicom.drawn_regions import WANTED, loaded, segment_item, structure_set, told
from tests.node.dicom.minimal import ct_plane, pet_plane, save, series


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
