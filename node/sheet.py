"""Memory for one received instance after the other, from which it can be written as it lies.

Transfers past the page cache want memory that begins on a page. An instance that comes in pieces is
put together here, behind a margin for what a journal writes before it, and is not moved again.
"""

import mmap
from contextlib import suppress

BLOCK = 4096
"""A record of a journal begins on a block, in memory and on disk: what is torn belongs to one."""
MARGIN = 1024
"""So many bytes before an instance are the journal's."""
_FIRST_BYTES = 1 << 21
_KEPT_BYTES = 1 << 22
"""What is larger is given back after the instance that needed it."""


class Sheet:
    """Room for one instance at a time; used by one thread."""

    def __init__(self) -> None:
        self._pages = aligned(_FIRST_BYTES)
        self._end = MARGIN

    @property
    def content(self) -> memoryview:
        """What was added; overwritten by what is added after ``clear``."""
        return self._pages[MARGIN : self._end]

    def clear(self) -> None:
        """Be empty for the next instance, and give back what only a large one needed."""
        if len(self._pages) > _KEPT_BYTES:
            self._pages = aligned(_FIRST_BYTES)
        self._end = MARGIN

    def add(self, piece: bytes | memoryview) -> None:
        """Put some bytes behind those that are here."""
        self.room(len(piece))[:] = piece
        self._end += len(piece)

    def room(self, size: int) -> memoryview:
        """Return the memory behind what is here, for as many bytes as come; then say ``took``."""
        end = self._end + size
        if end > len(self._pages):
            self._grow(end)
        return self._pages[self._end : end]

    def took(self, size: int) -> None:
        """Count bytes that came into the room."""
        self._end += size

    def laid(self, before: bytes) -> memoryview:
        """Return all of it in whole blocks: what comes before, at most ``MARGIN`` bytes, and 0."""
        end = -(-self._end // BLOCK) * BLOCK
        self._pages[:MARGIN] = before.ljust(MARGIN, b"\0")
        self._pages[self._end : end] = bytes(end - self._end)
        return self._pages[:end]

    def _grow(self, needed: int) -> None:
        # In powers of two, each of which is whole blocks.
        pages = aligned(1 << (needed - 1).bit_length())
        pages[: self._end] = self._pages[: self._end]
        self._pages = pages


def aligned(size: int) -> memoryview:
    """Return memory that begins on a page, in large pages where the system has them.

    It is not for processes that this one starts: they would leave this one with a copy that the
    disk does not write to (open(2), O_DIRECT).
    """
    pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):  # a system without large pages
        pages.madvise(mmap.MADV_HUGEPAGE)
    pages.madvise(mmap.MADV_DONTFORK)
    return memoryview(pages)
