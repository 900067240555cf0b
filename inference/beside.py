"""Does one thing beside another, on a core that is idle.

Only for what spends its time in NumPy, SciPy or ITK, which let go of the interpreter's lock: of two
threads that run Python one would wait for the other.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

S = TypeVar("S")
T = TypeVar("T")


@contextmanager
def beside(work: Callable[[], T]) -> Iterator[Callable[[], T]]:
    """Do ``work`` while the block runs, to whom a function comes that waits for what it gave.

    That function raises what ``work`` raised. After the block ``work`` is over, come what may. The
    stages of ``work`` are in nobody's recording.
    """
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(work).result


def each(work: Callable[[S], T], of: Iterable[S]) -> list[T]:
    """Return what ``work`` gives for each of several things, two of them at a time."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(work, of))
