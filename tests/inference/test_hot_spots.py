"""Hot spots are the minima that ITK leaves once it has filled what is shallow."""

import numpy as np
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from inference.hot_spots import hot_spots

TOP, LEAST = 0, 10


def found(*depths):
    """The marks of a row of voxels whose depths are given; 0 is the plain."""
    depth = np.asarray(depths, np.int16).reshape(1, 1, -1)
    return hot_spots(depth, depth < TOP, depth_least=LEAST).marks.ravel().tolist()


def of_itk(depth, depth_least):
    filled = sitk.HMinima(sitk.GetImageFromArray(depth), depth_least)
    lowest = sitk.Cast(sitk.RegionalMinima(filled), sitk.sitkUInt8)
    return sitk.GetArrayFromImage(sitk.ConnectedComponent(lowest))


def test_two_pools_with_a_high_pass_between_them_are_two():
    """-30 and -40; the pass at -15 is 15 above the shallower one."""
    assert found(0, -30, -15, -40, 0) == [0, 1, 0, 2, 0]


def test_a_pool_whose_pass_is_as_high_as_it_must_exceed_is_part_of_the_deeper_one():
    """The pass at -20 is 10 above -30, which has to be more than 10."""
    assert found(0, -30, -20, -40, 0) == [0, 0, 0, 1, 0]
    assert found(0, -30, -19, -40, 0) == [0, 1, 0, 2, 0]


def test_the_bottom_is_what_is_no_higher_than_it_must_be_deep():
    assert found(0, -31, -30, -40, -35, -29, 0) == [0, 1, 1, 1, 1, 0, 0]


def test_a_pool_hardly_below_the_plain_is_none():
    """A lone pool of -10 is no more than 10 below the plain."""
    assert found(0, -10, 0, -40, 0) == [0, 0, 0, 1, 0]


def test_where_no_pool_is_deep_enough_all_is_one():
    assert found(0, -10, 0, -5) == [1, 1, 1, 1]
    assert found(0, 0) == [1, 1]


def test_a_shallow_pool_between_two_deep_ones_parts_them_no_further():
    """The one in the middle is 5 below its passes; those are 25 above the others."""
    assert found(0, -40, -15, -20, -15, -41, 0) == [0, 1, 0, 0, 0, 2, 0]


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.floats(0.3, 2.5),
    st.tuples(*[st.integers(1, 16)] * 3),
    st.sampled_from((1, 10, 100, 1000)),
    st.floats(-3.0, 1.0),
)
def test_hot_spots_are_itks_whatever_the_noise_and_however_coarse_the_depth(
    seed, width, shape, scale, floor
):
    """Few values make many voxels equally deep; a low floor leaves no plain."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), width)
    uptake = noise / (noise.std() or 1.0)
    depth = (-scale * np.maximum(uptake - floor, 0)).astype(np.int16)
    depth_least = max(round(0.16 * scale), 1)

    marks = hot_spots(depth, uptake >= floor, depth_least=depth_least).marks

    assert np.array_equal(marks, of_itk(depth, depth_least))


def test_what_is_above_the_floor_as_far_as_a_hot_spot_is_joined_to_it():
    """The pool of -8 is too shallow for a hot spot, and the plain lies between it and the other."""
    depth = np.asarray([0, -5, -30, -5, 0, -8, 0], np.int16).reshape(1, 1, -1)

    found = hot_spots(depth, depth < TOP, depth_least=LEAST)

    assert found.joined.ravel().tolist() == [False, True, True, True, False, False, False]
