"""Room for what is yet to be stored: on a disk that others use as well, and by a quota."""

import logging
import time
from collections.abc import Callable
from threading import Lock, RLock, Thread

from node.errors import OutOfResources

logger = logging.getLogger(__name__)

ASK_S = 0.5
"""So long an answer of the disk counts; what we take meanwhile is counted down from it."""
MEASURE_S = 10
MEASURE_FULL_S = 1
"""How often a full store is measured, so that it takes instances again soon after a deletion."""
REST = 10
"""And so many times as long as a measurement takes the next one waits at least."""


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


def _in_a_thread(work: Callable[[], None]) -> None:
    Thread(target=work, name="quota", daemon=True).start()


class Quota:
    """How many bytes the store may hold: measured now and then, and counted up in between.

    ``measure`` gives what all processes together have stored. It takes longer the more that is, so
    it runs ``beside`` those who take; they wait for it before the first is taken and before one is
    refused. ``clock`` gives seconds.
    """

    def __init__(
        self,
        bytes_max: int,
        measure: Callable[[], int],
        *,
        clock: Callable[[], float] = time.monotonic,
        beside: Callable[[Callable[[], None]], None] = _in_a_thread,
    ) -> None:
        self._bytes_max = bytes_max
        self._measure = measure
        self._clock = clock
        self._beside = beside
        self._lock = RLock()
        self._held = bytes_max  # full, until it is measured
        self._taken = 0  # since the measurement that runs began
        self._running: object | None = None
        self._due_at = self._stale_at = clock()

    def take(self, size: int) -> None:
        """Make room for so many bytes more; raise OutOfResources where there is none.

        What is refused is refused by a measurement of the last second; where that takes long, of
        the last ten times as long.
        """
        with self._lock:
            now = self._clock()
            if self._held + size > self._bytes_max and now >= self._stale_at:
                self._measure_now()
            elif now >= self._due_at and self._running is None:
                self._measure_beside()
            if self._held + size > self._bytes_max:
                raise OutOfResources(f"the store holds {self._held} of {self._bytes_max} bytes")
            self._held += size
            self._taken += size

    def _measure_now(self) -> None:
        self._running = None  # one that began before this counts no more
        started = self._clock()
        self._held = self._measure()
        self._rest_after(self._clock() - started)

    def _measure_beside(self) -> None:
        this = self._running = object()
        self._taken = 0

        def work() -> None:
            started = self._clock()
            try:
                held = self._measure()
            except Exception as error:  # noqa: BLE001  what was counted holds until the next time
                logger.warning("the store was not measured: %s", type(error).__name__)
                held = None
            took = self._clock() - started
            with self._lock:
                if self._running is not this:
                    return
                self._running = None
                # Some of what was taken meanwhile was measured, too: counted twice, never missed.
                self._held = self._held if held is None else held + self._taken
                self._rest_after(took)

        try:
            self._beside(work)
        except RuntimeError:  # the system gives no thread
            self._measure_now()

    def _rest_after(self, took_s: float) -> None:
        now, rest_s = self._clock(), REST * took_s
        self._due_at = now + max(MEASURE_S, rest_s)
        self._stale_at = now + max(MEASURE_FULL_S, rest_s)
