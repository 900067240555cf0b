"""Measures one lesion: its uptake on the PET, its extent and its side."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist

from inference.geometry import Grid, Points, Vector
from inference.morphology import eroded
from inference.resample import crop
from inference.volume import Mask, Quantity, Region, Volume

PEAK_VOLUME_ML = 1.0
PEAK_RADIUS_MM = (PEAK_VOLUME_ML * 1000 * 3 / (4 * np.pi)) ** (1 / 3)
"""6.2035 mm: the radius of a sphere of 1 ml (PERCIST 1.0, J Nucl Med 2009;50:122S)."""
_SUBVOXELS = 7
"""A voxel is cut into this many parts along each axis to tell how much of it a sphere covers."""

MIDLINE_MM = 10.0
"""A lesion is on the midline when it is nearer to one side than to the other by less than this."""

_Offsets: TypeAlias = NDArray[np.intp]
_Numbers: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Measures:
    """What one region takes up. SUVs are SUVbw in g/ml; ``tlg_g == suv_mean * mtv_ml``."""

    suv_max: float
    suv_max_lps_mm: Vector
    """The centre of the hottest voxel."""
    suv_mean: float
    suv_peak: float | None
    """None where the sphere would leave the image."""
    mtv_ml: float
    tlg_g: float
    metabolic: Region
    """The voxels of the region at or above the threshold: what MTV, SUVmean and TLG are of."""


def measure(region_on_pet: Region, pet: Volume, *, threshold_fraction: float) -> Measures:
    """Measure the uptake of a region drawn on the PET's own grid.

    The metabolic volume is made of the region's voxels at or above ``threshold_fraction`` of its
    SUVmax. An empty region, another grid and another quantity than SUVbw are refused.
    """
    _check(region_on_pet, pet, threshold_fraction)
    box = region_on_pet.box
    if box is None:
        raise ValueError("an empty region cannot be measured")
    inside = region_on_pet.mask[box]
    suv = np.where(inside, pet.voxels[box], -np.inf)
    local = np.unravel_index(int(np.argmax(suv)), suv.shape)
    hottest = np.asarray(local) + [b.start for b in box]
    suv_max = float(suv[local])
    metabolic_box = inside & (suv >= threshold_fraction * suv_max)
    metabolic = Region.placed(pet.grid, box, metabolic_box)
    mtv_ml = int(np.count_nonzero(metabolic_box)) * pet.grid.voxel_volume_ml
    suv_mean = float(suv[metabolic_box].mean(dtype=np.float64))
    return Measures(
        suv_max=suv_max,
        suv_max_lps_mm=_vector(pet.grid.to_patient(hottest)),
        suv_mean=suv_mean,
        suv_peak=suv_peak(region_on_pet, pet, hottest=tuple(int(i) for i in hottest)),
        mtv_ml=mtv_ml,
        tlg_g=suv_mean * mtv_ml,
        metabolic=metabolic,
    )


def suv_peak(region: Region, pet: Volume, *, hottest: tuple[int, ...]) -> float | None:
    """Return the highest mean over a 1 ml sphere centred on a voxel of the region.

    The sphere may leave the region, not the image (PERCIST 1.0; QIBA FDG-PET/CT Profile 1.13,
    where the sphere that counts is the one of the highest mean, wherever it lies in the lesion).
    Voxels count by the part of them inside the sphere. None when no sphere fits into the image, or
    when the one round the hottest voxel does not: the peak may then lie where nothing was measured.
    """
    offsets, weights = sphere_weights(pet.grid)
    centres = region.voxels
    reach = offsets.max(axis=0)
    fits = np.all((centres >= reach) & (centres + reach < pet.grid.shape), axis=1)
    at_hottest = np.asarray(hottest)
    if np.any(at_hottest < reach) or np.any(at_hottest + reach >= pet.grid.shape):
        return None
    flat = np.ravel_multi_index(tuple(centres[fits].T), pet.grid.shape)
    _, row_step, column_step = (int(np.prod(pet.grid.shape[a:])) for a in (0, 1, 2))
    steps = offsets @ np.asarray([row_step, column_step, 1])
    voxels = pet.voxels.reshape(-1)
    sums: _Numbers = np.zeros(flat.size)
    for step, weight in zip(steps, weights, strict=True):
        sums += voxels[flat + step] * weight
    return float(sums.max())


def sphere_weights(grid: Grid) -> tuple[_Offsets, _Numbers]:
    """Return the voxel offsets that a 1 ml sphere round a voxel's centre touches, and its shares.

    The shares add up to 1.
    """
    spacing = np.asarray(grid.spacing)
    reach = np.ceil(PEAK_RADIUS_MM / spacing - 0.5).astype(int)
    parts = (np.arange(_SUBVOXELS) + 0.5) / _SUBVOXELS - 0.5
    squares = []
    for size, step in zip(reach, spacing, strict=True):
        centres = np.arange(-size, size + 1)
        squares.append(((centres[:, None] + parts) * step) ** 2)
    slices, rows, columns = squares
    inside = (
        slices[:, None, None, :, None, None]
        + rows[None, :, None, None, :, None]
        + columns[None, None, :, None, None, :]
    ) <= PEAK_RADIUS_MM**2
    shares = inside.mean(axis=(3, 4, 5))
    touched = np.argwhere(shares > 0)
    weights: _Numbers = shares[shares > 0] / shares.sum()
    return touched - reach, weights


def diameters(region: Region) -> tuple[float, float]:
    """Return the longest diameter within one slice and the longest in space, in mm.

    Both are the greatest distance between two points of the surface. The surface passes through the
    middles of the faces between voxels inside and outside, half a voxel beyond the outermost
    centres, as in the mesh of IBSI's maximum 3D diameter (L0JK): a row of n voxels is n spacings
    long, and a sphere of voxels is as long as the sphere. An empty region has (0, 0).
    """
    box = region.box
    if box is None:
        return 0.0, 0.0
    mask = region.mask[box]
    spacing = np.asarray(region.grid.spacing)
    in_space = _longest(_face_centres(mask) * spacing)
    return _longest_within(mask, spacing[1:]), in_space


def centroid(region: Region) -> Vector:
    """Return the mean position of the region's voxel centres in LPS mm; an empty one is refused."""
    box = region.box
    if box is None:
        raise ValueError("an empty region has no centroid")
    index = np.argwhere(region.mask[box]).mean(axis=0)
    return _vector(crop(region.grid, box).to_patient(index))


def laterality(region: Region, left_lung: Region, right_lung: Region) -> str | None:
    """Tell which lung of the patient the region's centroid is nearer to.

    ``left``, ``right``, or ``midline`` where the distances to both lungs differ by less than 10 mm.
    The lungs' labels, not the sign of x, decide: a patient need not lie centred or straight. None
    where a lung is missing, because then nothing tells the sides apart.
    """
    if left_lung.voxel_count == 0 or right_lung.voxel_count == 0:
        return None
    centre = np.asarray(centroid(region))
    to_left, to_right = (_distance_mm(lung, centre) for lung in (left_lung, right_lung))
    if abs(to_left - to_right) < MIDLINE_MM:
        return "midline"
    return "left" if to_left < to_right else "right"


def _check(region: Region, pet: Volume, threshold_fraction: float) -> None:
    if pet.quantity is not Quantity.SUVBW:
        raise ValueError(f"uptake is measured in {Quantity.SUVBW}, got {pet.quantity}")
    if not region.grid.is_close(pet.grid):
        raise ValueError("the region must lie on the PET's own grid")
    if not 0 < threshold_fraction < 1:
        raise ValueError(f"the threshold is a fraction of SUVmax, got {threshold_fraction}")


def _face_centres(mask: Mask) -> Points:
    """Return, in indices, the middles of all faces between a voxel inside and one outside."""
    padded = np.pad(mask, 1)
    points = []
    for axis in range(mask.ndim):
        change = np.diff(padded.astype(np.int8), axis=axis) != 0
        faces = np.argwhere(change) - 1.0
        faces[:, axis] += 0.5
        points.append(faces)
    found: Points = np.concatenate(points)
    return found


def _longest(points: Points) -> float:
    """Return the greatest distance between two points; only corners of the hull can hold it."""
    return float(pdist(points[ConvexHull(points).vertices]).max())


def _longest_within(mask: Mask, spacing: _Numbers) -> float:
    """Return the greatest distance within one slice; slices that can hold none are passed over."""
    extents = np.stack([_extents(mask, axis=axis) for axis in (2, 1)], axis=1) * spacing
    most_mm = np.hypot(*extents.T) * (1 + 1e-9)  # of rounding
    longest = 0.0
    for index in np.argsort(-most_mm):
        if most_mm[index] <= longest:
            break
        longest = max(longest, _longest(_face_centres(mask[index]) * spacing))
    return longest


def _extents(mask: Mask, *, axis: int) -> _Offsets:
    """Return for each slice how far it reaches across ``axis``, first to last voxel."""
    held: NDArray[np.bool_] = np.logical_or.reduce(mask, axis=axis)
    extents: _Offsets = held.shape[1] - held.argmax(axis=1) - held[:, ::-1].argmax(axis=1)
    return np.where(held.any(axis=1), extents, 0)


def _distance_mm(region: Region, point: _Numbers) -> float:
    """Return how far the nearest voxel is: one of the surface, or one that the point lies in."""
    mask = region.mask
    shown = mask & ~eroded(mask, 1)
    index = np.rint(region.grid.to_indices(point)).astype(int)
    around = tuple(slice(max(i - 1, 0), max(i + 2, 0)) for i in index.tolist())
    shown[around] |= mask[around]
    positions = region.grid.to_patient(np.argwhere(shown))
    return float(np.sqrt(((positions - point) ** 2).sum(axis=1).min()))


def _vector(point: Points) -> Vector:
    x, y, z = point
    return float(x), float(y), float(z)


def share_within(region: Region, other: Region) -> float:
    """Return the share of a region's voxel centres that lie in another region, on any grid."""
    centres = region.grid.to_patient(region.voxels)
    if not len(centres):
        return 0.0
    indices = np.rint(other.grid.to_indices(centres)).astype(int)
    inside = np.all((indices >= 0) & (indices < other.grid.shape), axis=1)
    slices, rows, columns = indices[inside].T
    return float(np.count_nonzero(other.mask[slices, rows, columns]) / len(centres))
