"""SOP Instance UIDs that were looked up before their bytes came.

A lookup takes microseconds, and lets other threads run in between. Done while a sender is busy with
the bytes it keeps nobody waiting; done behind them it keeps the sender.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from time import monotonic

SURE_S = 1.0
"""Another node may have taken an instance since."""
MOST = 1000
"""Instances that were announced and never came are forgotten with the others."""


class Unheard:
    """UIDs that were unknown a moment ago; safe to use from many threads.

    ``is_unknown`` looks one up, and may raise anything.
    """

    def __init__(self, is_unknown: Callable[[str], bool]) -> None:
        self._is_unknown = is_unknown
        self._lock = Lock()
        self._begun = self._ended = 0
        self._noted: dict[str, tuple[int, float]] = {}

    def look_up(self, sop_instance_uid: str) -> None:
        """Look up a UID whose bytes are on their way."""
        begun, now = self._begun, monotonic()
        if begun == self._ended and self._is_unknown(sop_instance_uid):
            if len(self._noted) >= MOST:
                self._noted.clear()
            self._noted[sop_instance_uid] = begun, now

    def holds(self, sop_instance_uid: str) -> bool:
        """Whether it was unknown a moment ago and no row was made since; said once."""
        begun, then = self._noted.pop(sop_instance_uid, (-1, 0.0))
        return begun == self._begun and monotonic() - then < SURE_S

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Make rows: nothing that is looked up before the end of the block counts after it."""
        with self._lock:
            self._begun += 1
        try:
            yield
        finally:
            with self._lock:
                self._ended += 1
