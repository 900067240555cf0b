"""Cuts uptake at the valleys between its hot spots."""

from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from inference import itk
from inference.hot_spots import Depths, HotSpots, hot_spots
from inference.morphology import dilated
from inference.volume import Box, Mask, Voxels, bounding_box

Labels: TypeAlias = NDArray[np.integer]
Index: TypeAlias = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True, eq=False)
class Spot:
    """A hot spot with all that drains to it."""

    peak: float
    position: Index
    """Of its hottest voxel, of equals the first."""
    voxels: NDArray[np.int64]
    """Where its voxels lie in the flat volume, ascending."""
    uptake: Voxels
    """Of each of these."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Marked:
    """Uptake whose hot spots are marked, in the box that holds what is above the floor."""

    shape: tuple[int, ...]
    box: Box
    above: Mask
    depth: Depths
    found: HotSpots
    ways: Mask


def watershed(suv: Voxels, *, floor: float, saddle: float, reach: int) -> Labels:
    """Return the number of each voxel's hot spot, from 1; below ``floor`` it is 0.

    Two hot spots are one where uptake between them stays above the part ``saddle`` of the lower
    one. The watershed runs on the logarithm, so that how deep a valley must be is a ratio. Values
    are whole thousandths there: much faster, and finer than any noise.

    What lies below the floor is one wide plain, flooded last of all. By way of it uptake that is
    too faint for a hot spot of its own gets the number of what is nearest, if that is up to
    ``reach`` steps along the axes away; farther away it may be 0. No more of the plain is flooded
    than lies on such ways: in a chest, a fiftieth.
    """
    return flooded(mark(suv, floor=floor, saddle=saddle, reach=reach))


def mark(suv: Voxels, *, floor: float, saddle: float, reach: int) -> Marked:
    """Do what comes before the flood: a third of the time, in many short steps."""
    above = suv >= floor
    # With some of the plain, if there is any; of a plain alone one voxel.
    box = bounding_box(above, margin=1) or (slice(0, 1), slice(0, 1), slice(0, 1))
    above = above[box]
    depth = _depth(suv[box], above, floor)
    found = hot_spots(depth, above, depth_least=round(-1000 * float(np.log(saddle))))
    ways = _ways(found.joined, above, reach)
    return Marked(shape=suv.shape, box=box, above=above, depth=depth, found=found, ways=ways)


def flooded(marked: Marked) -> Labels:
    """Return the numbers that ``watershed`` tells of; nearly all of it is one step of ITK's."""
    labels: Labels = np.zeros(marked.shape, np.uint32)
    numbers = _flooded(marked.depth, marked.found, marked.ways)
    labels[marked.box] = np.where(marked.above, numbers, 0)
    return labels


def hottest(labels: Labels, suv: Voxels, *, most: int) -> list[Spot]:
    """Return the ``most`` hot spots that peak highest, as their numbers ascend.

    Little of a chest has a number, and nothing of a cold one.
    """
    inside = labels != 0
    voxels, number, uptake = np.flatnonzero(inside), labels[inside], suv[inside]
    if number.max(initial=0) <= np.iinfo(np.uint16).max:
        number = number.astype(np.uint16)  # sorted in a tenth of the time
    order = np.argsort(number, kind="stable")
    number, voxels, uptake = number[order], voxels[order], uptake[order]
    begin = np.flatnonzero(np.append(True, number[1:] != number[:-1])[: len(number)])
    bounds = list(pairwise([*begin.tolist(), len(voxels)]))
    if len(bounds) > most:
        peaks = np.maximum.reduceat(uptake, begin)
        bounds = [bounds[i] for i in np.sort(np.argsort(peaks, kind="stable")[-most:])]
    return [_spot(voxels[a:b], uptake[a:b], suv.shape) for a, b in bounds]


def _spot(voxels: NDArray[np.int64], uptake: Voxels, shape: tuple[int, ...]) -> Spot:
    at = int(uptake.argmax())
    z, y, x = (int(i) for i in np.unravel_index(voxels[at], shape))
    return Spot(peak=float(uptake[at]), position=(z, y, x), voxels=voxels, uptake=uptake)


def _depth(suv: Voxels, above: Mask, floor: float) -> Depths:
    """Return how far below nothing each voxel lies in thousandths, the plain as its brink."""
    log = np.log(np.append(suv[above], np.float32(floor)))
    thousandths = (-1000 * log).astype(np.int16)
    depth: Depths = np.full(suv.shape, thousandths[-1])
    depth[above] = thousandths[:-1]
    return depth


def _ways(joined: Mask, above: Mask, reach: int) -> Mask:
    """Return what may lie on a way of up to so many steps from what is joined to what is not."""
    ways: Mask = np.zeros_like(above)
    near = dilated(joined, reach)
    faint = above & near & ~joined
    box = bounding_box(faint, margin=reach)
    if box is not None:
        ways[box] = dilated(faint[box], reach) & near[box]
    return ways


def _flooded(depth: Depths, found: HotSpots, ways: Mask) -> Labels:
    """Flood what is joined to hot spots, and then the ways."""
    flooded: Labels = np.zeros(depth.shape, np.uint32)
    beyond = ~(found.joined | ways)
    box = bounding_box(~beyond, margin=1)
    if box is None:
        return flooded
    none = int(found.marks.max()) + 1
    # All else is taken for flooded, and higher than the plain, so that it floods nothing before.
    marks = np.where(beyond[box], np.uint32(none), found.marks[box])
    raised = np.where(beyond[box], depth.max() + np.int16(1), depth[box])
    labels: Labels = itk.GetArrayFromImage(
        itk.MorphologicalWatershedFromMarkers(
            itk.GetImageFromArray(raised), itk.GetImageFromArray(marks), markWatershedLine=False
        )
    )
    labels[labels == none] = 0
    flooded[box] = labels
    return flooded
