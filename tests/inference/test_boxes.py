"""What is computed on small boxes round a lesion is what whole volumes give."""

import math
from dataclasses import replace

import numpy as np
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from inference.geometry import Grid, axial_grid
from inference.measure import diameters, measure, sphere_weights
from inference.resample import crop, region_onto, volume_onto
from inference.volume import Quantity, Region, Volume

SHAPE = (24, 30, 28)
ROUNDING = 1e-4
"""Of a value: positions that are added up from another corner differ in their last digits."""

seeds = st.integers(0, 2**32 - 1)
spacings = st.tuples(*[st.sampled_from([1.3, 2.0, 3.27, 4.1])] * 3)


def image_of(voxels, grid):
    image = sitk.GetImageFromArray(voxels.astype(np.float32))
    image.SetSpacing(grid.spacing[::-1])
    image.SetOrigin(grid.origin)
    image.SetDirection(np.array(grid.direction)[::-1].T.ravel().tolist())
    return image


def whole_onto(voxels, source, grid, *, fill):
    """The whole volume, resampled by SimpleITK onto the whole of a grid."""
    like = image_of(np.zeros(grid.shape), grid)
    whole = sitk.Resample(image_of(voxels, source), like, sitk.Transform(), sitk.sitkLinear, fill)
    return sitk.GetArrayFromImage(whole)


def blob(rng, grid):
    """A few balls that may touch the edge: one voxel at least."""
    indices = np.moveaxis(np.indices(grid.shape), 0, -1)
    mask = np.zeros(grid.shape, np.bool_)
    for _ in range(rng.integers(1, 4)):
        centre, radius = rng.uniform(0, np.array(grid.shape) - 1), rng.uniform(0.9, 5)
        mask |= ((indices - np.rint(centre)) ** 2).sum(axis=-1) <= radius**2
    return Region(mask=mask, grid=grid)


def tilted(rng, spacing):
    """A grid of 20 voxels a side, tilted about the patient's axis, somewhere within reach."""
    angle = rng.uniform(-0.3, 0.3)
    along = (math.cos(angle), math.sin(angle), 0.0)
    across = (-math.sin(angle), math.cos(angle), 0.0)
    x, y, z = rng.uniform(-40, 10, 3).tolist()
    return Grid(
        shape=(20, 20, 20),
        spacing=spacing,
        origin=(x, y, z),
        direction=((0.0, 0.0, 1.0), across, along),
        frame_of_reference_uid="2.25.1",
    )


@given(spacing=spacings, target=spacings, seed=seeds)
def test_a_volume_is_carried_as_the_whole_of_it_would_be(spacing, target, seed):
    rng = np.random.default_rng(seed)
    grid = axial_grid(shape=SHAPE, spacing=spacing)
    voxels = rng.uniform(0, 1000, SHAPE).astype(np.float32)
    volume = Volume(voxels=voxels, grid=grid, quantity=Quantity.HU)
    onto = tilted(rng, target)

    part = volume_onto(volume, onto, fill=-1024.0).voxels

    whole = whole_onto(voxels, grid, onto, fill=-1024.0)
    assert np.abs(part - whole).max() <= 1000 * ROUNDING


@given(spacing=spacings, target=spacings, seed=seeds)
def test_a_region_is_carried_as_the_whole_of_it_would_be(spacing, target, seed):
    """At the level, 0.4 to 0.6, that as many voxels reach as its volume asks for, if in view."""
    rng = np.random.default_rng(seed)
    grid = axial_grid(shape=SHAPE, spacing=spacing)
    region = blob(rng, grid)
    around = np.pad(region.mask, 1)
    onto = tilted(rng, target)

    carried = region_onto(region, onto)

    # Centres are moved by micrometres there, so that none lies on a face.
    moved = np.add(onto.origin, (1.1e-3, 1.3e-3, 1.7e-3)).tolist()
    source = grid.crop((-1, -1, -1), around.shape)
    whole = whole_onto(around, source, replace(onto, origin=tuple(moved)), fill=0.0)
    box = crop(grid, region.box)
    corners = np.array(list(np.ndindex(2, 2, 2))) * np.array(box.shape) - 0.5
    in_view = np.all(onto.contains(box.to_patient(corners)))
    count = max(round(region.volume_ml / onto.voxel_volume_ml), 1)
    level = min(max(np.sort(whole, axis=None)[-count], 0.4), 0.6) if in_view else 0.5
    sure = np.abs(whole - level) > ROUNDING
    if (whole >= level + ROUNDING).any():
        assert (carried.mask == (whole >= level))[sure].all()


@given(spacing=spacings, seed=seeds, fraction=st.sampled_from([0.2, 0.41, 0.9]))
def test_a_lesion_is_measured_as_on_the_whole_pet(spacing, seed, fraction):
    """Written out over all voxels; the peak is a convolution of the whole volume."""
    rng = np.random.default_rng(seed)
    grid = axial_grid(shape=SHAPE, spacing=spacing)
    suv = rng.uniform(0, 20, SHAPE).astype(np.float32)
    mask = blob(rng, grid).mask

    found = measure(
        Region(mask=mask, grid=grid),
        Volume(voxels=suv, grid=grid, quantity=Quantity.SUVBW),
        threshold_fraction=fraction,
    )

    metabolic = mask & (suv >= fraction * float(suv[mask].max()))
    assert found.suv_max == suv[mask].max()
    assert np.array_equal(found.metabolic.mask, metabolic)
    assert found.suv_mean == suv[metabolic].mean(dtype=np.float64)
    assert found.mtv_ml == metabolic.sum() * grid.voxel_volume_ml
    if found.suv_peak is not None:
        offsets, weights = sphere_weights(grid)
        reach = offsets.max(axis=0)
        sphere = np.zeros(2 * reach + 1)
        sphere[tuple((offsets + reach).T)] = weights
        means = ndimage.correlate(suv.astype(np.float64), sphere, mode="constant", cval=np.nan)
        assert math.isclose(found.suv_peak, np.nanmax(means[mask]), rel_tol=1e-9)


@given(spacing=spacings, seed=seeds)
def test_a_region_has_the_diameters_that_it_has_alone(spacing, seed):
    grid = axial_grid(shape=SHAPE, spacing=spacing)
    region = blob(np.random.default_rng(seed), grid)
    alone = Region(mask=region.mask[region.box], grid=crop(grid, region.box))

    assert diameters(region) == diameters(alone)
