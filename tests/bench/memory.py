"""Fills the memory that nobody uses with pages of a file, as that of any server is after a day.

On a virtual machine the first touch of a page that was free may be paid to the host: several times
what it costs to copy the page, by whoever happens to touch it. What is taken from an older file
costs all alike.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile

LEFT_BYTES = 512 << 20
MOST_BYTES = 64 << 30
PIECE_BYTES = 1 << 20


@contextmanager
def of_a_server(folder: Path) -> Iterator[None]:
    """Have most of the free memory hold a file of nothing, for the length of the block."""
    size = max(min(_free_bytes() - LEFT_BYTES, MOST_BYTES), 0)
    with TemporaryFile(dir=folder, buffering=0) as file:
        file.truncate(size)  # a hole, which takes memory when it is read, and no disk
        while file.read(PIECE_BYTES):
            pass
        yield


def _free_bytes() -> int:
    """Return how much memory nobody uses, not even for files (proc(5), MemFree)."""
    lines = (line.partition(":") for line in Path("/proc/meminfo").read_text().splitlines())
    told = {name: value.split() for name, _, value in lines}
    return int(told["MemFree"][0]) * 1024
