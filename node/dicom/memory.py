"""Memory for volumes that outlives them: fresh pages cost more than reading what fills them."""

import weakref
from collections import deque
from contextlib import suppress
from math import prod
from mmap import MADV_FREE, MADV_HUGEPAGE, MAP_ANONYMOUS, MAP_PRIVATE, mmap
from threading import Lock
from typing import Final

import numpy as np

from inference.volume import Voxels

_WORTH_BYTES: Final = 2**22
"""What is smaller is left to NumPy."""
_KEPT_MOST: Final = 2
"""A PET and a CT."""


class Memory:
    """Hands out volumes, in pages that an earlier volume has left where there are any.

    What is kept is offered to the kernel, which takes it when memory is short. Never more is held
    than the volumes of one study need: what does not fit is given back before anything is added.
    """

    def __init__(self) -> None:
        """Keep nothing yet."""
        self._kept: deque[mmap] = deque(maxlen=_KEPT_MOST)
        self._taking = Lock()

    def empty(self, shape: tuple[int, int, int]) -> Voxels:
        """Return a volume of any content; its memory comes back when its last view is gone."""
        needed = prod(shape) * np.dtype(np.float32).itemsize
        if needed < _WORTH_BYTES:
            return np.empty(shape, np.float32)
        # Powers of two, that volumes of like size may follow each other. Address space is free.
        pages = self._taken(1 << (needed - 1).bit_length())
        flat: Voxels = np.frombuffer(pages, np.float32, prod(shape))
        # Every view of the volume has this array for its base.
        weakref.finalize(flat, self._give_back, pages).atexit = False
        return flat.reshape(shape)

    def _taken(self, size: int) -> mmap:
        # Of two at once neither may take the other's for too small, and drop it. Whoever gives back
        # takes no lock: a volume may die, and be given back, between any two lines.
        with self._taking:
            for _ in range(len(self._kept)):
                try:
                    pages = self._kept.popleft()
                except IndexError:
                    break
                if len(pages) == size:
                    return pages
                self._kept.append(pages)
            self._kept.clear()
        try:
            pages = mmap(-1, size, flags=MAP_PRIVATE | MAP_ANONYMOUS)
        except OSError as error:
            raise MemoryError(f"no {size} bytes for a volume") from error
        with suppress(OSError):  # a kernel without huge pages
            pages.madvise(MADV_HUGEPAGE)
        return pages

    def _give_back(self, pages: mmap) -> None:
        with suppress(OSError):  # a kernel that cannot take pages later keeps them with us
            pages.madvise(MADV_FREE)
        self._kept.append(pages)


VOLUMES: Final = Memory()
"""This process's; its workers analyse one study at a time."""
