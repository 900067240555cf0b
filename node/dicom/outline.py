"""The outline of a region in one plane, as the closed polygon along its pixels' edges."""

from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from inference.volume import Mask, bounding_box

Corner: TypeAlias = tuple[int, int]

_RIGHT_TURN: Final[dict[Corner, Corner]] = {
    (1, 0): (0, 1),
    (0, 1): (-1, 0),
    (-1, 0): (0, -1),
    (0, -1): (1, 0),
}
_LEAST_POINTS: Final = 6


def key_slice(mask: Mask) -> int:
    """Return the index of the slice in which the region is largest; the first of equals."""
    box = bounding_box(mask)
    if box is None:
        return 0
    return int(box[0].start) + int(np.argmax(np.count_nonzero(mask[box], axis=(1, 2))))


def outline(plane: Mask) -> NDArray[np.float64]:
    """Return ``(n, 2)`` (column, row) corners around the largest part of a plane's region.

    Coordinates are those of SCOORD (PS3.3 C.18.6.1.2): 0, 0 is the outer corner of the first
    pixel. The first point is repeated at the end; there are more than five points, because
    viewers take four or five for a rectangle tool. Holes are filled. Refuses an empty plane.
    """
    rows, columns = (np.flatnonzero(plane.any(axis=axis)) for axis in (1, 0))
    if not rows.size:
        raise ValueError("a plane without a region has no outline")
    labels, _ = ndimage.label(plane[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    sizes = np.bincount(labels.ravel())[1:]
    part = ndimage.binary_fill_holes(labels == int(np.argmax(sizes)) + 1)
    path = _walk(_edges(np.asarray(part, dtype=bool)))
    corners = [
        path[0],
        *(b for a, b, c in zip(path, path[1:], path[2:], strict=False) if _turns(a, b, c)),
    ]
    points = corners if len(corners) >= _LEAST_POINTS - 1 else _with_midpoints(corners)
    closed: NDArray[np.float64] = np.asarray([*points, points[0]], dtype=float)
    closed += (columns[0], rows[0])
    return closed


def _edges(part: Mask) -> dict[Corner, list[Corner]]:
    """Return the pixel edges round ``part`` as steps from corner to corner, region to the right."""
    padded = np.pad(part, 1)
    inside = padded[1:-1, 1:-1]
    steps: dict[Corner, list[Corner]] = {}
    sides = (
        (padded[:-2, 1:-1], (0, 0), (1, 0)),  # above: to the right along the top
        (padded[1:-1, 2:], (1, 0), (0, 1)),  # right: down
        (padded[2:, 1:-1], (1, 1), (-1, 0)),  # below: to the left
        (padded[1:-1, :-2], (0, 1), (0, -1)),  # left: up
    )
    for neighbour, (dx, dy), step in sides:
        for row, column in np.argwhere(inside & ~neighbour):
            steps.setdefault((int(column) + dx, int(row) + dy), []).append(step)
    return steps


def _walk(steps: dict[Corner, list[Corner]]) -> list[Corner]:
    """Follow the edges round once, from the topmost corner; ends where it began."""
    start = min(steps, key=lambda corner: (corner[1], corner[0]))
    corner, step = start, steps[start].pop()
    path = [start]
    while True:
        corner = (corner[0] + step[0], corner[1] + step[1])
        path.append(corner)
        if corner == start:
            return path
        onward = steps[corner]
        # Where pixels touch at a corner, a right turn stays with the pixel we go round.
        step = _RIGHT_TURN[step] if _RIGHT_TURN[step] in onward else onward[0]
        onward.remove(step)


def _turns(a: Corner, b: Corner, c: Corner) -> bool:
    return (b[0] - a[0], b[1] - a[1]) != (c[0] - b[0], c[1] - b[1])


def _with_midpoints(corners: list[Corner]) -> list[tuple[float, float]]:
    """Return the corners with the middle of each side between them."""
    following = [*corners[1:], corners[0]]
    return [
        point
        for (x, y), (u, v) in zip(corners, following, strict=True)
        for point in ((float(x), float(y)), ((x + u) / 2, (y + v) / 2))
    ]
