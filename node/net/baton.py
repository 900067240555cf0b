"""One association at a time works on what has come.

The interpreter runs one thread at a time anyway. Where many give it back and ask for it again at
every system call, most of their time passes with waking each other.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock


class Baton:
    """Carried by the thread that works, and laid down while it waits for anything."""

    def __init__(self) -> None:
        self._lock = Lock()

    @contextmanager
    def carried(self) -> Iterator[None]:
        """Carry it for the length of the block."""
        with self._lock:
            yield

    @contextmanager
    def laid_down(self) -> Iterator[None]:
        """Let others carry it meanwhile; for a thread that carries it."""
        self._lock.release()
        try:
            yield
        finally:
            self._lock.acquire()
