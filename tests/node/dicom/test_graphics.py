"""Graphics of reports enclose what they should, and sites of findings are told apart."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from inference.scanner import SCANNERS
from node.dicom import attributes, graphics
from node.dicom.graphics import Graphic
from node.dicom.naming import in_thorax
from node.dicom.outline import outline
from tests import made_study
from tests.node.dicom.minimal import FRAME

GRID = made_study.CT_GRID


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
