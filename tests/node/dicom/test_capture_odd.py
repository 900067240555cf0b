"""The key image of an odd study is drawn as well, whatever its grids."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from inference.geometry import axial_grid
from node.dicom.capture import render
from tests import made_study
from tests.node.dicom.pictures import (
    ALL_PANELS,
    PRIMARY,
    ball_lesion,
    block,
    of_colour,
    panel,
)


def odd_studies():
    """Grids that a scanner may never make, and a lesion in each."""
    far = axial_grid(shape=(30, 30, 30), spacing=(4, 4, 4))
    turned = replace(
        far, direction=((0.0, -0.1961161, 0.9805807), (0.0, 0.9805807, 0.1961161), (1.0, 0.0, 0.0))
    )
    one = axial_grid(shape=(1, 1, 1), spacing=(4, 4, 4))
    flat = axial_grid(shape=(2, 200, 200), spacing=(40, 1, 1))
    missing = block(far, far)
    for volume in (missing.ct, missing.pet):
        volume.voxels[:, :, :8] = np.nan
    return {
        "oblique": (block(far, turned), ball_lesion(far, turned)),
        "a single voxel": (block(one, one), ball_lesion(one, one)),
        "two thick slices": (block(flat, flat), ball_lesion(flat, flat, (0.0, 0.0, 20.0))),
        "not a number at one side": (missing, ball_lesion(far, far)),
        "at the border": (block(far, far), ball_lesion(far, far, (58.0, -58.0, 58.0))),
        "none of it on the CT": (
            block(one, far),
            ball_lesion(one, far, (40.0, 0.0, 0.0)),
        ),
    }


@pytest.mark.parametrize("name", list(odd_studies()))
def test_an_odd_study_is_drawn_with_its_lesion_in_every_panel(name):
    data, lesion = odd_studies()[name]

    image = render(data, made_study.findings(lesion))

    for plane, kind in ALL_PANELS:
        assert len(of_colour(image, panel(plane, kind), PRIMARY)) >= 8, (plane, kind)


@pytest.mark.parametrize("name", list(odd_studies()))
def test_an_odd_study_is_drawn_without_a_lesion(name):
    data, _ = odd_studies()[name]

    assert render(data, made_study.findings()).any()


def turned(grid, angles_degree):
    """The grid turned about its own middle, so that its voxels lie askew in the patient."""
    axes = Rotation.from_euler("xyz", angles_degree, degrees=True).apply(grid.direction)
    direction = tuple(tuple(float(v) for v in axis) for axis in axes)
    placed = replace(grid, direction=direction)
    shift = np.subtract(grid.centre, placed.centre)
    return replace(placed, origin=tuple(float(v) for v in np.add(placed.origin, shift)))


grids = st.builds(
    lambda shape, spacing, angles: turned(axial_grid(shape=shape, spacing=spacing), angles),
    st.tuples(*[st.integers(1, 24)] * 3),
    st.tuples(*[st.floats(0.5, 20)] * 3),
    st.tuples(*[st.sampled_from([0, 3, 90, 180, 211])] * 3),
)


@settings(max_examples=10, deadline=None)
@given(ct=grids, pet=grids, share=st.tuples(*[st.floats(0, 1)] * 3), radius_mm=st.floats(5, 60))
def test_whatever_the_grids_the_picture_is_drawn_and_its_edge_left_free(ct, pet, share, radius_mm):
    """The hottest point is a voxel of the PET, wherever the CT may be."""
    index = np.round(np.array(share) * (np.array(pet.shape) - 1))
    hottest = tuple(float(v) for v in pet.to_patient(index))
    lesion = made_study.lesion(
        on_ct=made_study.ball(ct, hottest, radius_mm),
        on_pet=made_study.ball(pet, hottest, radius_mm),
        centroid_lps_mm=hottest,
        suv_max_lps_mm=hottest,
        longest_diameter_mm=2 * radius_mm,
    )

    image = render(block(ct, pet), made_study.findings(lesion))

    assert not any(edge.any() for edge in (image[:2], image[-2:], image[:, :2], image[:, -4:]))
