"""Makes bytes safe by one sync, before they have a file and a row: a ring on disk, written ahead.

Blocks of one file that was written in full before are written again, past the page cache where the
file system lets us: no sync of such a write has anything but the disk itself to wait for.
"""

import fcntl
import logging
import mmap
import os
import struct
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from errno import ENOENT
from pathlib import Path
from secrets import token_bytes, token_hex
from threading import Lock

from xxhash import xxh3_128

from node.disk import sync_folder
from node.ring import Ring, Slot, runs
from node.sheet import BLOCK, MARGIN, Sheet, aligned

logger = logging.getLogger(__name__)

WRITE_BYTES = 4 * 1024 * 1024
"""A longer record is not taken, and what waits together is written in pieces of at most this."""
READ_BYTES = 8 * 1024 * 1024
"""So many are read at once at most."""
WIPE_BYTES = 256 * 1024
CHECKED_BYTES = 64 * 1024
"""Of more the interpreter would be given to another thread meanwhile, and be waited for after."""
CLOSE_S = 1.0
"""How long a write that is under way may keep the journal from being closed."""
SUFFIX = ".journal"
OPENED = struct.Struct("<20s16s")  # what the file is, and what its records begin with
KIND = b"petct-node journal "
MAGIC = KIND + b"3"
HEAD = struct.Struct("<16sIQ16sI")  # mark, length of notes and content, its check sum, CRC of all
DIRECT = getattr(os, "O_DIRECT", 0)


class Rotten(Exception):
    """What the disk gives back of a record is not what was written."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """What is to be safe: content with its check sum, and notes on it."""

    notes: bytes
    content: bytes | memoryview
    check: bytes
    """What ``check_of`` says of the content."""
    sheet: Sheet | None = None
    """Where the content lies, if it can be written from there."""

    @property
    def size(self) -> int:
        """How many bytes it takes in a ring."""
        return -(-(_begin(len(self.notes)) + len(self.content)) // BLOCK) * BLOCK


def check_of(content: bytes | memoryview) -> bytes:
    """Return the XXH3 of 128 bits: it tells what was torn or rotted, at the speed of memory."""
    check = xxh3_128()
    for at in range(0, len(content), CHECKED_BYTES):
        check.update(content[at : at + CHECKED_BYTES])
    return check.digest()


def is_for_journal(size: int) -> bool:
    """Tell whether content of so many bytes is for a journal, wherever there is room."""
    return MARGIN + size <= WRITE_BYTES


class Journal:
    """A ring of so many bytes in a file of its own, which is locked as long as it is open.

    Safe to call from many threads. Raises OSError where the file cannot be made.
    """

    def __init__(self, folder: Path, capacity: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"{token_hex(16)}{SUFFIX}"
        self._mark = token_bytes(16)
        self._ring = Ring(BLOCK, BLOCK + capacity // BLOCK * BLOCK)
        self._buffer = aligned(WRITE_BYTES)
        self._read_buffer = aligned(READ_BYTES)
        self._lock = Lock()
        self._writing = Lock()
        self._broken = self._closed = False
        self._written = 0
        self._descriptor = _made(self._path, OPENED.pack(MAGIC, self._mark), self._ring.end)

    @property
    def is_broken(self) -> bool:
        """Whether a write has failed: nothing is taken any more."""
        return self._broken

    @property
    def capacity(self) -> int:
        """How many bytes it holds."""
        return self._ring.end - BLOCK

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    def append(self, records: Sequence[Record]) -> list[Slot | None]:
        """Return where each record lies once a power cut cannot take it away.

        None stands for those that found no room, which are not safe. Raises OSError where the disk
        fails; then none is, and nothing is taken from then on.
        """
        with self._writing:
            slots = [self._reserve(one) for one in records]
            placed = [(one, slot) for one, slot in zip(records, slots, strict=True) if slot]
            if placed:
                try:
                    self._write(placed)
                    os.fdatasync(self._descriptor)
                except OSError:
                    self._broken = True
                    raise
        return slots

    def release(self, slot: Slot) -> None:
        """Give up the room of a record, which has become safe elsewhere."""
        with self._lock:
            self._ring.release(slot)

    def read(self, slots: Sequence[Slot]) -> list[Record]:
        """Return the records that lie there, together ``READ_BYTES`` at most, from one thread.

        What they hold is in memory that the next call overwrites. Raises Rotten where the disk
        gives back something else, and OSError where it fails.
        """
        filled = 0
        for run in runs(slots):
            view = self._read_buffer[filled : filled + run.size]
            _read_all(self._descriptor, view, run.start)
            filled += run.size
        records, at = [], 0
        for slot in slots:
            record = _whole(self._read_buffer[at : at + slot.size], self._mark)
            if record is None:
                raise Rotten(f"{self._path} does not hold what was written at {slot.start}")
            records.append(record)
            at += slot.size
        return records

    def wipe(self) -> bool:
        """Overwrite what was written, if nothing of it is needed; whether there was any.

        Without it, images would lie here long after retention has deleted them. Raises OSError
        where the disk fails.
        """
        with self._writing:
            if not self._ring.is_empty or self._written == 0 or self._broken:
                return False
            written, self._written = self._written, 0
            self._buffer[:WIPE_BYTES] = bytes(WIPE_BYTES)
            for at in range(BLOCK, written, WIPE_BYTES):
                piece = self._buffer[: min(WIPE_BYTES, written - at)]
                _write_all(self._descriptor, [piece], at)
        return True

    def close(self) -> None:
        """Close the file; it goes where nothing of it is needed, else it is there to be read.

        Nothing is written from then on. Where a write hangs, the file stays open until the process
        ends: the number of its descriptor would soon be another file's.
        """
        if self._closed:
            return
        self._closed = True
        if not self._writing.acquire(timeout=CLOSE_S):
            logger.error("%s is still being written", self._path)
            return
        if self._ring.is_empty:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)
        os.close(self._descriptor)
        self._writing.release()

    def _reserve(self, record: Record) -> Slot | None:
        if self._broken or self._closed or record.size > len(self._buffer):
            return None
        with self._lock:
            return self._ring.reserve(record.size)

    def _write(self, placed: Sequence[tuple[Record, Slot]]) -> None:
        """Write records that follow each other at once, from where they lie if that can be."""
        run: list[memoryview] = []
        begin = end = filled = 0
        for record, slot in placed:
            if slot.start != end or filled + slot.size > len(self._buffer):
                self._flush(begin, run)
                begin, run, filled = slot.start, [], 0
            before = _before(self._mark, record)
            if record.sheet is not None and len(before) <= MARGIN:
                run.append(record.sheet.laid(before))
            else:
                run.append(self._buffer[filled : filled + slot.size])
                _lay(run[-1], before, record.content)
                filled += slot.size
            end = slot.start + slot.size
        self._flush(begin, run)

    def _flush(self, begin: int, run: list[memoryview]) -> None:
        if run:
            end = begin + sum(map(len, run))
            _write_all(self._descriptor, run, begin)
            self._written = max(self._written, end)


class Abandoned:
    """A journal whose process is gone, locked by whoever reads it."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    @property
    def is_of_another_version(self) -> bool:
        """Whether only another version of the node can read it."""
        opening = os.pread(self._descriptor, len(MAGIC), 0)
        return opening.startswith(KIND) and opening != MAGIC

    def records(self) -> Iterator[Record]:
        """Yield the records that are whole, those that became safe elsewhere among them."""
        size = os.fstat(self._descriptor).st_size
        if size < BLOCK:
            return
        view = memoryview(mmap.mmap(self._descriptor, size, access=mmap.ACCESS_READ))
        magic, mark = OPENED.unpack_from(view)
        at = BLOCK
        while magic == MAGIC and at + HEAD.size <= size:
            record = _whole(view[at:], mark)
            if record is not None:
                yield record
            at += BLOCK if record is None else record.size

    def remove(self) -> None:
        """Take the file away."""
        self.path.unlink(missing_ok=True)


@contextmanager
def adopt(path: Path) -> Iterator[Abandoned | None]:
    """Lend the journal for the length of the block; None where its process is alive."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield None
        return
    try:
        yield Abandoned(path, descriptor) if _is_locked(descriptor, path) else None
    finally:
        # What was read may be in use still, and would keep the lock beyond the descriptor.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def journals(folder: Path) -> list[Path]:
    """Return the journals that lie in the folder, those in use among them."""
    return sorted(folder.glob(f"*{SUFFIX}"))


def _made(path: Path, opening: bytes, size: int) -> int:
    """Return a descriptor of the new file, locked, written in full and named on disk."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        _lock(descriptor, path)
        zeroes = bytes(1 << 20)
        _write_all(descriptor, [memoryview(opening.ljust(BLOCK, b"\0"))], 0)
        for at in range(BLOCK, size, len(zeroes)):
            _write_all(descriptor, [memoryview(zeroes)[: size - at]], at)
        os.fsync(descriptor)
        sync_folder(path.parent)
        _past_the_cache(descriptor)
    except OSError:
        path.unlink(missing_ok=True)
        os.close(descriptor)
        raise
    return descriptor


def _past_the_cache(descriptor: int) -> None:
    """Have what is written go to the disk at once, where the file system can."""
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    with suppress(OSError):
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | DIRECT)


def _lock(descriptor: int, path: Path) -> None:
    """Lock the file; raise OSError where another process has it, or has taken it away meanwhile."""
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    if path.stat().st_ino != os.fstat(descriptor).st_ino:
        raise FileNotFoundError(ENOENT, "taken away", str(path))


def _is_locked(descriptor: int, path: Path) -> bool:
    try:
        _lock(descriptor, path)
    except (BlockingIOError, FileNotFoundError):
        return False
    return True


def _read_all(descriptor: int, view: memoryview, at: int) -> None:
    while view:
        count = os.preadv(descriptor, [view], at)
        if count == 0:
            raise OSError("the journal is shorter than it was")
        view, at = view[count:], at + count


def _write_all(descriptor: int, views: Sequence[memoryview], at: int) -> None:
    left = deque(views)
    while left:
        count = os.pwritev(descriptor, left, at)
        at += count
        while left and count >= len(left[0]):
            count -= len(left.popleft())
        if count:
            left[0] = left[0][count:]


def _begin(notes_length: int) -> int:
    """Return where the content of a record begins."""
    return max(MARGIN, HEAD.size + notes_length)


def _lay(into: memoryview, before: bytes, content: bytes | memoryview) -> None:
    begin = max(MARGIN, len(before))
    into[:begin] = before.ljust(begin, b"\0")
    into[begin : begin + len(content)] = content


def _before(mark: bytes, record: Record) -> bytes:
    """Return what a record has before its content."""
    return _head(mark, record) + record.notes


def _head(mark: bytes, record: Record) -> bytes:
    told = (mark, len(record.notes), len(record.content), record.check)
    return HEAD.pack(*told, zlib.crc32(record.notes, zlib.crc32(HEAD.pack(*told, 0))))


def _whole(view: memoryview, mark: bytes) -> Record | None:
    """Return the record that begins there, or None: what a crash tore is no record."""
    found, notes_length, length, check, _crc = HEAD.unpack_from(view)
    begin = _begin(notes_length)
    if found != mark or begin + length > len(view):
        return None
    notes = bytes(view[HEAD.size : HEAD.size + notes_length])
    record = Record(notes=notes, content=view[begin : begin + length], check=check)
    if _head(mark, record) != view[: HEAD.size] or check_of(record.content) != check:
        return None
    return record
