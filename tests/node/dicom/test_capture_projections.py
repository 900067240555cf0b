"""A projection is to scale, and its outlines lie where the lesions lie."""

from dataclasses import replace

import numpy as np
import pytest

from inference.geometry import axial_grid
from inference.volume import Quantity, Volume
from node.dicom import planes
from node.dicom.capture import projections, render
from node.dicom.capture.text import Box
from tests import made_study
from tests.node.dicom.pictures import ball_lesion, block

COARSE = axial_grid(shape=(10, 12, 14), spacing=(12, 8, 8))


def pet(grid, hot=None) -> Volume:
    """SUV 1 everywhere, and 30 in one voxel."""
    voxels = np.ones(grid.shape, dtype=np.float32)
    if hot is not None:
        voxels[hot] = 30
    return Volume(voxels=voxels, grid=grid, quantity=Quantity.SUVBW)


@pytest.mark.parametrize("step_mm", [0.7, 3.0, 10.0])
def test_a_hot_voxel_is_seen_where_its_centre_is(step_mm):
    body = projections.body(pet(COARSE, (7, 3, 10)))
    right, down = planes.directions("coronal")

    view, image = projections.scaled(
        planes.project(body.voxels, "coronal"),
        body.grid.to_patient((0, 0, 0)),
        axes=(right, down),
        spacing=(12, 8),
        step_mm=step_mm,
    )

    weight = image - 1
    rows, columns = np.indices(image.shape)
    centre = (rows * weight).sum() / weight.sum(), (columns * weight).sum() / weight.sum()
    x, y, z = (float(v) for v in COARSE.to_patient((7, 3, 10)))
    assert centre == pytest.approx(view.pixel((x, y, z)), abs=0.1)


def test_a_shadow_covers_the_voxels_of_the_region():
    """A ball of 20 mm radius has a shadow of pi r2 = 1257 mm2; voxels of 4 mm, pixels of 1 mm."""
    grid = axial_grid(shape=(20, 20, 20), spacing=(4, 4, 4))
    region = made_study.ball(grid, (0, 0, 0))
    view = planes.section("sagittal", (0, 0, 0), middle=(0, 0, 0), side_mm=80, pixels=80)

    mask = projections.shadow(projections.points_of(region, view.step_mm), view)

    assert mask.sum() == pytest.approx(1257, rel=0.1)
    assert np.argwhere(mask).mean(axis=0) == pytest.approx((39.5, 39.5), abs=0.1)


def test_the_body_is_cut_out_from_side_to_side_and_from_front_to_back_alone():
    """Uptake in 5 of 30 voxels of 4 mm each way, and 15 mm (4 voxels) around it."""
    grid = axial_grid(shape=(30, 30, 30), spacing=(4, 4, 4))
    voxels = np.zeros(grid.shape, np.float32)
    voxels[15, 12:17, 10:15] = 5

    body = projections.body(replace(pet(grid), voxels=voxels))

    # The mean over 3 voxels reaches one voxel beyond; the body is counted from the head.
    assert body.grid.shape == (30, 5 + 2 + 8, 5 + 2 + 8)
    assert body.grid.to_patient((14, 5, 5)) == pytest.approx(grid.to_patient((15, 12, 10)))


def test_a_tiny_volume_is_not_blown_up():
    """0.5 mm a pixel at least."""
    box = Box(x=0, y=0, width=300, height=300)

    assert projections.fitting_step_mm(4, 4, box) == 0.5
    assert projections.fitting_step_mm(900, 300, box) == 3


def test_without_saliency_a_long_body_has_more_room():
    """A PET of 1000 mm: 590 pixels high instead of 336."""
    grid = axial_grid(shape=(250, 50, 50), spacing=(4, 4, 4))
    data = block(grid, grid)

    image = render(data, made_study.findings(ball_lesion(grid, grid)))

    grey = np.all(image[64:734, 860] == 230, axis=-1)  # SUV 1 of 10
    assert np.flatnonzero(grey).max() == pytest.approx(590, abs=4)
