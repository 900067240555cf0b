"""How long to wait before the same thing is tried again."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

DueAt = Callable[[int], datetime]
"""When to try again after so many failures in a row; at once where there was none."""


def _none() -> float:
    return 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Backoff:
    """How long to wait after each failure: doubling from ``first`` up to ``longest``, for ever.

    Chance takes up to half of a pause away, so that those who failed at the same moment, nodes or
    peers, do not all come back at the same moment.
    """

    first: timedelta
    longest: timedelta
    chance: Callable[[], float] = _none
    """Gives a number from 0 up to 1, evenly distributed; by default pauses are whole."""

    def after(self, failures: int) -> timedelta:
        """Return the pause after so many failures in a row, before chance shortens it."""
        if failures < 1:
            return timedelta()
        doublings = min(failures - 1, 30)  # further ones are beyond any longest pause
        return min(self.first * (1 << doublings), self.longest)

    def drawn(self, now: datetime) -> DueAt:
        """Ask chance once, for all that failed in one call: it is due in one call again."""
        share = 1 - self.chance() / 2
        return lambda failures: now + self.after(failures) * share
