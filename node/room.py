"""Room on a disk that others use as well."""

import time
from collections.abc import Callable
from threading import Lock

from node.errors import OutOfResources

ASK_S = 0.5
"""So long an answer of the disk counts; what we take meanwhile is counted down from it."""


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
