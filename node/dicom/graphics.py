"""The graphics of structured reports as closed curves and voxels (PS3.3 C.18.6 and C.18.9)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from inference.geometry import Grid, Points
from inference.volume import Mask
from node.dicom import polygons

_POINTS: Final = ("POINT", "MULTIPOINT")
_ANGLES: Final = np.linspace(0, 2 * np.pi, 180, endpoint=False)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Graphic:
    """One graphic of an SCOORD, ``(n, 2)`` column and row, or of an SCOORD3D, ``(n, 3)`` LPS mm.

    Column and row count from the outer corner of the first pixel, whose centre is 0.5, 0.5.
    """

    kind: str
    points: Points

    @property
    def is_region(self) -> bool:
        """Whether it encloses something or is a point; an open line and a lone pair do not."""
        count, kind = len(self.points), self.kind
        if kind in _POINTS:
            return count > 0
        if kind in ("POLYLINE", "POLYGON"):
            return count > 3 and bool(np.allclose(self.points[0], self.points[-1], atol=1e-3))
        return count == {"CIRCLE": 2, "ELLIPSE": 4, "ELLIPSOID": 6}.get(kind)

    def curve(self) -> Points:
        """Return the closed curve, without the repeated point; a circle or ellipse as polygon."""
        found: Points = self.points
        if self.kind == "CIRCLE":
            centre, edge = self.points
            radius = float(np.linalg.norm(edge - centre))
            found = centre + radius * np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=-1)
        elif self.kind == "ELLIPSE":
            long, short = (
                (self.points[1] - self.points[0]) / 2,
                (self.points[3] - self.points[2]) / 2,
            )
            middle = self.points.mean(axis=0)
            found = middle + np.outer(np.cos(_ANGLES), long) + np.outer(np.sin(_ANGLES), short)
        elif self.kind in ("POLYLINE", "POLYGON"):
            found = self.points[:-1]
        return found


def in_patient(graphic: Graphic, grid: Grid, slice_index: int) -> Graphic:
    """Return an SCOORD's graphic in LPS mm: its points, or the curve of a circle or ellipse."""
    pixels = graphic.points
    kind = graphic.kind
    if kind not in _POINTS:
        curve = graphic.curve()
        pixels, kind = np.concatenate([curve, curve[:1]]), "POLYGON"
    indices = np.column_stack([np.full(len(pixels), float(slice_index)), pixels[:, ::-1] - 0.5])
    return Graphic(kind=kind, points=grid.to_patient(indices))


def draw(graphics: Sequence[Graphic], grid: Grid) -> polygons.Drawn:
    """Return the voxels of graphics in LPS mm, and how many of them lie on no slice.

    Curves count together, as polygons do: one inside another cuts a hole.
    """
    curves = [one for one in graphics if one.kind not in (*_POINTS, "ELLIPSOID")]
    drawn = polygons.draw([one.curve() for one in curves], grid)
    mask: Mask = drawn.mask
    dropped = drawn.dropped
    for one in graphics:
        if one.kind == "ELLIPSOID":
            mask |= _ellipsoid(one.points, grid)
        elif one.kind in _POINTS:
            inside = one.points[grid.contains(one.points)]
            slices, rows, columns = np.rint(grid.to_indices(inside)).astype(int).T
            mask[slices, rows, columns] = True
            dropped += int(len(inside) < len(one.points))
    return polygons.Drawn(mask=mask, dropped=dropped)


def _ellipsoid(points: Points, grid: Grid) -> Mask:
    """Return the voxels whose centres lie within three axes, each given by its two ends."""
    centre = points.mean(axis=0)
    halves = (points[1::2] - points[0::2]) / 2
    lengths = np.linalg.norm(halves, axis=1)
    mask: Mask = np.zeros(grid.shape, np.bool_)
    if lengths.min() <= 0:
        return mask
    reach = np.ceil(lengths.max() / np.asarray(grid.spacing)) + 1
    middle = np.rint(grid.to_indices(centre))
    low = np.clip(middle - reach, 0, grid.shape).astype(int)
    high = np.clip(middle + reach + 1, 0, grid.shape).astype(int)
    box = np.moveaxis(np.indices(high - low), 0, -1) + low
    along = (grid.to_patient(box) - centre) @ (halves / lengths[:, None] ** 2).T
    window = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    mask[window] = np.sum(along**2, axis=-1) <= 1
    return mask
