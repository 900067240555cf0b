"""A panel says which side of the patient lies where, and hides nothing of the lesion."""

import numpy as np
import pytest
from PIL import Image

from node.dicom import planes
from node.dicom.capture import colours, panel
from node.dicom.capture.panel import Outlined
from node.dicom.capture.text import Box, write

SIDE = 120
BOX = Box(x=30, y=30, width=SIDE, height=SIDE)


@pytest.mark.parametrize(
    ("direction", "letters"),
    [
        ((1, 0, 0), "L"),
        ((-1, 0, 0), "R"),
        ((0, 1, 0), "P"),
        ((0, -1, 0), "A"),
        ((0, 0, 1), "H"),
        ((0, 0, -1), "F"),
        ((-0.9, -0.43589, 0), "RA"),  # 26 degrees from the right to the front
        ((-0.95, -0.31225, 0), "R"),  # 18 degrees
        ((0, -0.43589, 0.9), "HA"),
    ],
)
def test_a_direction_is_named_by_the_sides_of_the_patient(direction, letters):
    assert panel.letters(np.array(direction, dtype=float)) == letters


def amber(canvas) -> np.ndarray:
    return np.all(np.asarray(canvas) == colours.WARN, axis=-1)


@pytest.mark.parametrize(
    ("plane", "left", "right", "above", "below"),
    [
        ("axial", "R", "L", "A", "P"),
        ("coronal", "R", "L", "H", "F"),
        ("sagittal", "A", "P", "H", "F"),
    ],
)
def test_each_edge_bears_the_letter_of_its_side(plane, left, right, above, below):
    view = planes.section(plane, (0, 0, 0), middle=(0, 0, 0), side_mm=100, pixels=SIDE)
    found, expected = (Image.new("RGB", (180, 180)) for _ in range(2))

    panel.mark_sides(found, BOX, view)

    write(expected, (35, 90), left, ink=colours.WARN, anchor="lm")
    write(expected, (145, 90), right, ink=colours.WARN, anchor="rm")
    write(expected, (90, 35), above, ink=colours.WARN, anchor="mt")
    write(expected, (90, 145), below, ink=colours.WARN, anchor="mb")
    assert amber(found).any()
    assert np.array_equal(amber(found), amber(expected))


def test_letters_beside_a_panel_leave_it_free():
    view = planes.section("coronal", (0, 0, 0), middle=(0, 0, 0), side_mm=100, pixels=SIDE)
    canvas = Image.new("RGB", (180, 180))

    panel.mark_sides(canvas, BOX, view, beside=True)

    rows, columns = np.nonzero(amber(canvas))
    beside = (columns < 30) | (columns >= 150)
    assert beside.any()
    assert np.all((columns[~beside] > 80) & (columns[~beside] < 100))
    assert np.all(np.abs(rows[beside] - 90) < 10)


def test_marks_point_at_the_place_from_outside_the_panel():
    """25 mm to the left of the middle: 30 pixels of 100 mm on 120; 10 mm to the feet: 12."""
    view = planes.section("coronal", (0, 0, 0), middle=(0, 0, 0), side_mm=100, pixels=SIDE)
    canvas = Image.new("RGB", (180, 180))

    panel.mark_point(canvas, BOX, view, (25.0, 0.0, -10.0))

    rows, columns = np.nonzero(np.asarray(canvas)[..., 0])
    above, beside = rows < 30, columns < 30
    assert columns[above].mean() == pytest.approx(30 + 59.5 + 30, abs=1)
    assert rows[beside].mean() == pytest.approx(30 + 59.5 + 12, abs=1)
    assert not np.asarray(canvas)[30:150, 30:150].any()


@pytest.mark.parametrize(("side_mm", "length_mm"), [(100, 20), (250, 50), (40, 10), (20, 10)])
def test_the_scale_bar_is_the_longest_that_fits_left_of_the_letter(side_mm, length_mm):
    """Room for 40 of 120 pixels."""
    canvas = Image.new("RGB", (180, 180))

    panel.mark_scale(canvas, BOX, side_mm / SIDE)

    bar = np.all(np.asarray(canvas)[130:150] == colours.INK, axis=-1).sum(axis=1).max()
    assert bar == round(length_mm / side_mm * SIDE)


def test_an_outline_touches_nothing_of_what_it_encloses():
    image = np.full((40, 40, 3), 0.5, dtype=np.float32)
    mask = np.zeros((40, 40), dtype=bool)
    mask[15:25, 10:30] = True

    marked = panel.with_outline(image, Outlined(mask=mask, ink=colours.PRIMARY))

    assert np.array_equal(marked[mask], image[mask])
    assert not np.array_equal(marked[12:14, 10:30], image[12:14, 10:30])


def test_without_a_lesion_in_the_view_there_is_no_line():
    image = np.full((40, 40, 3), 0.5, dtype=np.float32)

    marked = panel.with_outline(
        image, Outlined(mask=np.zeros((40, 40), dtype=bool), ink=colours.PRIMARY)
    )

    assert np.array_equal(marked, image)
