"""Which bytes of a ring on disk are in use, the oldest first."""

from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple


class Slot(NamedTuple):
    """Where a record lies, in bytes of the ring."""

    start: int
    size: int


class Ring:
    """Which bytes between two places are in use; from one thread at a time."""

    def __init__(self, begin: int, end: int) -> None:
        self._begin = begin
        self.end = end
        self._head = begin
        self._used: deque[Slot] = deque()
        self._released: set[int] = set()

    @property
    def is_empty(self) -> bool:
        """Whether none is."""
        return not self._used

    def reserve(self, size: int) -> Slot | None:
        """Return the next free bytes in one piece, or None."""
        start = self._free_for(size)
        if start is None:
            return None
        slot = Slot(start, size)
        self._used.append(slot)
        self._head = start + size
        return slot

    def release(self, slot: Slot) -> None:
        """Give up bytes; their room is free when all that is older has been given up, too."""
        self._released.add(slot.start)
        while self._used and self._used[0].start in self._released:
            self._released.discard(self._used.popleft().start)

    def _free_for(self, size: int) -> int | None:
        if not self._used:
            return self._begin if self._begin + size <= self.end else None
        tail = self._used[0].start
        if self._head > tail:
            if self._head + size <= self.end:
                return self._head
            # Strictly less: a head at the tail would mean that all is free.
            return self._begin if self._begin + size < tail else None
        return self._head if self._head + size < tail else None


def runs(slots: Sequence[Slot]) -> Iterator[Slot]:
    """Yield what slots that follow each other take together: one read in place of several."""
    start = end = 0
    for slot in slots:
        if slot.start != end:
            if end > start:
                yield Slot(start, end - start)
            start = slot.start
        end = slot.start + slot.size
    if end > start:
        yield Slot(start, end - start)
