"""Cuts uptake at the valleys between its hot spots."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from inference import itk
from inference.hot_spots import hot_spots
from inference.morphology import dilated
from inference.resample import bounding_box
from inference.volume import Mask, Voxels

Labels: TypeAlias = NDArray[np.integer]


def watershed(suv: Voxels, *, floor: float, saddle: float, reach: int) -> Labels:
    """Return the number of each voxel's hot spot, from 1; below ``floor`` it is 0.

    Two hot spots are one where uptake between them stays above the part ``saddle`` of the lower
    one. The watershed runs on the logarithm, so that how deep a valley must be is a ratio. Values
    are whole thousandths there: much faster, and finer than any noise.

    What lies below the floor is one wide plain, flooded last of all. By way of it uptake that is
    too faint for a hot spot of its own gets the number of what is nearest, if that is up to
    ``reach`` steps along the axes away; farther away it may be 0. No more of the plain is flooded
    than that takes: in a chest, a quarter.
    """
    labels: Labels = np.zeros(suv.shape, np.uint32)
    near = dilated(suv >= floor, reach)
    box = bounding_box(near, margin=1)  # with some of the plain, if there is any
    if box is not None:
        labels[box] = _flooded(suv[box], ~near[box], floor=floor, saddle=saddle)
    return labels


def _flooded(suv: Voxels, beyond: Mask, *, floor: float, saddle: float) -> Labels:
    """Flood all but what is ``beyond``."""
    depth = (-1000 * np.log(np.maximum(suv, floor))).astype(np.int16)
    above = suv >= floor
    markers = hot_spots(depth, above, depth_least=round(-1000 * float(np.log(saddle))))
    plain = int(markers.max()) + 1
    markers[beyond] = plain  # taken for flooded ...
    depth[beyond] += 1  # ... and higher than the rest, so that it floods nothing before
    flooded = itk.MorphologicalWatershedFromMarkers(
        itk.GetImageFromArray(depth), itk.GetImageFromArray(markers), markWatershedLine=False
    )
    labels: Labels = itk.GetArrayFromImage(flooded)
    labels[~above | (labels == plain)] = 0
    return labels
