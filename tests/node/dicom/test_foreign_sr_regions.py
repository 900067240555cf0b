"""What a report of another system outlines, measures or marks becomes a region, or a warning."""

import numpy as np
import pytest

from inference.petct import RegionSource
from node.dicom.series import choose
from node.dicom.volumes import load
from tests.node.dicom.foreign_reports import (
    SQUARE,
    WANTED,
    group,
    item,
    loaded,
    report,
    scoord,
    scoord3d,
    told,
)
from tests.node.dicom.minimal import STUDY, code, ct_plane, pet_plane, save, series


def read(folder, *documents):
    images = [*series(pet_plane, "1.2.3.2"), *series(ct_plane, "1.2.3.3")]
    return loaded(folder, STUDY, [*images, *documents])


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
