"""Files while they are written: under names of nobody until all their bytes are on disk."""

import math
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import NamedTuple

from node.digest import digest_of
from node.disk import begin_to_write, unlink

PART_AGE_S = 3600
"""No write takes that long: an older part is left over, whichever node wrote it."""
_NOTHING = bytes(16384)
"""So many bytes of 0 or more are left a hole, in whole blocks of the disk."""

Write = Callable[[int, memoryview], None]
"""Writes all of some bytes to the empty file of a descriptor."""


class Part(NamedTuple):
    """Where a file lies before it has its name, and the digest of its bytes."""

    path: str
    digest: str


def write_all(descriptor: int, content: memoryview) -> None:
    """Write all of it at the place in the file."""
    while content:
        content = content[os.write(descriptor, content) :]


def write_sparse(descriptor: int, content: memoryview) -> None:
    """Write what is not 0 to an empty file; the rest is a hole, which is read as 0.

    Most of a saliency map is.
    """
    os.ftruncate(descriptor, len(content))
    for start in range(0, len(content), len(_NOTHING)):
        chunk = content[start : start + len(_NOTHING)]
        if chunk.tobytes() != _NOTHING[: len(chunk)]:
            os.lseek(descriptor, start, os.SEEK_SET)
            write_all(descriptor, chunk)


@contextmanager
def written(
    folder: str, contents: Sequence[bytes | memoryview], *, write: Write = write_all
) -> Iterator[list[Part]]:
    """Write files there, all bytes on disk, and lend them; these names are gone after the block.

    They are written before the first is synced, and the disk begins with all of them at once: the
    file system then commits what it notes of them together, and meanwhile their digests are taken.
    Raises OSError where the disk fails.
    """
    paths: list[str] = []
    descriptors: list[int] = []
    try:
        for content in contents:
            paths.append(f"{folder}/{token_hex(16)}.part")
            descriptors.append(os.open(paths[-1], os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
            write(descriptors[-1], memoryview(content))
        for descriptor in descriptors:
            begin_to_write(descriptor)
        digests = [digest_of(content) for content in contents]
        for descriptor in descriptors:
            os.fsync(descriptor)
        while descriptors:
            os.close(descriptors.pop())
        yield list(map(Part, paths, digests))
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
        for path in paths:
            with suppress(OSError):
                os.unlink(path)  # noqa: PTH108  a Path costs several times as much as the call


def sweep(folder: str) -> int:
    """Take away what was cut off and left among the parts; return how many.

    Another node may be writing there: only what is older than any write goes, by the clock of the
    disk itself.
    """
    with written(folder, [b""]) as [newest]:
        oldest = Path(newest.path).stat().st_mtime - PART_AGE_S
        left = [one for one in Path(folder).glob("*.part") if _changed_at(one) < oldest]
    return sum(_take_away(one) for one in left)


def _take_away(path: Path) -> bool:
    if not path.is_dir():
        return unlink(path)
    shutil.rmtree(path, ignore_errors=True)
    return not path.exists()


def _changed_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # its writer was done in this moment
        return math.inf
