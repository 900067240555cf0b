"""Sets of voxels grow and shrink as SciPy's do, whatever their shape."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError

from inference.morphology import Parts, convex, dilated, eroded, filled, largest, opened, within

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


def test_two_voxels_apart_are_two_parts_and_side_by_side_one():
    mask = np.zeros((1, 1, 5), np.bool_)
    mask[0, 0, [0, 2, 3]] = True

    parts = Parts.of(mask)

    assert parts.count == 2
    assert parts.sizes.tolist() == [1, 2]
    assert [parts.at((0, 0, x)) for x in (0, 2, 3)] == [0, 1, 1]
    assert np.flatnonzero(largest(mask)).tolist() == [2, 3]


def test_nothing_has_no_parts():
    nothing = np.zeros((2, 3, 4), np.bool_)

    assert Parts.of(nothing).count == 0
    assert not largest(nothing).any()


@given(masks(), st.integers(0, 2**32 - 1))
def test_parts_are_scipys_in_their_order(mask, seed):
    labels, count = ndimage.label(mask)
    parts = Parts.of(mask)
    some = np.random.default_rng(seed).random(count) < 0.5

    assert parts.count == count
    assert np.array_equal(parts.sizes, np.bincount(labels.ravel(), minlength=count + 1)[1:])
    assert np.array_equal(parts.of_voxels, labels[mask] - 1)
    assert np.array_equal(parts.drawn(some), np.append(False, some)[labels])
    if count:
        assert [parts.at(index) for index in np.argwhere(mask)] == (labels[mask] - 1).tolist()


@given(masks())
def test_parts_of_slices_are_scipys_in_each_slice(mask):
    within_slices = np.zeros((3, 3, 3))
    within_slices[1] = ndimage.generate_binary_structure(2, 1)
    labels, _ = ndimage.label(mask, within_slices)

    assert np.array_equal(Parts.of(mask, axes=(1, 2)).of_voxels, labels[mask] - 1)


@given(masks())
def test_holes_are_those_that_scipy_fills(mask):
    assert np.array_equal(filled(mask), ndimage.binary_fill_holes(mask))


def test_a_row_of_voxels_has_no_hull_and_a_third_corner_gives_it_one():
    """Corners at (0, 0), (0, 4) and (4, 0): 1 + 2 + 3 + 4 + 5 centres in or on the triangle."""
    mask = np.zeros((2, 5, 5), np.bool_)
    mask[:, 0, [0, 4]] = True
    mask[1, 4, 0] = True

    assert [int(part.sum()) for part in convex(mask)] == [2, 15]


@given(masks())
def test_hulls_are_those_of_qhull(mask):
    for part, hull in zip(mask, convex(mask), strict=True):
        points, expected = np.argwhere(part), part.copy()
        try:
            lines = ConvexHull(points).equations if len(points) > 2 else None
        except QhullError:  # all in one line
            lines = None
        if lines is not None:
            centres = np.moveaxis(np.indices(part.shape), 0, -1)
            expected |= (centres @ lines[:, :2].T + lines[:, 2] <= 1e-6).all(axis=-1)
        assert np.array_equal(hull, expected)
