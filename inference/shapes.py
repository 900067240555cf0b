"""Solids that know how deep a point lies inside them, and how they are painted onto a lattice."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from inference.geometry import Grid, Vector
from inference.volume import Voxels

Box: TypeAlias = tuple[Vector, Vector]
Coordinates: TypeAlias = tuple[Voxels, Voxels, Voxels]
Value: TypeAlias = float | Callable[[Coordinates], Voxels]
Slices: TypeAlias = tuple[slice, slice, slice]

_SLAB = 24
"""Slices painted at once."""


class Shape(Protocol):
    """A solid in LPS mm."""

    @property
    def box(self) -> Box:
        """The least and the greatest corner of a box that holds the solid."""
        ...

    def depth_mm(self, at: Coordinates) -> Voxels:
        """How far inside the surface, in mm; negative outside, exact only near the surface."""
        ...


@dataclass(frozen=True)
class Ellipsoid:
    """An ellipsoid along the patient's axes."""

    centre: Vector
    radii: Vector

    @property
    def box(self) -> Box:
        """The least and the greatest corner."""
        centre, radii = np.asarray(self.centre), np.asarray(self.radii)
        return to_vector(centre - radii), to_vector(centre + radii)

    def depth_mm(self, at: Coordinates) -> Voxels:
        """Depth, scaled by the geometric mean of the radii."""
        x, y, z = (
            np.square((axis - np.float32(c)) * np.float32(1 / r))
            for axis, c, r in zip(at, self.centre, self.radii, strict=True)
        )
        radius = np.sqrt((x + y) + z)
        return _inwards(radius, np.float32(np.prod(self.radii) ** (1 / 3)))


@dataclass(frozen=True)
class Column:
    """A stack of axial ellipses: each row of ``levels`` is (z, centre x, centre y, half x, half y).

    Between the levels the ellipses are interpolated; above and below them there is nothing.
    """

    levels: tuple[tuple[float, float, float, float, float], ...]

    @property
    def box(self) -> Box:
        """The least and the greatest corner."""
        z, cx, cy, a, b = np.asarray(self.levels).T
        least = (float((cx - a).min()), float((cy - b).min()), float(z[0]))
        most = (float((cx + a).max()), float((cy + b).max()), float(z[-1]))
        return least, most

    def depth_mm(self, at: Coordinates) -> Voxels:
        """Depth below the wall or the nearer end."""
        x, y, z = at
        levels = np.asarray(self.levels).T
        cx, cy, a, b = (np.interp(z, levels[0], row).astype(np.float32) for row in levels[1:])
        radius = np.sqrt(np.square((x - cx) / a) + np.square((y - cy) / b))
        wall = _inwards(radius, np.minimum(a, b))
        ends = np.minimum(z - np.float32(levels[0][0]), np.float32(levels[0][-1]) - z)
        depth: Voxels = np.minimum(wall, ends)
        return depth


@dataclass(frozen=True)
class Capsule:
    """A tapering rod with round ends."""

    start: Vector
    end: Vector
    start_radius: float
    end_radius: float

    @property
    def box(self) -> Box:
        """The least and the greatest corner."""
        ends = np.asarray([self.start, self.end])
        radius = max(self.start_radius, self.end_radius)
        return to_vector(ends.min(axis=0) - radius), to_vector(ends.max(axis=0) + radius)

    def depth_mm(self, at: Coordinates) -> Voxels:
        """Depth below the surface, which is taken perpendicular to the axis."""
        start = np.asarray(self.start)
        axis = np.asarray(self.end) - start
        length2 = float(axis @ axis)
        steps = [c - np.float32(s) for c, s in zip(at, start, strict=True)]
        along = sum(s * np.float32(a / length2) for s, a in zip(steps, axis, strict=True))
        along = np.clip(along, 0, 1, dtype=np.float32)
        distance2 = sum(
            np.square(s - along * np.float32(a)) for s, a in zip(steps, axis, strict=True)
        )
        radius = self.start_radius + along * np.float32(self.end_radius - self.start_radius)
        depth: Voxels = (radius - np.sqrt(distance2)).astype(np.float32, copy=False)
        return depth


@dataclass(frozen=True)
class Ribs:
    """Rings that repeat every ``pitch`` along a wall, sloping down to the front by ``slope``."""

    wall: Column
    pitch: float
    slope: float
    radius: float

    @property
    def box(self) -> Box:
        """The least and the greatest corner."""
        least, most = self.wall.box
        pad = np.asarray([self.radius, self.radius, 0.0])
        return to_vector(np.asarray(least) - pad), to_vector(np.asarray(most) + pad)

    def depth_mm(self, at: Coordinates) -> Voxels:
        """Depth below the surface of the nearest ring."""
        x, y, z = at
        levels = np.asarray(self.wall.levels).T
        cx, cy, a, b = (np.interp(z, levels[0], row).astype(np.float32) for row in levels[1:])
        radius = np.sqrt(np.square((x - cx) / a) + np.square((y - cy) / b))
        off_wall = _inwards(radius, np.sqrt(a * b))
        phase = (z - np.float32(self.slope) * y) / np.float32(self.pitch)
        off_ring = (phase - np.rint(phase)) * np.float32(self.pitch)
        depth: Voxels = np.float32(self.radius) - np.sqrt(np.square(off_wall) + np.square(off_ring))
        return depth


@dataclass(frozen=True)
class Waves:
    """A smooth random field of mean 0 and SD 1: a sum of plane waves of random direction."""

    vectors: tuple[Vector, ...]
    phases: tuple[float, ...]

    @classmethod
    def random(
        cls, rng: np.random.Generator, *, count: int, shortest_mm: float, longest_mm: float
    ) -> "Waves":
        """Draw ``count`` waves with lengths from ``shortest_mm`` to ``longest_mm``."""
        directions = rng.standard_normal((count, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        lengths = rng.uniform(shortest_mm, longest_mm, (count, 1))
        vectors = tuple(to_vector(v) for v in 2 * np.pi * directions / lengths)
        return cls(vectors, tuple(float(p) for p in rng.uniform(0, 2 * np.pi, count)))

    def at(self, at: Coordinates) -> Voxels:
        """Return the value of the field at every point."""
        total: Voxels = np.zeros(np.broadcast_shapes(*(c.shape for c in at)), np.float32)
        for vector, phase in zip(self.vectors, self.phases, strict=True):
            x, y, z = (c * np.float32(k) for c, k in zip(at, vector, strict=True))
            total += np.cos((x + y) + (z + np.float32(phase)))
        total *= np.float32(np.sqrt(2 / len(self.vectors)))
        return total


def coordinates(grid: Grid, part: Slices) -> Coordinates:
    """LPS mm of the voxels in ``part`` of ``grid``, as three arrays that broadcast to its shape.

    An axis of the patient that does not change along an axis of the lattice has length 1 there.
    """
    steps = np.asarray(grid.direction) * np.asarray(grid.spacing)[:, None]
    axes = []
    for axis in range(3):
        total = np.full((1, 1, 1), grid.origin[axis])
        for index in range(3):
            if abs(steps[index, axis]) > 1e-9:
                along = [1, 1, 1]
                along[index] = -1
                offsets = np.arange(part[index].start, part[index].stop) * steps[index, axis]
                total = total + offsets.reshape(along)
        axes.append(total.astype(np.float32))
    x, y, z = axes
    return x, y, z


def covering(grid: Grid, box: Box, *, margin: ArrayLike = 1) -> Slices | None:
    """Return the part of ``grid`` that covers ``box`` and ``margin`` more voxels, None if none."""
    corners = grid.to_indices(list(product(*zip(*box, strict=True))))
    least = np.floor(corners.min(axis=0)).astype(int) - margin
    most = np.ceil(corners.max(axis=0)).astype(int) + 1 + np.asarray(margin)
    start, stop = np.maximum(least, 0), np.minimum(most, grid.shape)
    if np.any(start >= stop):
        return None
    a, b, c = (slice(int(i), int(j)) for i, j in zip(start, stop, strict=True))
    return a, b, c


def paint(
    voxels: Voxels, grid: Grid, window: Slices, solids: Sequence[tuple[Shape, Value]]
) -> None:
    """Paint solids one over the other onto ``voxels``, which are the ``window`` of ``grid``.

    A voxel that a surface crosses takes its share of both sides, over one voxel's width. A few
    slices are painted at a time, so that the arrays in between stay near the cache.
    """
    found = [(covering(grid, shape.box), shape, value) for shape, value in solids]
    for start in range(window[0].start, window[0].stop, _SLAB):
        slab = slice(start, min(start + _SLAB, window[0].stop))
        for reach, shape, value in found:
            part = reach and _intersection(reach, (slab, window[1], window[2]))
            if part:
                a, b, c = (
                    slice(p.start - w.start, p.stop - w.start)
                    for p, w in zip(part, window, strict=True)
                )
                _blend(voxels[a, b, c], grid, part, (shape, value))


def _blend(view: Voxels, grid: Grid, part: Slices, solid: tuple[Shape, Value]) -> None:
    shape, value = solid
    at = coordinates(grid, part)
    share = shape.depth_mm(at)
    share *= np.float32(np.prod(grid.spacing) ** (-1 / 3))
    share += np.float32(0.5)
    np.clip(share, 0, 1, out=share)
    share *= (value(at) if callable(value) else np.float32(value)) - view
    view += share


def _intersection(one: Slices, other: Slices) -> Slices | None:
    parts = [
        slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(one, other, strict=True)
    ]
    if any(part.start >= part.stop for part in parts):
        return None
    a, b, c = parts
    return a, b, c


def _inwards(radius: Voxels, scale_mm: np.float32 | Voxels) -> Voxels:
    depth: Voxels = (np.float32(1) - radius) * scale_mm
    return depth


def to_vector(values: ArrayLike) -> Vector:
    """Return three floats."""
    x, y, z = (float(v) for v in np.asarray(values))
    return x, y, z
