"""The key image shows the lesion where it is, to scale, with numbers and without a name."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from inference.findings import Reason, Saliency
from inference.geometry import axial_grid
from inference.volume import Quantity, Volume
from node.dicom import planes
from node.dicom.capture import render
from tests import made_study
from tests.node.dicom.pictures import (
    ALL_PANELS,
    FURTHER,
    NO_DATA,
    PLANES,
    PRIMARY,
    SIDE,
    SIDEBAR,
    all_feet_first,
    ball_lesion,
    block,
    fine,
    of_colour,
    panel,
    planted,
)

WHITE = (255, 255, 255)
MUTED = (165, 170, 178)
# Below a projection of 294 by 294 pixels.
SCALE_LEFT, SCALE_WIDTH = 778, 222
PET_SCALE, FUSION_SCALE_ON_WHITE = 379, 401
TILE = np.s_[462:605, 720:863]


@pytest.fixture(scope="module")
def plain():
    """The picture of the ball in the block, and what it was drawn from."""
    data, findings = fine()
    return render(data, findings), data, findings


def saliency_at(data, point, task="occult_n1") -> Saliency:
    """All that the network looked at is a ball around the point."""
    start, stop = (5, 5, 5), tuple(count - 5 for count in data.pet.grid.shape)
    grid = data.pet.grid.crop(start, stop)
    voxels = made_study.ball(grid, point, 12).mask.astype(np.float32)
    volume = Volume(voxels=voxels, grid=grid, quantity=Quantity.SALIENCY)
    return Saliency(task=task, on_pet=volume)


def test_it_is_a_colour_image_of_1024_by_1024(plain):
    image, _, _ = plain

    assert image.shape == (1024, 1024, 3)
    assert image.dtype == np.uint8


@pytest.mark.parametrize("stored", ["head first", "feet first"])
@pytest.mark.parametrize(
    ("plane", "at", "side"),
    [
        ("axial", (-60, 0, 0), "left"),  # the patient's right
        ("axial", (0, -60, 0), "top"),  # the front
        ("coronal", (-60, 0, 0), "left"),
        ("coronal", (0, 0, 60), "top"),  # the head
        ("sagittal", (0, -60, 0), "left"),
        ("sagittal", (0, 0, 60), "top"),
    ],
)
def test_the_patients_right_is_on_the_left_and_the_head_above(stored, plane, at, side):
    """A metal ball 60 mm from the lesion is found 60 mm x 214 / 200 mm from the middle."""
    data, findings = fine(ct=(4, 4, 4), pet=(8, 8, 8))
    study = replace(data, ct=planted(data.ct, at, 3000)), findings
    if stored == "feet first":
        study = all_feet_first(*study)

    image = render(*study)

    middle, off = (SIDE - 1) / 2, 60 * SIDE / 200
    found = of_colour(image, panel(plane, "CT"), WHITE).mean(axis=0)
    expected = (middle, middle - off) if side == "left" else (middle - off, middle)
    assert found == pytest.approx(expected, abs=2)


@pytest.mark.parametrize(("plane", "kind"), ALL_PANELS)
def test_a_ball_is_a_circle_of_its_size_in_every_panel(plain, plane, kind):
    """20 mm radius, and the line just outside it: 40 mm are 43 pixels, and 2 to 3 on each side."""
    image, _, _ = plain

    found = of_colour(image, panel(plane, kind), PRIMARY)
    height, width = np.ptp(found, axis=0) + 1

    assert abs(int(height) - int(width)) <= 2
    assert width == pytest.approx(40 * SIDE / 200 + 5, abs=4)


def test_thick_slices_do_not_stretch_the_picture():
    """Markers 60 mm to the left and 60 mm headwards are equally far from the middle."""
    data, findings = fine(ct=(10, 1.5, 1.5), pet=(10, 4, 4))
    ct = planted(planted(data.ct, (60, 0, 0), 3000, 11), (0, 0, 65), 3000, 11)

    image = render(replace(data, ct=ct), findings)

    found = of_colour(image, panel("coronal", "CT"), WHITE) - (SIDE - 1) / 2
    left = found[found[:, 1] > 30].mean(axis=0)
    head = found[found[:, 0] < -30].mean(axis=0)
    assert left == pytest.approx((0, 60 * SIDE / 200), abs=2)
    # The ball's planes lie at 60 and 70 mm... or one of them: its middle is within half a slice.
    assert head == pytest.approx((-65 * SIDE / 200, 0), abs=6)


@pytest.mark.parametrize("plane", PLANES)
def test_the_scale_bar_is_5_cm_long(plain, plane):
    image, _, _ = plain
    corner = image[panel(plane, "CT")][-20:, :120]

    rows = np.all(corner == (235, 235, 235), axis=-1).sum(axis=1)

    assert rows.max() == round(50 * SIDE / 200)


@pytest.mark.parametrize(("plane", "kind"), ALL_PANELS)
def test_the_outline_encloses_the_hottest_point_and_leaves_it_free(plain, plane, kind):
    image, _, _ = plain
    line = np.all(image[panel(plane, kind)] == PRIMARY, axis=-1)

    parts, _ = ndimage.label(~line)

    middle = SIDE // 2
    edge = {*parts[0], *parts[-1], *parts[:, 0], *parts[:, -1]}
    assert parts[middle, middle] not in edge | {0}


def test_a_lesion_of_the_left_lung_is_outlined_on_the_right_of_the_projection():
    image = render(made_study.petct(), made_study.findings(made_study.lesion()))

    found = of_colour(image, SIDEBAR, PRIMARY)

    assert len(found) > 50
    assert found[:, 1].min() > 294 / 2


def test_the_colours_of_the_suv_scale_are_those_of_the_panels():
    """SUV 4 everywhere on bone: below the tick 4 the scale has the colour of the panel."""
    data, findings = fine()
    data = block(data.ct.grid, data.pet.grid, hu=1000, suv=4)

    image = render(data, findings)

    column = SCALE_LEFT + round(0.4 * (SCALE_WIDTH - 1))
    pet = image[panel("axial", "PET")][20, 20]
    fusion = image[panel("axial", "fusion")][20, 20]
    assert pet.tolist() == [153, 153, 153]
    assert image[PET_SCALE, column].tolist() == pet.tolist()
    assert image[FUSION_SCALE_ON_WHITE, column] == pytest.approx(fusion, abs=2)
    assert np.ptp(fusion.astype(int)) > 40


def test_the_ticks_of_the_suv_scale_stand_below_their_colours(plain):
    """0, 2, ... 10 of a ramp of 222 pixels."""
    image, _, _ = plain

    row = np.all(image[FUSION_SCALE_ON_WHITE + 6, 770:1010] == MUTED, axis=-1)

    expected = [SCALE_LEFT - 770 + round(n / 5 * (SCALE_WIDTH - 1)) for n in range(6)]
    assert np.flatnonzero(row).tolist() == expected


def test_a_tumour_in_the_lung_is_shown_in_the_lung_window():
    """-850 HU are grey at W 1500 L -600; at W 400 L 40 they are black."""
    data, findings = fine()
    in_tissue = block(data.ct.grid, data.pet.grid, hu=-60)

    lung = render(data, findings)[panel("axial", "CT")][20, 20]
    tissue = render(in_tissue, findings)[panel("axial", "CT")][20, 20]

    assert lung.tolist() == [round((0.5 - 250 / 1500) * 255)] * 3
    assert tissue.tolist() == [round((0.5 - 100 / 400) * 255)] * 3


def test_images_acquired_the_other_way_round_make_the_same_picture():
    data, findings = made_study.petct(), made_study.findings(made_study.lesion())

    first = render(data, findings).astype(int)
    second = render(*all_feet_first(data, findings)).astype(int)

    # Rounding at half a pixel may move an edge by one; nothing else may differ.
    assert np.mean(np.abs(first - second) > 8) < 0.002


def test_the_same_findings_make_the_same_picture(plain):
    image, data, findings = plain

    assert np.array_equal(render(data, findings), image)


def test_where_the_network_looked_is_seen_beside_the_lesion(plain):
    """30 mm to the patient's left, 40 mm to the head: 143 pixels show 100 mm of all planes."""
    image, data, findings = plain
    looked = render(data, replace(findings, saliency=(saliency_at(data, (30, 0, 40)),)))

    assert np.array_equal(looked[:, :700], image[:, :700])
    tile = looked[TILE].astype(int)
    inner = tile[30:113, 40:130]  # without the letters at the edges, which are yellow, too
    yellow = np.argwhere((inner[..., 1] > 150) & (inner[..., 2] < 100)) + np.array([30, 40])
    assert yellow.mean(axis=0) == pytest.approx((71, 71 + 30 * 143 / 100), abs=3)


def test_without_saliency_nothing_of_it_is_shown(plain):
    """A scale of violet to yellow stands only beside such an image."""
    image, data, findings = plain
    other = replace(findings, saliency=tuple(saliency_at(data, (0, 0, 0), t) for t in ("a", "b")))

    def greenish(picture):
        red, green, blue = (picture[SIDEBAR].astype(int)[..., i] for i in range(3))
        return np.count_nonzero((green > red + 20) & (green > blue + 20))

    assert greenish(image) == 0
    assert greenish(render(data, other)) > 200


def test_every_lesion_is_outlined_and_the_primary_in_a_colour_of_its_own():
    data, findings = fine()
    grids = data.ct.grid, data.pet.grid
    near = ball_lesion(*grids, (-60.0, 0.0, 0.0), label="focus-1")
    far = ball_lesion(*grids, (0.0, 90.0, 60.0), label="focus-2")

    image = render(data, replace(findings, lesions=(*findings.lesions, near, far)))

    axial = panel("axial", "fusion")
    assert of_colour(image, axial, FURTHER)[:, 1].max() < SIDE // 2 - 25
    assert of_colour(image, axial, PRIMARY)[:, 1].min() > SIDE // 2 - 30
    parts, count = ndimage.label(np.all(image[SIDEBAR] == FURTHER, axis=-1), np.ones((3, 3)))
    assert np.sum(np.bincount(parts.ravel())[1:] > 20) == count == 2


def test_without_a_lesion_there_are_three_projections_and_no_outline():
    image = render(made_study.petct(), made_study.findings(predictions=()))

    assert not len(of_colour(image, np.s_[:, :], PRIMARY))
    for columns in (np.s_[20:330], np.s_[400:660], np.s_[780:1000]):
        assert np.ptp(image[64:600, columns].astype(int)) > 200


def test_a_pet_without_any_uptake_is_shown_whole():
    """Nothing tells where the body is: 240 mm from side to side, as white as the panel is wide."""
    data, findings = fine(ct=(8, 8, 8), pet=(8, 8, 8))
    cold = block(data.ct.grid, data.pet.grid, suv=0)

    image = render(cold, findings)

    white = np.all(image[64:358, 720:1014] == WHITE, axis=-1)
    assert white.mean() > 0.9


def test_where_the_pet_ends_there_is_neither_white_nor_black():
    """A PET of 80 mm in a CT of 240 mm: beyond it there is no uptake to tell."""
    data, findings = fine()
    small = axial_grid(shape=(20, 20, 20), spacing=(4, 4, 4))
    data = replace(data, pet=block(data.ct.grid, small, suv=3).pet)
    findings = replace(findings, lesions=(ball_lesion(data.ct.grid, small),))

    image = render(data, findings)

    outside = of_colour(image, panel("axial", "PET"), NO_DATA)
    assert len(outside) / SIDE**2 == pytest.approx(1 - (80 / 200) ** 2, abs=0.03)
    assert not len(of_colour(image, panel("axial", "fusion"), NO_DATA))


def test_every_number_that_changes_changes_the_words():
    data = made_study.petct()
    plain = render(data, made_study.findings(made_study.lesion()))
    reason = Reason(code="SLICES_THICK", meaning="CT slices of 10 mm " * 8)

    for findings in (
        made_study.findings(made_study.lesion(suv_max=3.0)),
        made_study.findings(made_study.lesion(suv_peak=None)),
        made_study.findings(made_study.lesion(laterality=None)),
        made_study.findings(made_study.lesion(), predictions=()),
        made_study.findings(made_study.lesion(), warnings=()),
        made_study.findings(made_study.lesion(), made_study.lesion(label="node")),
        made_study.findings(made_study.lesion(), applicable=False, inapplicable=(reason,)),
        replace(
            made_study.findings(made_study.lesion()),
            bundle=replace(made_study.findings().bundle, training_data=""),
        ),
    ):
        assert not np.array_equal(render(data, findings)[740:], plain[740:])


def test_long_words_stay_in_their_place_and_off_the_edge(plain):
    """Neither the statement below nor the columns beside them are touched."""
    _, data, findings = plain
    many = tuple(Reason(code=f"WARNING_{n}", meaning="a long warning " * 6) for n in range(30))
    endless = replace(
        findings.bundle, training_data="Trained on " + "phantoms" * 60, version="9" * 90
    )
    sparse = replace(findings, warnings=())

    first, second = render(data, sparse), render(data, replace(sparse, warnings=many))
    third = render(data, replace(sparse, bundle=endless, warnings=many))

    assert np.array_equal(first[:, :700], second[:, :700])
    assert np.array_equal(first[948:], second[948:])
    assert not np.array_equal(first[746:940, 716:], second[748:940, 716:])
    for image in (first, second, third):
        edges = image[:2], image[-2:], image[:, :2], image[:, -4:]
        assert not any(edge.any() for edge in edges)


def test_the_panels_hang_as_planes_do(plain):
    """The picture's geometry is that of ``planes``; only its place on the canvas is its own."""
    image, _, findings = plain
    lesion = findings.lesions[0]
    view = planes.section(
        "sagittal", lesion.suv_max_lps_mm, middle=(0, 0, 0), side_mm=200, pixels=SIDE
    )
    covered = planes.sample(lesion.on_ct.mask, lesion.on_ct.grid, view) > 0.5

    line = np.all(image[panel("sagittal", "CT")] == PRIMARY, axis=-1)

    assert not (line & covered).any()
    assert (line <= ndimage.binary_dilation(covered, iterations=4)).all()
