"""Finds the lungs, and what lies around and between them, on a CT."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import permutations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from inference.geometry import Grid
from inference.morphology import Parts, convex, dilated, eroded, largest, opened, within
from inference.resample import block_means, crop
from inference.volume import BlockMeans, Box, Mask, Quantity, Region, Volume, Voxels, bounding_box

COARSE_MM = 4.0
"""The CT is averaged to voxels of about this size: fine enough for organs, and fast."""
AIR_BELOW_HU = -400.0
GAS_BELOW_HU = -930.0
"""Air without tissue: airways, bowel; aerated lung holds blood and tissue and is denser."""
LUNG_LEAST_ML = 300.0
"""Air in the body below this, on either side together, is not taken for lungs."""
LUNG_LEAST_RADIUS_MM = 12.0
"""Lung is somewhere this deep at least; air between the back and the table is not."""
CAVITY_MARGIN_MM = 15.0
IN_SLICE = (1, 2)
ALONG = (0,)
MEDIASTINAL_CORE_MM = 14.0
"""Soft tissue that holds a ball of this radius is organ, not vessel or node."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Thorax:
    """The chest as far as a CT shows it; every region is empty where there is no lung to see.

    The regions lie on one coarse grid that ends with the lungs. Its slices run to the head, rows
    to the back and columns to the left, as nearly as the axes of the CT allow. Sides and heart are
    told when they are first asked for: the search of the PET, which needs the cavity, has begun.
    """

    body: Region
    """The patient without table, air within included, as far as the grid reaches."""
    lungs: Region
    cavity: Region
    """The lungs, what lies between them, and a margin that holds pleura and inner chest wall.

    Domes of liver and spleen reach into it from below: between the lungs' bases CT alone does not
    tell them from what stands on the diaphragm.
    """
    _seen: "_Seen | None" = None

    @cached_property
    def midline_x_mm(self) -> float | None:
        """Where the middle of the body lies at the height of the lungs."""
        return None if self._seen is None else self._seen.midline_x_mm

    @cached_property
    def left_lung(self) -> Region:
        """The lung on the patient's left."""
        return self.lungs if self._seen is None else self._seen.left_lung(self.lungs)

    @cached_property
    def right_lung(self) -> Region:
        """The lung on the patient's right."""
        return replace(self.lungs, mask=self.lungs.mask & ~self.left_lung.mask)

    @cached_property
    def heart(self) -> Region:
        """An estimate: the bulk of soft tissue low in the cavity, from the midline to the left."""
        return self.lungs if self._seen is None else self._seen.heart(self.lungs)

    @property
    def lung_volume_ml(self) -> float:
        """Volume of both lungs."""
        return self.left_lung.volume_ml + self.right_lung.volume_ml


def find_thorax(ct: Volume, means: BlockMeans | None = None) -> Thorax:
    """Find body, lungs, cavity and heart in HU of any orientation and spacing.

    A CT that shows no lungs (a crop, a limb, a head, nothing but air) gives empty regions. Lung
    that reaches the edge of the slices is not told from the air of the room. ``means`` spare
    averaging the CT if they are of its own voxels.
    """
    if ct.quantity is not Quantity.HU:
        raise ValueError(f"a thorax is found in {Quantity.HU}, got {ct.quantity}")
    hu, grid = _coarse(ct, means)
    body = _body(hu)
    lungs: Mask = np.zeros_like(body)
    box = bounding_box(body)
    if box is not None:
        lungs[box] = _lungs(hu[box], body[box], crop(grid, box))
    if not lungs.any():
        nothing = Region(mask=lungs, grid=grid)
        return Thorax(body=Region(mask=body, grid=grid), lungs=nothing, cavity=nothing)
    box = bounding_box(lungs, margin=int(np.ceil(CAVITY_MARGIN_MM / min(grid.spacing))) + 1)
    assert box is not None  # there are lungs
    part = crop(grid, box)
    hull = convex(lungs[box])
    hull |= eroded(dilated(hull, 2, axes=ALONG), 2, axes=ALONG)
    cavity = within(hull, CAVITY_MARGIN_MM, grid.spacing) & body[box]
    return Thorax(
        body=Region(mask=body[box], grid=part),
        lungs=Region(mask=lungs[box], grid=part),
        cavity=Region(mask=cavity, grid=part),
        _seen=_Seen(hu=hu[box], hull=hull, body=body, lungs=lungs, grid=grid, box=box),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Seen:
    """What the organs of a thorax are told from when somebody asks for them."""

    hu: Voxels
    hull: Mask
    body: Mask
    """This one and the lungs on the whole of the grid."""
    lungs: Mask
    grid: Grid
    box: Box

    @cached_property
    def _column(self) -> float:
        return _midline(self.body, self.lungs)

    @property
    def _middle(self) -> float:
        return self._column - float(self.box[2].start)

    @property
    def midline_x_mm(self) -> float:
        slices, rows, _ = self.lungs.shape
        x, _, _ = self.grid.to_patient((slices / 2, rows / 2, self._column))
        return float(x)

    def left_lung(self, lungs: Region) -> Region:
        return replace(lungs, mask=_left(lungs.mask, self._middle, lungs.grid))

    def heart(self, lungs: Region) -> Region:
        between = self.hull & ~lungs.mask
        return replace(lungs, mask=_heart(self.hu, between, lungs.mask, self._middle, lungs.grid))


def _coarse(ct: Volume, told: BlockMeans | None) -> tuple[Voxels, Grid]:
    """Average blocks of voxels, and turn the axes to head, back and left."""
    factors = coarse_factors(ct.grid.shape, ct.grid.spacing)
    if told is not None and told.of is ct.voxels and told.factors == factors:
        mean = told.means
    else:
        mean = block_means(ct.voxels, factors)
    origin = ct.grid.to_patient((np.asarray(factors) - 1) / 2)
    return _upright(
        mean,
        origin,
        [s * f for s, f in zip(ct.grid.spacing, factors, strict=True)],
        np.asarray(ct.grid.direction),
        ct.grid.frame_of_reference_uid,
    )


def coarse_factors(shape: Sequence[int], spacing: Sequence[float]) -> tuple[int, int, int]:
    """Return how many voxels along each axis a block has that a thorax is found in."""
    deep, high, wide = (
        min(max(1, round(COARSE_MM / step)), size)
        for step, size in zip(spacing, shape, strict=True)
    )
    return deep, high, wide


def _upright(
    voxels: Voxels,
    origin: NDArray[np.float64],
    spacing: list[float],
    direction: NDArray[np.float64],
    frame_of_reference_uid: str,
) -> tuple[Voxels, Grid]:
    """Permute and flip the axes so that they run to the head, the back and the left."""
    wanted = np.asarray([(0, 0, 1.0), (0, 1.0, 0), (1.0, 0, 0)])
    order = max(
        permutations(range(3)),
        key=lambda p: sum(abs(float(direction[a] @ w)) for a, w in zip(p, wanted, strict=True)),
    )
    voxels = voxels.transpose(order)
    axes = direction[list(order)]
    steps = [spacing[a] for a in order]
    corner = origin.copy()
    flips = []
    for axis, want in enumerate(wanted):
        backwards = float(axes[axis] @ want) < 0
        if backwards:
            corner += axes[axis] * steps[axis] * (voxels.shape[axis] - 1)
            axes[axis] = -axes[axis]
        flips.append(slice(None, None, -1 if backwards else 1))
    slices, rows, columns = voxels.shape
    x, y, z = corner.tolist()
    first, second, third = (tuple(a) for a in axes.tolist())
    grid = Grid(
        shape=(slices, rows, columns),
        spacing=(steps[0], steps[1], steps[2]),
        origin=(x, y, z),
        direction=(first, second, third),
        frame_of_reference_uid=frame_of_reference_uid,
    )
    return np.ascontiguousarray(voxels[tuple(flips)]), grid


def _body(hu: Voxels) -> Mask:
    """Return the largest thing that the air of the room does not reach, without table or clothes.

    The room's air is thick: what joins it through gaps of some voxels only, as lung does where
    averaging has thinned the chest wall away, is inside.
    """
    air = hu < AIR_BELOW_HU
    parts = Parts.of(eroded(air, 2, border=True))
    _, rows, columns = hu.shape
    at_side = (parts.first == 0) | (parts.stop == columns)
    room = parts.drawn(parts.where(at_side | (parts.rows == 0) | (parts.rows == rows - 1)))
    for _ in range(2):
        room = dilated(room, 1) & air
    return largest(opened(~room))


def _lungs(hu: Voxels, body: Mask, grid: Grid) -> Mask:
    """Return the aerated lung: the large air spaces in the body, less airways and bowel gas."""
    air = body & (hu < AIR_BELOW_HU)
    gas = air & (hu < GAS_BELOW_HU)
    airways = _small_parts(opened(gas), most_ml=60.0, grid=grid)
    air &= ~dilated(airways, 2)
    parts = Parts.of(air)
    nothing: Mask = np.zeros_like(air)
    if parts.count == 0:
        return nothing
    number = parts.of_voxels
    volumes = parts.sizes * grid.voxel_volume_ml
    means = np.bincount(number, weights=hu[air]) / parts.sizes
    steps = max(1, round(LUNG_LEAST_RADIUS_MM / max(grid.spacing[1:])))
    thick = np.bincount(number, weights=eroded(air, steps, axes=IN_SLICE)[air]) > 0
    lung = (means > GAS_BELOW_HU) & thick
    lung &= volumes > 0.1 * volumes[lung].max(initial=0.0)
    if volumes[lung].sum() < LUNG_LEAST_ML:
        return nothing
    return parts.drawn(lung)


def _small_parts(mask: Mask, *, most_ml: float, grid: Grid) -> Mask:
    """Return the connected parts of at most ``most_ml``."""
    parts = Parts.of(mask)
    return parts.drawn(parts.sizes * grid.voxel_volume_ml <= most_ml)


def _midline(body: Mask, lungs: Mask) -> float:
    """Return the column of the middle of the body, by the slices that hold lung.

    Arms that lie beside the body, both or one, are parts of a slice of their own.
    """
    parts = Parts.of(body, axes=IN_SLICE)
    sizes = parts.sizes
    middles = []
    for index in np.flatnonzero(lungs.any(axis=(1, 2))):
        within_slice = slice(*np.searchsorted(parts.slices, (index, index + 1)))
        part = parts.part[within_slice]
        trunk = part == part[sizes[part].argmax()]
        first, stop = parts.first[within_slice][trunk], parts.stop[within_slice][trunk]
        middles.append((first.min() + stop.max() - 1) / 2)
    return float(np.median(middles))


def _left(lungs: Mask, middle: float, grid: Grid) -> Mask:
    """Return the left lung: whole parts by where they lie, what reaches across by the midline."""
    near = 20.0 / grid.spacing[2]
    columns = np.arange(lungs.shape[2])
    left: Mask = np.zeros_like(lungs)
    labels, _ = ndimage.label(lungs)
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        part = labels[box] == number
        where = columns[box[2]]
        crosses = where[0] < middle - near and where[-1] > middle + near
        if crosses:
            left[box] |= part & (where > middle)
        elif float((part.sum(axis=(0, 1)) * where).sum() / part.sum()) > middle:
            left[box] |= part
    return left


def _reaching(mask: Mask, middle: float, *, columns: float) -> Mask:
    """Return the connected parts that come nearer to the midline than so many columns."""
    parts = Parts.of(mask)
    central = np.abs(np.arange(mask.shape[2]) - middle) < columns
    before = np.append(0, np.cumsum(central))  # how many central columns there are before each
    return parts.drawn(parts.where(before[parts.stop] > before[parts.first]))


def _heart(hu: Voxels, between: Mask, lungs: Mask, middle: float, grid: Grid) -> Mask:
    """Return the bulk of soft tissue low in the cavity, from the midline to the left front.

    Bulk is what a ball of ``MEDIASTINAL_CORE_MM`` fits into; vessels and nodes fall away. It is
    sought in the lower 55 % of the lungs' height, in front of their middle to the right,
    and no further from the midline than a heart reaches: 60 mm to the right, 95 mm to the left.
    """
    soft = between & (hu > -200)
    deep = ~within(~soft, MEDIASTINAL_CORE_MM, grid.spacing)
    core = _reaching(deep, middle, columns=25.0 / grid.spacing[2])
    bulk = within(core, MEDIASTINAL_CORE_MM, grid.spacing)
    box = bounding_box(lungs)
    assert box is not None  # the caller has found lungs
    slices, rows, columns = (np.arange(n) for n in hu.shape)
    low = slices < box[0].start + 0.55 * (box[0].stop - box[0].start)
    front = rows < box[1].start + 0.72 * (box[1].stop - box[1].start)
    across_mm = (columns - middle) * grid.spacing[2]
    near = (across_mm > -60) & (across_mm < 95)
    zone: Mask = bulk & soft & low[:, None, None] & front[None, :, None] & near
    return zone
