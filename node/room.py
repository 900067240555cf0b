"""Room for what is yet to be stored: on a disk that others use as well, and by a quota."""

import time
from collections.abc import Callable
from threading import Lock

from node.errors import OutOfResources

ASK_S = 0.5
"""So long an answer of the disk counts; what we take meanwhile is counted down from it."""
MEASURE_S = 10
MEASURE_FULL_S = 1
"""How often a full store is measured, so that it takes instances again soon after a deletion."""


class Room:
    """What is free above a watermark; safe to call from many threads.

    ``free`` asks the disk for its free bytes; ``clock`` gives seconds.
    """

    def __init__(
        self, free: Callable[[], int], least: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._free = free
        self._least = least
        self._clock = clock
        self._lock = Lock()
        self._left = 0
        self._due_at = clock()

    def take(self, size: int, *, ahead: int) -> None:
        """Count so many bytes as taken; ``ahead`` were before, and are not written yet.

        The disk is asked again before anything is refused. Raises OutOfResources where less than
        the watermark would stay free, and OSError where the disk does not tell.
        """
        with self._lock:
            now = self._clock()
            if now >= self._due_at or self._left < size:
                self._left = self._free() - ahead - self._least
                self._due_at = now + ASK_S
            if self._left < size:
                raise OutOfResources(f"fewer than {self._least} bytes would stay free")
            self._left -= size


class Quota:
    """How many bytes the store may hold: measured now and then, and counted up in between.

    ``measure`` gives what all processes together have stored; ``clock`` gives seconds.
    """

    def __init__(
        self,
        bytes_max: int,
        measure: Callable[[], int],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bytes_max = bytes_max
        self._measure = measure
        self._clock = clock
        self._lock = Lock()
        self._held = 0
        self._due_at = clock()

    def take(self, size: int) -> None:
        """Make room for so many bytes more; raise OutOfResources where there is none."""
        with self._lock:
            now = self._clock()
            if now >= self._due_at:
                self._held = self._measure()
                self._due_at = now + MEASURE_S
            if self._held + size > self._bytes_max:
                self._due_at = min(self._due_at, now + MEASURE_FULL_S)
                raise OutOfResources(f"the store holds {self._held} of {self._bytes_max} bytes")
            self._held += size
