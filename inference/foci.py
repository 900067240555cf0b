"""Finds the foci of raised uptake in a chest, each with its extent and with what lies around it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

import numpy as np

from inference.beside import beside
from inference.geometry import Grid
from inference.morphology import Parts, filled, within
from inference.resample import crop, region_onto
from inference.thorax import Thorax
from inference.volume import Box, Mask, Region, Volume, Voxels, bounding_box, shifted
from inference.watershed import Index, Spot, flooded, hottest, mark

REACH_MM = 40.0
"""How far beyond the cavity a focus that begins in it is followed."""
FOLLOWED_MM = 150.0
"""How far from its peak a focus is followed."""
SADDLE = 0.85
"""Two hot spots are one basin where uptake between them stays above this part of the lower one."""
SHELL_MM = 9.0
"""What lies this near to a focus, somewhat more than PET resolves, tells where it is."""
LUNG_CONTACT = 0.4
"""A focus lies in the lung from this share of lung around it: half in the pleura has a half."""
BORDER_CONTACT = 0.2
"""With less lung, but this much around it, a focus may still have grown into wall or diaphragm."""
BORDER_MOST_ML = 400.0
HEART_SHARE = 0.6
HEART_CONTACT = 0.5
"""The free wall of the heart has lung around a third of it; a tumour that leans on it, more."""
MEDIASTINAL_MOST_ML = 150.0
"""Uptake between the lungs that is larger than this is blood, not nodes."""
MEDIASTINAL_HALF_WIDTH_MM = 60.0
"""Mediastinal and hilar nodes (stations 2 to 10) lie this near to the midline."""
CONTRAST = 1.5
"""A focus outside the lung peaks at this many times what surrounds it; noise in liver does not."""
LEVEL_WITH_LUNG = 0.4
"""A slice is of the chest where lung fills at least this part of what it fills at its widest."""
FOCI_MOST = 30
"""So many foci are followed: a chest with more is not staged by counting them, and a PET whose SUV
is wrong by a factor has thousands, of noise, that would keep a worker for minutes."""
BASINS_MOST = 2000
"""So many basins are looked at, the hottest ones, for the same reason; a chest has hundreds."""
GAP_MM = 10.0
"""Gaps in a lesion up to twice this wide are closed: necrosis that reaches its surface."""
GAP_FRACTION = 0.5
"""Uptake in such a gap is at least this part of the lesion's threshold."""


class Place(StrEnum):
    """Where a focus lies, judged by the CT around it."""

    LUNG = "lung"
    BORDER = "border of the lung"
    MEDIASTINUM = "mediastinum"
    HEART = "heart"
    OUTSIDE = "tissue around or below the lungs"
    DIFFUSE = "tissue of much the same uptake"

    @property
    def of_lesions(self) -> bool:
        """Whether raised uptake there is taken for a lesion."""
        return self in (Place.LUNG, Place.BORDER, Place.MEDIASTINUM)


@dataclass(frozen=True, kw_only=True, eq=False)
class Focus:
    """One focus of uptake on the PET's grid."""

    region: Region
    suv_max: float
    place: Place
    lung_contact: float
    """Share of its surroundings within 9 mm that is aerated lung."""

    @property
    def burden_g(self) -> float:
        """SUVmax times volume: how much it takes up in all, whatever its middle holds."""
        return self.suv_max * self.region.volume_ml


@dataclass(frozen=True, kw_only=True, eq=False)
class _Scene:
    """The PET round the cavity, with the organs of the CT carried onto it."""

    suv: Voxels
    grid: Grid
    lungs: Mask
    cavity: Mask
    heart: Mask
    mediastinum: Mask
    """Where nodes lie: near the midline, in slices that cut through much lung."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Part:
    """Some voxels of the scene: a mask on a box of it."""

    mask: Mask
    box: Box

    def on(self, box: Box) -> Mask:
        """Return the mask on a box that holds its own."""
        mask: Mask = np.zeros([b.stop - b.start for b in box], np.bool_)
        mask[_within(box, self.box)] = self.mask
        return mask


@dataclass(frozen=True, kw_only=True, eq=False)
class _Basin:
    """What drains to one hot spot, and where that lies."""

    spot: Spot
    place: Place
    lung_contact: float
    joinable: bool
    """Whether a lesion may grow into it: a small part of one may lie in the chest wall."""


def find_foci(
    pet: Volume,
    thorax: Thorax,
    *,
    suv_min: float,
    threshold_fraction: float,
    meanwhile: Callable[[], None] | None = None,
) -> tuple[Focus, ...]:
    """Return the foci that peak at ``suv_min`` or more in the thoracic cavity, the hottest first.

    Uptake is cut into basins at the valleys between hot spots, and each basin is placed by the CT.
    A lesion grows from its peak through basins that can be of a lesion, never into the heart's or
    the liver's, down to ``threshold_fraction`` of the way from the uptake around it to its maximum
    (the background-adapted threshold of EANM's guidelines for tumour imaging 2.0, 2015). Gaps and
    holes count to it: a necrotic core is tumour. Small lesions come out too large, as by every such
    threshold: by a half in diameter where they are no wider than twice the PET's resolution.

    Physiological foci are returned too; ``place`` tells them apart. At most ``FOCI_MOST`` foci are
    followed, those in the place of a lesion first and the hottest of them first; the rest is not
    returned. Without lungs: none. ``meanwhile`` is done while another thread cuts, if it comes to
    that.
    """
    cavity = region_onto(thorax.cavity, pet.grid)
    if cavity.box is None:
        return ()
    origin = _widened(cavity.box, REACH_MM, pet.grid)
    suv, grid = pet.voxels[origin], crop(pet.grid, origin)
    prepare = partial(
        mark, suv, floor=threshold_fraction * suv_min, saddle=SADDLE, reach=_reach(grid)
    )
    with beside(prepare) as marked:
        scene = _scene(suv, grid, cavity.mask[origin], thorax)
    # Beside many small steps something else would keep the interpreter's lock from each of them.
    with beside(partial(flooded, marked())) as labelled:
        if meanwhile is not None:
            meanwhile()
    spots = hottest(labelled(), suv, most=BASINS_MOST)
    basins = _basins(scene, spots)
    free = _drawn(suv.shape, [basin.spot for basin in basins if basin.joinable])
    foci: list[Focus] = []
    for basin in sorted(basins, key=lambda b: (not b.place.of_lesions, -b.spot.peak)):
        position = basin.spot.position
        too_faint = basin.spot.peak < suv_min or not scene.cavity[position]
        within_another = basin.joinable and not free[position]
        if too_faint or within_another:
            continue
        if len(foci) == FOCI_MOST:
            break
        domain = free if basin.place.of_lesions else _drawn(suv.shape, [basin.spot])
        limit = _followed(grid, position)
        part = _grow(scene, domain[limit], limit, position, threshold_fraction)
        if basin.place.of_lesions:
            free[part.box] &= ~part.mask
        place, contact = _judged(scene, basin, part, limit)
        foci.append(
            Focus(
                region=Region.placed(pet.grid, shifted(part.box, origin), part.mask),
                suv_max=float(scene.suv[part.box][part.mask].max()),
                place=place,
                lung_contact=contact,
            )
        )
    return tuple(sorted(foci, key=lambda focus: -focus.suv_max))


def nodal_zone(thorax: Thorax) -> Region:
    """Return where mediastinal and hilar nodes lie; empty without lungs.

    It is the cavity near the midline, above the domes of the diaphragm, the lung there included.
    """
    cavity, lungs = thorax.cavity, thorax.lungs.mask
    area = lungs.sum(axis=(1, 2))
    _, y, z = cavity.grid.centre
    middle = cavity.grid.to_indices((thorax.midline_x_mm or 0.0, y, z))[2]
    across_mm = np.abs(np.arange(lungs.shape[2]) - middle) * cavity.grid.spacing[2]
    high: Mask = area >= LEVEL_WITH_LUNG * area.max()
    near: Mask = across_mm <= MEDIASTINAL_HALF_WIDTH_MM
    return Region(mask=cavity.mask & high[:, None, None] & near, grid=cavity.grid)


def _scene(suv: Voxels, grid: Grid, cavity: Mask, thorax: Thorax) -> _Scene:
    return _Scene(
        suv=suv,
        grid=grid,
        lungs=region_onto(thorax.lungs, grid).mask,
        cavity=cavity,
        heart=region_onto(thorax.heart, grid).mask,
        mediastinum=region_onto(nodal_zone(thorax), grid).mask,
    )


def _basins(scene: _Scene, spots: Sequence[Spot]) -> list[_Basin]:
    """Place each basin by the half of it that is hot."""
    basins = []
    for spot in spots:
        hot = _hot_half(scene, spot)
        place, contact = _place(scene, hot)
        small = np.count_nonzero(hot.mask) * scene.grid.voxel_volume_ml <= MEDIASTINAL_MOST_ML
        nearby = place is Place.OUTSIDE and small and scene.cavity[spot.position]
        basins.append(
            _Basin(
                spot=spot,
                place=place,
                lung_contact=contact,
                joinable=place.of_lesions or bool(nearby),
            )
        )
    return basins


def _hot_half(scene: _Scene, spot: Spot) -> _Part:
    """Return what is joined to a hot spot's peak from half of it on."""
    hot = np.stack(np.unravel_index(spot.voxels[spot.uptake >= 0.5 * spot.peak], scene.suv.shape))
    low = hot.min(axis=1)
    mask: Mask = np.zeros(hot.max(axis=1) + 1 - low, np.bool_)
    mask[tuple(hot - low[:, None])] = True
    a, b, c = (slice(i, i + n) for i, n in zip(low.tolist(), mask.shape, strict=True))
    return _joined(_Part(mask=mask, box=(a, b, c)), spot.position)


def _drawn(shape: tuple[int, ...], spots: Sequence[Spot]) -> Mask:
    """Return the voxels of all that drains to some hot spots."""
    mask: Mask = np.zeros(shape, np.bool_)
    for spot in spots:
        mask.reshape(-1)[spot.voxels] = True
    return mask


def _judged(scene: _Scene, basin: _Basin, part: _Part, limit: Box) -> tuple[Place, float]:
    """Tell where a focus lies that grew from a basin, and how much of its surroundings is lung."""
    place, contact = basin.place, basin.lung_contact
    if place.of_lesions:
        place, contact = _place(scene, part)
    if place in (Place.BORDER, Place.MEDIASTINUM) and not _stands_out(scene, part, limit):
        place = Place.DIFFUSE
    return place, contact


def _reach(grid: Grid) -> int:
    """Return how many steps, each along one axis, a voxel in a gap can be from its lesion."""
    return int(GAP_MM * np.sqrt(np.sum(1 / np.square(grid.spacing)))) + 1


def _place(scene: _Scene, part: _Part) -> tuple[Place, float]:
    """Tell where a set of voxels lies, and how much of its surroundings is lung."""
    box = _widened(part.box, SHELL_MM, scene.grid)
    mask = part.on(box)
    shell = within(mask, SHELL_MM, scene.grid.spacing) & ~mask
    contact = float(scene.lungs[box][shell].mean()) if shell.any() else 0.0
    in_heart, in_cavity, in_mediastinum = (
        float(organ[part.box][part.mask].mean())
        for organ in (scene.heart, scene.cavity, scene.mediastinum)
    )
    volume_ml = int(np.count_nonzero(mask)) * scene.grid.voxel_volume_ml
    place = Place.MEDIASTINUM
    if in_heart >= HEART_SHARE and contact < HEART_CONTACT:
        place = Place.HEART
    elif contact >= LUNG_CONTACT:
        place = Place.LUNG
    elif contact >= BORDER_CONTACT and in_cavity >= 0.5 and volume_ml <= BORDER_MOST_ML:
        place = Place.BORDER
    elif in_mediastinum < 0.5 or volume_ml > MEDIASTINAL_MOST_ML:
        place = Place.OUTSIDE
    return place, contact


def _grow(scene: _Scene, domain: Mask, limit: Box, position: Index, fraction: float) -> _Part:
    """Return what is joined to ``position`` in ``domain`` above the threshold, gaps filled.

    Nothing is looked at outside of ``limit``, in which ``domain`` lies.
    """
    suv = scene.suv[limit]
    peak = float(scene.suv[position])
    plain = _joined(_Part(mask=domain & (suv >= fraction * peak), box=limit), position)
    around = _around(scene, plain, limit)
    background = float(np.median(around)) if around.size else 0.0
    # What is fainter than its surroundings is its peak and no more.
    threshold = min(background + fraction * (peak - background), peak)
    part = _joined(_Part(mask=domain & (suv >= threshold), box=limit), position)
    allowed = domain[_within(limit, part.box)]
    gaps = allowed & (scene.suv[part.box] >= GAP_FRACTION * threshold)
    gaps &= _closed(part.mask, scene.grid)
    return _Part(mask=filled(part.mask | gaps), box=part.box)


def _stands_out(scene: _Scene, part: _Part, limit: Box) -> bool:
    """Tell whether a focus is well above most of what surrounds it, as noise in liver is not."""
    around = _around(scene, part, limit)
    level = float(np.percentile(around, 80)) if around.size else 0.0
    return float(scene.suv[part.box][part.mask].max()) >= CONTRAST * level


def _around(scene: _Scene, part: _Part, limit: Box) -> Voxels:
    """Return the uptake 9 to 18 mm away, within ``limit``: beyond the blur of the lesion itself."""
    wide = _widened(part.box, 2 * SHELL_MM, scene.grid)
    a, b, c = (
        slice(max(w.start, most.start), min(w.stop, most.stop))
        for w, most in zip(wide, limit, strict=True)
    )
    mask = part.on((a, b, c))
    near, far = (within(mask, mm, scene.grid.spacing) for mm in (SHELL_MM, 2 * SHELL_MM))
    uptake: Voxels = scene.suv[a, b, c][far & ~near]
    return uptake


def _closed(part: Mask, grid: Grid) -> Mask:
    """Close gaps of up to twice ``GAP_MM``; what is convex stays as it is."""
    steps = [int(np.ceil(GAP_MM / s)) + 1 for s in grid.spacing]
    padded = np.pad(part, [(n, n) for n in steps])
    far = ~within(padded, GAP_MM, grid.spacing)
    open_to_outside = within(far, GAP_MM, grid.spacing)
    a, b, c = (slice(n, -n) for n in steps)
    closed: Mask = ~open_to_outside[a, b, c]
    return closed


def _joined(part: _Part, position: Index) -> _Part:
    """Return what is connected to one voxel of a part, on the smallest box that holds it."""
    box = bounding_box(part.mask)
    assert box is not None  # it holds the voxel
    parts = Parts.of(part.mask[box])
    z, y, x = (p - o.start - i.start for p, o, i in zip(position, part.box, box, strict=True))
    joined = parts.drawn(np.arange(parts.count) == parts.at((z, y, x)))
    inner = bounding_box(joined)
    assert inner is not None
    outer = shifted(box, part.box)
    return _Part(mask=joined[inner], box=shifted(inner, outer))


def _within(outer: Box, box: Box) -> Box:
    """Return where a box lies, counted from the beginning of ``outer``."""
    a, b, c = (slice(i.start - o.start, i.stop - o.start) for o, i in zip(outer, box, strict=True))
    return a, b, c


def _followed(grid: Grid, position: Index) -> Box:
    """Return how far a focus is followed from its peak."""
    z, y, x = (slice(i, i + 1) for i in position)
    return _widened((z, y, x), FOLLOWED_MM, grid)


def _widened(box: Box, margin_mm: float, grid: Grid) -> Box:
    steps = [int(np.ceil(margin_mm / s)) for s in grid.spacing]
    first, second, third = (
        slice(max(b.start - n, 0), min(b.stop + n, size))
        for b, n, size in zip(box, steps, grid.shape, strict=True)
    )
    return first, second, third
