"""How long to wait before the same thing is tried again."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, kw_only=True, slots=True)
class Backoff:
    """How long to wait after each failure: doubling from ``first`` up to ``longest``, for ever."""

    first: timedelta
    longest: timedelta

    def after(self, failures: int) -> timedelta:
        """Return the pause after so many failures in a row."""
        doublings = min(failures - 1, 30)  # further ones are beyond any longest pause
        return min(self.first * (1 << doublings), self.longest)
