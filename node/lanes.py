"""Serves destinations side by side, so that a slow one never holds up the others."""

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait

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
        finished, _ = wait(started, timeout=ROUND_S)
        return sum(one.result() for one in finished)

    def close(self) -> None:
        """Begin nothing more; what is under way is finished first."""
        self._pool.shutdown(wait=True, cancel_futures=True)
