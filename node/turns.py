"""Does together what many threads ask for at once: one of them works for all that wait.

There is no pause to gather in: a group is what came while the last one was worked on, so that a
thread alone works at once, in its own time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Generic, TypeVar

GROUP_MOST = 64

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")
Work = Callable[[Sequence[Item]], Sequence[Outcome]]
"""Returns an outcome for each item, in their order; what it raises is raised to each of them."""


@dataclass(slots=True, eq=False)
class _Asked(Generic[Item, Outcome]):
    item: Item
    outcomes: list[Outcome] = field(default_factory=list)
    error: BaseException | None = None
    is_done: bool = False
    called: Lock = field(default_factory=Lock)
    """Open once the thread that waits is called: it is done, or its turn has come."""

    def __post_init__(self) -> None:
        self.called.acquire()

    def told(self) -> Outcome:
        if self.error is not None:
            raise self.error
        return self.outcomes[0]


class Turns(Generic[Item, Outcome]):
    """Takes items from many threads, and works on those that wait in one go, in their order."""

    def __init__(self, work: Work[Item, Outcome]) -> None:
        self._work = work
        self._lock = Lock()
        self._waiting: list[_Asked[Item, Outcome]] = []
        self._is_working = False

    @property
    def waiting(self) -> int:
        """How many items wait for their turn."""
        return len(self._waiting)

    def do(self, item: Item) -> Outcome:
        """Return the outcome of this item, once the work on its group is done."""
        asked: _Asked[Item, Outcome] = _Asked(item)
        with self._lock:
            self._waiting.append(asked)
            waits = self._is_working
            self._is_working = True
        if waits:
            asked.called.acquire()
        if not asked.is_done:
            self._take_turn()
        return asked.told()

    def _take_turn(self) -> None:
        with self._lock:
            group, self._waiting = self._waiting[:GROUP_MOST], self._waiting[GROUP_MOST:]
        try:
            outcomes = self._work([asked.item for asked in group])
            for asked, outcome in zip(group, outcomes, strict=True):
                asked.outcomes.append(outcome)
        except BaseException as error:  # noqa: BLE001  every thread of the group has to hear of it
            for asked in group:
                asked.error = error
        with self._lock:
            follower = self._waiting[0] if self._waiting else None
            self._is_working = follower is not None
        if follower is not None:
            follower.called.release()
        for asked in group:
            asked.is_done = True
            asked.called.release()
