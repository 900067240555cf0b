"""Finds the hot spots of uptake: the minima of a depth that are deep enough to count.

They are the regional minima that ITK finds once it has filled shallow ones (h-minima); here they
come from the voxels above the floor alone, a tenth of a chest.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import minimum_spanning_tree

from inference.volume import Mask

Depths: TypeAlias = NDArray[np.int16]
Marks: TypeAlias = NDArray[np.uint32]
_Integers: TypeAlias = NDArray[np.int64]
_Edge: TypeAlias = tuple[float, int, int]


def hot_spots(depth: Depths, above: Mask, *, depth_least: int) -> Marks:
    """Return the bottom of each minimum, numbered from 1 as they come in the volume; 0 elsewhere.

    What is not ``above`` the floor is a plain of the greatest depth value. A minimum whose pass to
    a deeper one, or to the plain, is at most ``depth_least`` above it is none. The bottom is all
    that is joined to its deepest voxel up to ``depth_least`` above that. Where no minimum is so
    far below the plain, the whole volume is one bottom.
    """
    top = int(depth.max())
    if int(depth.min()) + depth_least >= top:
        return np.ones(depth.shape, np.uint32)
    voxels = _Voxels.of(depth, above)
    pools = voxels.pools()
    least, owners, counts = _merged(pools.least, voxels.passes(pools), depth_least)
    counts &= least + depth_least < top
    owner = owners[pools.of_voxel]
    deep = counts[owner] & (voxels.depth <= least[owner] + depth_least)
    marks: Marks = np.zeros(depth.shape, np.uint32)
    numbers = np.zeros(voxels.count, np.uint32)
    numbers[deep] = _in_order(owner[deep])
    marks[above] = numbers
    return marks


@dataclass(frozen=True, kw_only=True, eq=False)
class _Pools:
    """What drains to one voxel by the steepest way each."""

    of_voxel: _Integers
    least: _Integers
    """The depth of the deepest voxel of each pool."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Voxels:
    """The voxels above the floor, numbered as they come; ``count`` stands for any other."""

    count: int
    depth: _Integers
    before: tuple[NDArray[np.int32], ...]
    """The neighbours towards the beginning of each axis."""
    after: tuple[NDArray[np.int32], ...]

    @classmethod
    def of(cls, depth: Depths, above: Mask) -> "_Voxels":
        padded = np.pad(above, 1)
        at = np.flatnonzero(padded)
        number = np.full(padded.size, len(at), np.int32)
        number[at] = np.arange(len(at), dtype=np.int32)
        return cls(
            count=len(at),
            depth=depth[above].astype(np.int64),
            before=tuple(number[at - step] for step in padded.strides),
            after=tuple(number[at + step] for step in padded.strides),
        )

    def pools(self) -> _Pools:
        """Send each voxel to its deepest neighbour, of equals to the first, until it rests."""
        size = self.count + 1
        beyond = np.append(self.depth, np.iinfo(np.int16).max)
        key = beyond * size + np.arange(size)
        deepest = key[: self.count]
        for neighbours in (*self.before, *self.after):
            deepest = np.minimum(deepest, key[neighbours])
        end = deepest % size
        while not np.array_equal(end, further := end[end]):
            end = further
        rests = end == np.arange(self.count)
        return _Pools(of_voxel=(np.cumsum(rests) - 1)[end], least=self.depth[rests])

    def passes(self, pools: _Pools) -> list[_Edge]:
        """Return the lowest passes that join the pools, lowest first: depth, one pool, the other.

        Ways round by higher passes are left out.
        """
        pool = np.append(pools.of_voxel, -1)
        found = []
        for neighbours in self.after:
            one, other = pools.of_voxel, pool[neighbours]
            (here,) = np.nonzero((other >= 0) & (other != one))
            there = neighbours[here]
            height = np.maximum(self.depth[here], self.depth[there])
            found.append(np.stack([height, one[here], other[here]]))
        height, one, other = np.concatenate(found, axis=1)
        return _lowest(height, np.minimum(one, other), np.maximum(one, other), len(pools.least))


def _lowest(height: _Integers, one: _Integers, other: _Integers, count: int) -> list[_Edge]:
    """Return the edges of least height that join what can be joined, in ascending order."""
    if not len(height):
        return []
    low, span = int(height.min()), int(np.ptp(height)) + 1
    pair, lift = np.divmod(np.sort((one * count + other) * span + (height - low)), span)
    lowest = np.append(True, pair[1:] != pair[:-1])
    joined = np.divmod(pair[lowest], count)
    # A sparse matrix takes 0 for no edge.
    ways = coo_array((lift[lowest] + 1.0, joined), (count, count))
    tree = minimum_spanning_tree(ways.tocsr()).tocoo()
    order = np.argsort(tree.data, kind="stable")
    rows, columns = (axis[order].tolist() for axis in tree.coords)
    return list(zip((tree.data[order] + (low - 1)).tolist(), rows, columns, strict=True))


def _merged(
    least: _Integers, passes: Iterable[_Edge], depth_least: int
) -> tuple[_Integers, _Integers, NDArray[np.bool_]]:
    """Return the depth of each pool's minimum, the pool where that lies, and whether it counts."""
    depth, owner, counts = least.tolist(), list(range(len(least))), [True] * len(least)
    for height, one, other in passes:
        deep, shallow = _owner(owner, one), _owner(owner, other)
        if depth[deep] > depth[shallow]:
            deep, shallow = shallow, deep
        if height <= depth[deep] + depth_least:
            owner[shallow] = deep
            counts[deep] &= counts[shallow]
        elif height <= depth[shallow] + depth_least:
            counts[shallow] = False
    owners = np.asarray([_owner(owner, pool) for pool in range(len(owner))], np.int64)
    return np.asarray(depth), owners, np.asarray(counts)


def _owner(owner: list[int], pool: int) -> int:
    while owner[pool] != pool:
        owner[pool] = pool = owner[owner[pool]]
    return pool


def _in_order(owners: _Integers) -> NDArray[np.uint32]:
    """Return a number for each owner, from 1, the first for the one that comes first."""
    found, first, inverse = np.unique(owners, return_index=True, return_inverse=True)
    rank = np.empty(len(found), np.uint32)
    rank[np.argsort(first)] = np.arange(1, len(found) + 1, dtype=np.uint32)
    return rank[inverse]
