"""Hears that the process is to end: SIGTERM of an operator, SIGINT of a terminal."""

import signal
import time


class Stop:
    """Whether a signal has come, from when this is built; build it in the main thread.

    A flag and short sleeps: a wait without an end is not woken by a signal that another thread
    takes, and a lock that is taken by a handler may be held by what the handler interrupts.
    """

    def __init__(self) -> None:
        self._has_come = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note)

    def is_set(self) -> bool:
        """Return whether the process is to end."""
        return self._has_come

    def wait(self, pause_s: float) -> bool:
        """Sleep so long, then return whether the process is to end."""
        if not self._has_come:
            time.sleep(pause_s)
        return self._has_come

    def _note(self, *_: object) -> None:
        self._has_come = True
