"""The planes of a series make one regular lattice, or the series is left with a reason."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.geometry import Grid
from node.dicom.geometry import PlaneGeometry, coverage, lattice, order
from node.dicom.series import choose
from node.errors import UnusableStudy
from tests.node.dicom.choosing import chosen, cts, pets, refusal, spaced
from tests.node.dicom.minimal import (
    ct_plane,
    pet_plane,
    save,
    series,
)


def test_localizers_among_the_axial_planes_are_passed_over(tmp_path):
    planes = cts(planes=6)
    planes[5].ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    planes[5].ImageOrientationPatient = [0, 1, 0, 0, 0, -1]

    assert len(chosen(tmp_path, pets(), planes).ct.planes) == 5


def test_a_plane_sent_again_with_the_same_bytes_counts_once(tmp_path):
    paths = save(tmp_path, [*pets(), *cts()])
    again = tmp_path / "again.dcm"
    again.write_bytes(paths[2].read_bytes())
    choice = choose([*paths, again])

    assert len(choice.pet.planes) == 5
    assert [reason.code for reason in choice.warnings] == ["SLICES_RESENT"]


def test_one_uid_with_other_bytes_is_refused(tmp_path):
    paths = save(tmp_path, [*pets(), *cts()])
    again = tmp_path / "again.dcm"
    again.write_bytes(paths[2].read_bytes()[:-2] + b"\1\1")

    with pytest.raises(UnusableStudy, match="SLICES_DUPLICATE"):
        choose([*paths, again])


def test_two_planes_at_one_place_are_refused(tmp_path):
    planes = pets()
    planes[3].ImagePositionPatient = planes[2].ImagePositionPatient

    assert refusal(tmp_path, planes, cts()) == "SLICES_DUPLICATE"


@pytest.mark.parametrize(
    ("places", "reason"),
    [
        ([0, 4, 8, 16, 20], "SLICES_MISSING"),
        ([0, 4, 8, 13, 17], "SLICES_IRREGULAR"),
        ([0, 4, 7, 11, 15], "SLICES_IRREGULAR"),
    ],
)
def test_planes_that_are_not_evenly_spaced_are_refused(tmp_path, places, reason):
    planes = pets()
    for ds, place in zip(planes, places, strict=True):
        ds.ImagePositionPatient = [-14.0, -14.0, place]

    assert refusal(tmp_path, planes, cts()) == reason


def test_8_the_jitter_of_bed_joins_is_tolerated(tmp_path):
    planes = pets()
    for ds, place in zip(planes, [0, 3.27, 6.54, 9.83, 13.10], strict=True):
        ds.ImagePositionPatient = [-14.0, -14.0, place]

    assert len(chosen(tmp_path, planes, spaced(cts(), 3.5)).pet.planes) == 5


def test_planes_of_a_tilted_gantry_are_refused(tmp_path):
    planes = cts()
    for index, ds in enumerate(planes):
        ds.ImagePositionPatient = [-14.0, -14.0 + index, 4.0 * index]

    assert refusal(tmp_path, pets(), planes) == "SLICES_IRREGULAR"


def test_planes_of_different_sizes_are_refused(tmp_path):
    planes = pets()
    planes[1].PixelSpacing = [5.0, 5.0]

    assert refusal(tmp_path, planes, cts()) == "SLICES_DIFFER"


SECONDARY_CAPTURE = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}
PROJECTION = {
    "ImageType": ["DERIVED", "SECONDARY", "MIP"],
    "ImageOrientationPatient": [1, 0, 0, 0, 0, -1],
}

COPY = {"ImageType": ["DERIVED", "SECONDARY", "AXIAL"]}


@pytest.mark.parametrize("stray", [SECONDARY_CAPTURE, PROJECTION, COPY])
@pytest.mark.parametrize("make", [pet_plane, ct_plane])
def test_one_stray_object_does_not_cost_the_series(tmp_path, make, stray):
    uid = "1.2.3.2" if make is pet_plane else "1.2.3.3"
    (extra,) = series(make, uid, 1, **stray)
    extra.SOPInstanceUID = extra.file_meta.MediaStorageSOPInstanceUID = "1.2.3.77"
    choice = chosen(tmp_path, pets(), cts(), [extra])

    assert (len(choice.pet.planes), len(choice.ct.planes)) == (5, 5)
    assert "1.2.3.77" not in {p.sop_instance_uid for p in (*choice.pet.planes, *choice.ct.planes)}
    (told,) = choice.warnings
    assert told.code == "PLANES_LEFT"
    assert told.meaning.endswith(f"1 of the {'PET' if make is pet_plane else 'CT'}")


@pytest.mark.parametrize(("stated", "told"), [(5, []), (9, ["SLICES_FEWER"])])
def test_fewer_planes_than_the_series_says_are_told(tmp_path, stated, told):
    choice = chosen(tmp_path, pets(NumberOfSlices=stated), cts())

    assert [reason.code for reason in choice.warnings] == told
    assert all(reason.meaning.endswith("5 of 9") for reason in choice.warnings)


@pytest.mark.parametrize("kept", [(0, 1, 3, 5, 7, 9), (0, 3, 4, 8, 12), (0, 1, 4)])
def test_a_series_that_half_arrived_misses_planes(tmp_path, kept):
    arrived = [ds for index, ds in enumerate(pets(planes=13)) if index in kept]

    assert refusal(tmp_path, arrived, cts()) == "SLICES_MISSING"


@st.composite
def orientations(draw):
    """Any two axes square to each other."""
    angles = [draw(st.floats(-np.pi, np.pi)) for _ in range(3)]
    (a, b, c), (d, e, f) = np.cos(angles), np.sin(angles)
    about_x = np.array([[1, 0, 0], [0, a, -d], [0, d, a]])
    about_y = np.array([[b, 0, e], [0, 1, 0], [-e, 0, b]])
    about_z = np.array([[c, -f, 0], [f, c, 0], [0, 0, 1]])
    return about_x @ about_y @ about_z


@settings(max_examples=60)
@given(
    axes=orientations(),
    spacing=st.tuples(*[st.floats(0.4, 8)] * 3),
    count=st.integers(2, 40),
    seed=st.integers(0, 2**32 - 1),
)
def test_shuffled_planes_of_any_orientation_give_their_lattice_back(axes, spacing, count, seed):
    column_axis, row_axis, normal = axes.T
    origin = np.array([-120.0, 33.0, 950.5])
    planes = [
        PlaneGeometry(
            position=tuple(origin + index * spacing[0] * normal),
            row_axis=tuple(row_axis),
            column_axis=tuple(column_axis),
            spacing=spacing[1:],
            shape=(7, 9),
            frame_of_reference_uid="1.2.3",
        )
        for index in np.random.default_rng(seed).permutation(count)
    ]
    grid = lattice([planes[index] for index in order(planes)])

    assert grid.shape == (count, 7, 9)
    assert np.allclose(grid.spacing, spacing)
    assert np.allclose(grid.origin, origin)
    last = origin + (count - 1) * spacing[0] * normal + 6 * spacing[1] * row_axis
    assert np.allclose(grid.to_patient([count - 1, 6, 0]), last)
    assert np.dot(np.cross(grid.direction[2], grid.direction[1]), grid.direction[0]) > 0.99


def test_feet_first_and_prone_planes_are_sorted_along_their_own_normal():
    """A prone patient's rows run to the front: the normal points to the feet no more than up."""
    planes = [
        PlaneGeometry(
            position=(100.0, 50.0, place),
            row_axis=(0.0, 1.0, 0.0),
            column_axis=(-1.0, 0.0, 0.0),
            spacing=(2.0, 3.0),
            shape=(4, 5),
            frame_of_reference_uid="1.2.3",
        )
        for place in (0.0, 5.0, 10.0)
    ]
    grid = lattice([planes[index] for index in order(planes)])

    assert grid.direction[0] == (0.0, 0.0, -1.0)
    assert grid.origin == (100.0, 50.0, 10.0)
    assert tuple(grid.to_patient([1, 1, 1])) == (97.0, 52.0, 5.0)


def test_coverage_is_the_part_of_each_axis_that_is_shared():
    """PET 0 to 40 mm; CT 10 to 60 mm along, and 8 of 10 mm across."""
    axes = ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))
    pet = Grid(
        shape=(10, 10, 10),
        spacing=(4.0, 1.0, 1.0),
        origin=(0.0, 0.0, 2.0),
        direction=axes,
        frame_of_reference_uid="1.2",
    )
    ct = Grid(
        shape=(10, 10, 8),
        spacing=(5.0, 1.0, 1.0),
        origin=(0.0, 0.0, 12.5),
        direction=axes,
        frame_of_reference_uid="1.2",
    )

    assert coverage(pet, ct) == pytest.approx((0.75, 1.0, 0.8))
