"""Serves destinations side by side, so that a slow one never holds up the others."""

import logging
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait

logger = logging.getLogger(__name__)

LANES = 16
ROUND_S = 5  # how long one round waits for its destinations


class Lanes:
    """A thread for each destination that something is done for; call it from one thread."""

    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(LANES, thread_name_prefix=name)
        self._under_way: dict[str, Future[int]] = {}

    def busy(self) -> list[str]:
        """Return the destinations that an earlier round still works for."""
        return [name for name, one in self._under_way.items() if not one.done()]

    def run(self, names: Iterable[str], task: Callable[[str], int]) -> int:
        """Run the task for each destination that is idle; return the sum of what came back.

        One that takes long goes on after the call has returned and is left alone until it is done.
        """
        idle = set(names).difference(self.busy())
        started = []
        for name in sorted(idle):
            self._under_way[name] = self._pool.submit(task, name)
            started.append(self._under_way[name])
        finished, late = wait(started, timeout=ROUND_S)
        for one in late:
            one.add_done_callback(_tell)
        return sum(one.result() for one in finished)

    def close(self) -> None:
        """Begin nothing more; what is under way is finished first."""
        self._pool.shutdown(wait=True, cancel_futures=True)


def _tell(late: Future[int]) -> None:
    """Log what went wrong in a task that nobody waited for any more."""
    error = None if late.cancelled() else late.exception()
    if error is not None:
        logger.error("a destination could not be served: %s", type(error).__name__, exc_info=error)
