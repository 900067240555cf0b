"""Hot spots are parted as by ITK's watershed of the whole volume, though less of it is flooded."""

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from inference.watershed import watershed

FLOOR, SADDLE = 1.0, 0.85


def spots(*hot, size=21):
    """Uptake of 0.5, and spots of uptake that falls by a tenth with each step."""
    suv = np.full((size,) * 3, 0.5, np.float32)
    z, y, x = np.indices(suv.shape)
    for (a, b, c), peak in hot:
        steps = abs(z - a) + abs(y - b) + abs(x - c)
        suv = np.maximum(suv, np.float32(peak) * np.float32(0.9) ** steps)
    return suv.astype(np.float32)


def of_the_whole(suv):
    """ITK's own composite filter, which floods everything."""
    depth = (-1000 * np.log(np.maximum(suv, FLOOR))).astype(np.int16)
    level = round(-1000 * float(np.log(SADDLE)))
    flooded = sitk.MorphologicalWatershed(
        sitk.GetImageFromArray(depth), level=level, markWatershedLine=False
    )
    labels = sitk.GetArrayFromImage(flooded)
    labels[suv < FLOOR] = 0
    return labels


def cut(suv, reach=4):
    return watershed(suv, floor=FLOOR, saddle=SADDLE, reach=reach)


def test_two_spots_with_a_valley_between_them_are_two():
    """4 falls to 4 x 0.9^4 = 2.6 half way over eight steps: less than 0.85 of 4."""
    labels = cut(spots(((10, 10, 6), 4), ((10, 10, 14), 4)))

    assert labels[10, 10, 6] != labels[10, 10, 14]
    assert set(np.unique(labels)) == {0, 1, 2}


def test_two_spots_with_hardly_a_valley_are_one():
    """One step down between them: 0.9 of the lower one, which is more than 0.85."""
    labels = cut(spots(((10, 10, 9), 4), ((10, 10, 11), 4)))

    assert set(np.unique(labels)) == {0, 1}


def test_below_the_floor_nothing_has_a_number():
    suv = spots(((10, 10, 10), 4))

    assert np.array_equal(cut(suv) > 0, suv >= FLOOR)
    assert not cut(np.full((5, 5, 5), 0.5, np.float32)).any()


@pytest.mark.parametrize(("steps", "number"), [(3, 1), (12, 0)])
def test_what_is_too_faint_for_a_spot_gets_the_number_of_one_in_reach(steps, number):
    """1.1 is above the floor, but below 1 / 0.85; 2 x 0.9^6 = 1.06: the spot ends 6 steps off."""
    suv = spots(((4, 10, 10), 2), size=30)
    suv[4 + 6 + steps, 10, 10] = 1.1

    assert cut(suv)[4 + 6 + steps, 10, 10] == number


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.floats(0.8, 3.0),
    st.tuples(st.integers(3, 18), st.integers(3, 18), st.integers(3, 18)),
)
def test_everything_in_reach_has_the_number_that_flooding_everything_gives(seed, width, shape):
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), width)
    suv = np.exp(1.5 * (noise - noise.mean()) / noise.std() - 0.5).astype(np.float32)
    whole = of_the_whole(suv)

    labels = cut(suv, reach=4)

    above = suv >= FLOOR
    parts, _ = ndimage.label(above)
    spotted = np.isin(parts, parts[suv > FLOOR / 0.84])  # what holds a hot spot of its own
    near = above & ndimage.binary_dilation(spotted, iterations=4)
    assert np.array_equal(labels[near], whole[near])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.tuples(*[st.tuples(st.integers(0, 9), st.integers(0, 9))] * 3))
def test_what_lies_far_from_all_uptake_changes_nothing(seed, margins):
    """Cold voxels on either side of each axis, up to 9, with a reach of 4."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(10, 11, 12)), 1.2)
    suv = np.exp(1.5 * (noise - noise.mean()) / noise.std() - 0.5).astype(np.float32)
    around = np.pad(suv, 4, constant_values=0.5)
    inner = tuple(slice(low, low + n) for (low, _), n in zip(margins, around.shape, strict=True))

    labels = cut(np.pad(around, margins, constant_values=0.5), reach=4)

    assert np.array_equal(labels[inner], cut(around, reach=4))
    assert np.count_nonzero(labels) == np.count_nonzero(labels[inner])
