"""Sets of voxels grow and shrink as SciPy's do, whatever their shape."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from inference.morphology import dilated, eroded, opened, within

SPACINGS = (1.2862, 1.5, 2.0, 3.5, 3.90625, 4.0728, 5.0)


@st.composite
def masks(draw):
    """Boxes of 1 to 12 voxels a side, from empty to full."""
    shape = draw(st.tuples(*[st.integers(1, 12)] * 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return rng.random(shape) < draw(st.floats(0, 1))


def ball(radius, size=9):
    """What lies within ``radius`` voxels of the middle one."""
    steps = np.indices((size,) * 3) - size // 2
    return np.sqrt((steps**2).sum(axis=0)) <= radius


def middle(size=9):
    mask = np.zeros((size,) * 3, np.bool_)
    mask[size // 2, size // 2, size // 2] = True
    return mask


def test_a_voxel_grows_by_a_step_along_each_axis():
    """Itself and its six neighbours."""
    assert dilated(middle(), 1).sum() == 7
    assert np.array_equal(eroded(dilated(middle(), 1), 1), middle())


def test_what_lies_within_a_radius_of_a_voxel_is_a_ball():
    """6 neighbours at 1, 12 at 1.41: 19 voxels within 1.5 of the middle."""
    assert within(middle(), 1.5, (1.0, 1.0, 1.0)).sum() == 19
    assert np.array_equal(within(middle(), 3.0, (1.0, 1.0, 1.0)), ball(3.0))


def test_a_coarse_axis_is_reached_by_fewer_voxels():
    """2 mm reach two voxels of 1 mm and none of 2.5 mm."""
    near = within(middle(), 2.0, (2.5, 1.0, 1.0))

    assert near.any(axis=(1, 2)).sum() == 1
    assert near.any(axis=(0, 1)).sum() == near.any(axis=(0, 2)).sum() == 5


def test_nothing_is_within_of_nothing():
    assert not within(np.zeros((4, 5, 6), np.bool_), 30.0, (1.0, 1.0, 1.0)).any()


@given(masks(), st.integers(1, 5))
def test_steps_are_scipys_iterations(mask, steps):
    assert np.array_equal(dilated(mask, steps), ndimage.binary_dilation(mask, iterations=steps))
    for border in (False, True):
        assert np.array_equal(
            eroded(mask, steps, border=border),
            ndimage.binary_erosion(mask, iterations=steps, border_value=border),
        )
    assert np.array_equal(opened(mask), ndimage.binary_opening(mask))


@given(masks(), st.integers(1, 3))
def test_steps_along_rows_and_columns_stay_in_their_slice(mask, steps):
    expected = [ndimage.binary_erosion(part, iterations=steps) for part in mask]

    assert np.array_equal(eroded(mask, steps, axes=(1, 2)), np.stack(expected))


@given(masks(), st.sampled_from((6.2, 9.0, 10.0, 14.0, 18.0)), st.permutations(SPACINGS))
def test_a_radius_is_that_of_the_euclidean_distance(mask, radius_mm, spacings):
    spacing = tuple(spacings[:3])
    mask.flat[0] = True  # SciPy has no distance to nothing
    distance_mm = ndimage.distance_transform_edt(~mask, sampling=spacing)

    assert np.array_equal(within(mask, radius_mm, spacing), distance_mm <= radius_mm)
