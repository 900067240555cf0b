"""Carrying numbers and regions between grids keeps them where they are in the patient."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from inference.geometry import Grid, axial_grid
from inference.resample import (
    BlockSums,
    block_means,
    crop,
    empty_region,
    region_onto,
    volume_onto,
)
from inference.volume import Quantity, Region, Volume, bounding_box


def turned(grid: Grid, *, about_x_deg: float = 0.0, about_z_deg: float = 0.0) -> Grid:
    """The same lattice, turned about its first voxel."""
    a, b = math.radians(about_x_deg), math.radians(about_z_deg)
    about_x = np.array([[1, 0, 0], [0, math.cos(a), -math.sin(a)], [0, math.sin(a), math.cos(a)]])
    about_z = np.array([[math.cos(b), -math.sin(b), 0], [math.sin(b), math.cos(b), 0], [0, 0, 1]])
    turned_axes = (np.asarray(grid.direction) @ (about_z @ about_x).T).tolist()
    return replace(grid, direction=tuple(tuple(axis) for axis in turned_axes))


def feet_first(grid: Grid) -> Grid:
    """The same voxel positions, with the slices and columns numbered from the other end."""
    corner = grid.to_patient((grid.shape[0] - 1, 0, grid.shape[2] - 1))
    slices, rows, columns = (np.asarray(axis) for axis in grid.direction)
    return replace(
        grid,
        origin=tuple(corner.tolist()),
        direction=(tuple((-slices).tolist()), tuple(rows.tolist()), tuple((-columns).tolist())),
    )


def ramp(grid: Grid) -> Volume:
    """x + 10 y + 100 z of every voxel centre: linear, so that linear interpolation is exact."""
    positions = grid.to_patient(np.moveaxis(np.indices(grid.shape), 0, -1))
    voxels = (positions @ np.array([1.0, 10.0, 100.0])).astype(np.float32)
    return Volume(voxels=voxels, grid=grid, quantity=Quantity.HU)


def ball(grid: Grid, centre: tuple[float, float, float], diameter_mm: float) -> Region:
    positions = grid.to_patient(np.moveaxis(np.indices(grid.shape), 0, -1))
    mask = ((positions - np.asarray(centre)) ** 2).sum(axis=-1) <= (diameter_mm / 2) ** 2
    return Region(mask=mask, grid=grid)


def test_halfway_between_two_voxels_stands_their_mean():
    grid = axial_grid(shape=(1, 1, 2), spacing=(1.0, 1.0, 2.0))
    volume = Volume(voxels=np.array([[[10, 20]]], np.float32), grid=grid, quantity=Quantity.HU)

    between = volume_onto(volume, axial_grid(shape=(1, 1, 1), spacing=(1, 1, 1)), fill=-1000)

    assert between.voxels.tolist() == [[[15.0]]]


def test_a_voxel_ends_half_a_spacing_beyond_its_centre_and_then_comes_the_fill():
    """Centres at x = -1 and 1, spacing 2: the image reaches from -2 to 2."""
    grid = axial_grid(shape=(1, 1, 2), spacing=(2.0, 2.0, 2.0))
    volume = Volume(voxels=np.array([[[10, 20]]], np.float32), grid=grid, quantity=Quantity.HU)

    wide = volume_onto(volume, axial_grid(shape=(1, 1, 7), spacing=(1, 1, 0.9)), fill=-1000)

    # x = -2.7 -1.8 -0.9 0 0.9 1.8 2.7
    assert wide.voxels[0, 0] == pytest.approx([-1000, 10, 10.5, 15, 19.5, 20, -1000])


@settings(max_examples=40, deadline=None)
@given(
    tilt=st.floats(-40, 40),
    roll=st.floats(-180, 180),
    spacing=st.tuples(*[st.floats(0.7, 6)] * 3),
    flipped=st.booleans(),
)
def test_a_linear_image_is_carried_exactly_onto_any_grid(tilt, roll, spacing, flipped):
    source = turned(axial_grid(shape=(20, 24, 28), spacing=(3.0, 2.0, 2.5)), about_x_deg=tilt)
    target = turned(
        axial_grid(shape=(3, 4, 5), spacing=spacing, centre=source.centre), about_z_deg=roll
    )
    target = feet_first(target) if flipped else target
    inside = source.contains(target.to_patient(np.moveaxis(np.indices(target.shape), 0, -1)))
    centres = np.all(
        np.abs(
            source.to_indices(target.to_patient(np.moveaxis(np.indices(target.shape), 0, -1)))
            - (np.asarray(source.shape) - 1) / 2
        )
        <= (np.asarray(source.shape) - 1) / 2,
        axis=-1,
    )

    carried = volume_onto(ramp(source), target, fill=np.nan)

    assert np.allclose(carried.voxels[centres], ramp(target).voxels[centres], atol=0.05)
    assert np.isnan(carried.voxels[~inside]).all()


def test_scipy_interpolates_the_same_numbers():
    rng = np.random.default_rng(1)
    source = turned(axial_grid(shape=(12, 15, 17), spacing=(4.0, 3.0, 2.0)), about_x_deg=10)
    volume = Volume(
        voxels=rng.normal(size=source.shape).astype(np.float32),
        grid=source,
        quantity=Quantity.SUVBW,
    )
    target = axial_grid(shape=(6, 7, 8), spacing=(2.1, 2.2, 1.3), centre=source.centre)
    indices = source.to_indices(target.to_patient(np.moveaxis(np.indices(target.shape), 0, -1)))

    ours = volume_onto(volume, target, fill=0).voxels

    theirs = ndimage.map_coordinates(volume.voxels, np.moveaxis(indices, -1, 0), order=1)
    assert np.allclose(ours, theirs, atol=1e-5)


def test_a_target_beside_the_source_holds_only_the_fill():
    near = ramp(axial_grid(shape=(4, 4, 4), spacing=(1.0, 1.0, 1.0)))
    far = axial_grid(shape=(2, 2, 2), spacing=(1.0, 1.0, 1.0), centre=(500.0, 0.0, 0.0))

    assert (volume_onto(near, far, fill=-1000).voxels == -1000).all()


def test_positions_mean_nothing_in_another_frame_of_reference():
    grid = axial_grid(shape=(4, 4, 4), spacing=(1.0, 1.0, 1.0))
    other = replace(grid, frame_of_reference_uid="2.25.2")

    with pytest.raises(ValueError, match=r"frame of reference 2\.25\.1 to 2\.25\.2"):
        volume_onto(ramp(grid), other, fill=0)
    with pytest.raises(ValueError, match="frame of reference"):
        region_onto(ball(grid, (0, 0, 0), 2), other)


def test_a_hot_spot_on_a_feet_first_pet_lands_on_the_same_patient_point_of_the_ct():
    pet_grid = feet_first(axial_grid(shape=(30, 40, 40), spacing=(5.0, 4.0, 4.0)))
    ct_grid = turned(axial_grid(shape=(60, 120, 120), spacing=(2.0, 1.0, 1.0)), about_x_deg=15)
    point = (21.0, -14.0, 11.0)
    spot = ball(pet_grid, point, 20).mask.astype(np.float32)

    on_ct = volume_onto(
        Volume(voxels=spot, grid=pet_grid, quantity=Quantity.SUVBW), ct_grid, fill=0
    )

    weights = on_ct.voxels.astype(float)
    index = [float((weights * i).sum() / weights.sum()) for i in np.indices(ct_grid.shape)]
    source = pet_grid.to_patient(np.argwhere(spot > 0).mean(axis=0))
    assert np.allclose(ct_grid.to_patient(index), source, atol=0.3)


@pytest.mark.parametrize("diameter_mm", [12.0, 20.0, 45.0])
@pytest.mark.parametrize("tilt", [0.0, 20.0])
def test_a_ball_keeps_its_volume_and_its_place(diameter_mm, tilt):
    ct = turned(axial_grid(shape=(80, 90, 90), spacing=(1.25, 0.98, 0.98)), about_x_deg=tilt)
    pet = feet_first(axial_grid(shape=(40, 50, 50), spacing=(2.5, 2.0, 2.0), centre=ct.centre))
    shares = []
    for shift in np.linspace(0, 2, 6):
        x, y, z = ct.centre
        centre = (x + shift, y - shift / 2, z + shift / 3)
        region = ball(ct, centre, diameter_mm)

        carried = region_onto(region, pet)

        shares.append(carried.volume_ml / region.volume_ml)
        middle = pet.to_patient(np.argwhere(carried.mask).mean(axis=0))
        assert np.allclose(middle, centre, atol=0.6)
    assert np.mean(shares) == pytest.approx(1, abs=0.03)
    assert np.ptp(shares) < 0.1


def test_a_box_refined_is_the_same_box_with_rounded_corners():
    """2 x 2 x 2 voxels of 4 mm become 8 x 8 x 8 = 512 of 1 mm, but for 12 edges of 6 and 8 corners.

    A centre 0.5 mm inside a face stands at 0.625, inside an edge at 0.39, in a corner at 0.24.
    """
    coarse = axial_grid(shape=(6, 6, 6), spacing=(4.0, 4.0, 4.0))
    mask = np.zeros(coarse.shape, bool)
    mask[2:4, 2:4, 2:4] = True
    fine = axial_grid(shape=(24, 24, 24), spacing=(1.0, 1.0, 1.0))

    carried = region_onto(Region(mask=mask, grid=coarse), fine)

    assert carried.mask[9:15, 9:15, 8:16].all()
    assert carried.voxel_count == 512 - 12 * 6 - 8


def test_a_region_cut_by_the_edge_of_the_target_is_not_swollen_to_its_former_volume():
    """A row of 10 mm; the target sees its last 4 mm, and a voxel before that is not in it."""
    grid = axial_grid(shape=(5, 5, 5), spacing=(2.0, 2.0, 2.0))
    row = np.zeros(grid.shape, bool)
    row[1:4, 1:4] = True
    target = axial_grid(shape=(11, 11, 4), spacing=(1.0, 1.0, 1.0), centre=(3.0, 0.0, 0.0))

    carried = region_onto(Region(mask=row, grid=grid), target)

    assert carried.voxel_count <= 7 * 7 * 4


def test_the_same_lattice_gives_the_same_region_in_its_own_memory():
    grid = axial_grid(shape=(5, 6, 7), spacing=(3.0, 2.0, 1.0))
    region = ball(grid, (0, 0, 0), 4)

    carried = region_onto(region, grid)

    assert np.array_equal(carried.mask, region.mask)
    assert not np.shares_memory(carried.mask, region.mask)


def test_a_region_at_the_edge_of_its_image_ends_with_its_voxels():
    """Six millimetres from -3 to 3; of the two centres that lie on its ends, it gets one."""
    grid = axial_grid(shape=(3, 3, 3), spacing=(2.0, 2.0, 2.0))
    full = Region(mask=np.ones(grid.shape, bool), grid=grid)

    carried = region_onto(full, axial_grid(shape=(1, 1, 9), spacing=(1.0, 1.0, 1.0)))

    # x = -4 -3 -2 -1 0 1 2 3 4
    inside = carried.mask[0, 0]
    assert inside[2:7].all()
    assert inside.sum() == 6


def test_a_region_smaller_than_a_voxel_keeps_the_voxel_that_holds_it():
    fine = axial_grid(shape=(10, 10, 10), spacing=(1.0, 1.0, 1.0), centre=(3.0, 3.0, 3.0))
    mask = np.zeros(fine.shape, bool)
    mask[4, 4, 4] = True  # at 2.5 mm
    coarse = axial_grid(shape=(3, 3, 3), spacing=(9.0, 9.0, 9.0))

    carried = region_onto(Region(mask=mask, grid=fine), coarse)

    assert np.argwhere(carried.mask).tolist() == [[1, 1, 1]]


def test_a_region_outside_the_target_or_empty_is_empty():
    grid = axial_grid(shape=(4, 4, 4), spacing=(1.0, 1.0, 1.0))
    far = axial_grid(shape=(4, 4, 4), spacing=(1.0, 1.0, 1.0), centre=(90.0, 0.0, 0.0))

    assert region_onto(ball(grid, (0, 0, 0), 2), far).voxel_count == 0
    assert region_onto(empty_region(grid), far).voxel_count == 0


def test_the_bounding_box_stops_at_the_edge():
    mask = np.zeros((5, 6, 7), bool)
    mask[1:3, 0, 6] = True

    assert bounding_box(mask) == (slice(1, 3), slice(0, 1), slice(6, 7))
    assert bounding_box(mask, margin=2) == (slice(0, 5), slice(0, 3), slice(4, 7))
    assert bounding_box(np.zeros((2, 2, 2), bool)) is None


def test_a_cropped_grid_places_its_voxels_where_they_were():
    grid = turned(axial_grid(shape=(5, 6, 7), spacing=(3.0, 2.0, 1.0)), about_x_deg=30)

    part = crop(grid, (slice(1, 4), slice(2, 6), slice(3, 5)))

    assert part.shape == (3, 4, 2)
    assert np.allclose(part.to_patient((0, 0, 0)), grid.to_patient((1, 2, 3)))


@given(
    diameter_mm=st.floats(5, 38),
    step_mm=st.floats(1.5, 6.0),
    off_mm=st.floats(-3, 3),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=60)
def test_the_level_of_a_region_is_that_of_all_values_sorted(diameter_mm, step_mm, off_mm, seed):
    """Written out: the n-th greatest value is the level, held between 0.4 and 0.6."""
    source = axial_grid(shape=(24, 24, 24), spacing=(2.0, 2.0, 2.0))
    region = ball(source, (off_mm, 0.0, 0.0), diameter_mm)
    ragged = np.random.default_rng(seed).random(source.shape) < 0.9
    region = Region(mask=region.mask & ragged, grid=source)
    side = round(50 / step_mm)
    target = axial_grid(shape=(side,) * 3, spacing=(step_mm,) * 3, centre=(0.3, 0.4, 0.7))
    nudged = tuple(o + n for o, n in zip(target.origin, (1.1e-3, 1.3e-3, 1.7e-3), strict=True))
    as_volume = Volume(
        voxels=region.mask.astype(np.float32), grid=source, quantity=Quantity.SALIENCY
    )
    values = volume_onto(as_volume, replace(target, origin=nudged), fill=0.0).voxels
    count = max(round(region.volume_ml / target.voxel_volume_ml), 1)
    expected = values >= np.clip(np.sort(values, axis=None)[-count], 0.4, 0.6)

    assert np.array_equal(region_onto(region, target).mask, expected) or not expected.any()


@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 40), st.integers(2, 60)),
    factors=st.tuples(st.integers(1, 5), st.integers(1, 11), st.integers(1, 20)),
    seed=st.integers(0, 2**32 - 1),
)
def test_means_of_blocks_are_those_of_the_whole_volume_to_the_last_bit(shape, factors, seed):
    factors = tuple(map(min, factors, (shape[0], shape[1], shape[2] // 2)))
    drawn = np.random.default_rng(seed).normal(0, 1000, shape).astype(np.float32)
    (a, b, c), (f, g, h) = (n // m for n, m in zip(shape, factors, strict=True)), factors
    kept = drawn[: a * f, : b * g, : c * h]
    along_rows = kept.reshape(a * f, b * g, c, h).mean(axis=3, dtype=np.float32)
    whole = along_rows.reshape(a, f, b, g, c).mean(axis=(1, 3), dtype=np.float32)

    assert block_means(drawn, factors).tobytes() == whole.tobytes()


@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 20), st.integers(8, 40)),
    factors=st.tuples(st.integers(1, 4), st.integers(1, 5), st.sampled_from((1, 2, 4, 8))),
    scale_is_wide=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_blocks_summed_in_any_order_have_the_same_means_to_the_last_bit(
    shape, factors, scale_is_wide, seed
):
    factors = tuple(map(min, factors, shape))
    rng = np.random.default_rng(seed)
    whole = rng.integers(-1024, 3072, shape).astype(np.int16)
    if scale_is_wide:
        whole[rng.integers(0, shape[0]), 0, 0] = 9000  # four times that is beyond 16 bits
    voxels, most = whole.astype(np.float32), int(np.abs(whole).max())
    cuts = [0, *sorted(rng.integers(0, shape[0] + 1, 3).tolist()), shape[0]]
    sums = BlockSums(voxels, factors)

    for first, end in rng.permutation(list(pairwise(cuts))).tolist():
        assert sums.means(most) is None or first == end
        sums.add(first, whole[first:end], most)

    means = sums.means(most)
    assert BlockSums.can_be_of(factors)
    assert means.of is voxels
    assert means.means.tobytes() == block_means(voxels, factors).tobytes()


def test_means_that_would_not_be_exact_are_not_told():
    """3 x 4 x 4 values of up to 2^24 / 48 have an exact sum; of three, a third is rounded."""
    voxels = np.zeros((3, 4, 4), np.float32)
    sums = BlockSums(voxels, (3, 4, 4))
    sums.add(0, voxels.astype(np.int16), 0)

    assert sums.means(2**24 / 48 - 1) is not None
    assert sums.means(2**24 / 48) is None
    assert not BlockSums.can_be_of((3, 4, 3))
