"""Finds the hot spots of uptake: the minima of a depth that are deep enough to count.

They are the regional minima that ITK finds once it has filled shallow ones (h-minima); here they
come from the voxels above the floor alone, a tenth of a chest.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

from inference.volume import Mask

Depths: TypeAlias = NDArray[np.int16]
Marks: TypeAlias = NDArray[np.uint32]
_Integers: TypeAlias = NDArray[np.int64]
_Edge: TypeAlias = tuple[float, int, int]


@dataclass(frozen=True, kw_only=True, eq=False)
class HotSpots:
    """Where uptake is hottest, and what hangs together with it."""

    marks: Marks
    """The bottom of each minimum, numbered from 1 as they come in the volume; 0 elsewhere."""
    joined: Mask
    """What is joined to a bottom by way of voxels above the floor, the bottom with it."""


def hot_spots(depth: Depths, above: Mask, *, depth_least: int) -> HotSpots:
    """Return the bottom of each minimum, and what is joined to one.

    What is not ``above`` the floor is a plain of the greatest depth value. A minimum whose pass to
    a deeper one, or to the plain, is at most ``depth_least`` above it is none. The bottom is all
    that is joined to its deepest voxel up to ``depth_least`` above that. Where no minimum is so
    far below the plain, the whole volume is one bottom.
    """
    top = int(depth.max())
    if int(depth.min()) + depth_least >= top:
        return HotSpots(marks=np.ones(depth.shape, np.uint32), joined=np.ones_like(above))
    voxels = _Voxels.of(depth, above)
    pools = voxels.pools()
    passes = voxels.passes(pools)
    least, owners, counts = _merged(pools.least, passes.lowest_first(), depth_least)
    counts &= least + depth_least < top
    owner = owners[pools.of_voxel]
    deep = counts[owner] & (voxels.depth <= least[owner] + depth_least)
    marks: Marks = np.zeros(depth.shape, np.uint32)
    numbers = np.zeros(voxels.count, np.uint32)
    numbers[deep] = _in_order(owner[deep])
    marks[above] = numbers
    joined: Mask = np.zeros_like(above)
    joined[above] = passes.joined(counts[owners])[pools.of_voxel]
    return HotSpots(marks=marks, joined=joined)


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

    def passes(self, pools: _Pools) -> "_Passes":
        """Return the lowest passes that join the pools."""
        pool = np.append(pools.of_voxel, -1)
        found = []
        for neighbours in self.after:
            one, other = pools.of_voxel, pool[neighbours]
            (here,) = np.nonzero((other >= 0) & (other != one))
            there = neighbours[here]
            height = np.maximum(self.depth[here], self.depth[there])
            found.append(np.stack([height, one[here], other[here]]))
        height, one, other = np.concatenate(found, axis=1)
        return _Passes.of(height, np.minimum(one, other), np.maximum(one, other), len(pools.least))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Passes:
    """The lowest ways from pool to pool; ways round by higher passes are left out."""

    tree: csr_array
    """For each two pools that a pass joins, how far it is above ``below``: 0 would be no pass."""
    below: int

    @classmethod
    def of(cls, height: _Integers, one: _Integers, other: _Integers, count: int) -> "_Passes":
        if not len(height):
            return cls(tree=csr_array((count, count)), below=0)
        low, span = int(height.min()), int(np.ptp(height)) + 1
        pair, lift = np.divmod(np.sort((one * count + other) * span + (height - low)), span)
        lowest = np.append(True, pair[1:] != pair[:-1])
        ways = coo_array((lift[lowest] + 1.0, np.divmod(pair[lowest], count)), (count, count))
        return cls(tree=minimum_spanning_tree(ways.tocsr()), below=low - 1)

    def lowest_first(self) -> list[_Edge]:
        """Return the passes: depth, one pool, the other."""
        tree = self.tree.tocoo()
        order = np.argsort(tree.data, kind="stable")
        rows, columns = (axis[order].tolist() for axis in tree.coords)
        return list(zip((tree.data[order] + self.below).tolist(), rows, columns, strict=True))

    def joined(self, some: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return the pools that passes join to some of them, these with them."""
        count, group = connected_components(self.tree, directed=False)
        reached = np.zeros(count, np.bool_)
        reached[group[some]] = True
        with_them: NDArray[np.bool_] = reached[group]
        return with_them


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
