"""Instances that are safe in the journal, and the thread that gives them their files and rows."""

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate, islice
from threading import Condition, Thread
from time import monotonic

from node.errors import OutOfResources
from node.jotting import Jotting, jotting_of, record_of
from node.journal import READ_BYTES, Journal, Record, Rotten
from node.ring import Slot
from node.turns import GROUP_MOST, Turns

logger = logging.getLogger(__name__)

PAUSE_S = 0.15
"""Between two groups: what comes meanwhile shares the syncs of folders and database."""
LONGEST_S = 1.0
"""While several associations bring instances, the processors are theirs: files are made in a lull,
or of what has waited for so long, or when three quarters of the journal are filled."""
RETRY_S = 1.0
READS_MOST = 3
"""A record that so often does not come back as it was written is given up."""
FLUSH_S = 10.0
IDLE_S = 60.0
"""After so long without an instance nothing of the last ones is left in the journal."""

Claim = Callable[[str], bool]
"""Keeps a UID for whoever calls it; False where somebody else has it."""
File = Callable[[Sequence[Jotting]], Sequence[bool]]
"""Gives instances their files and rows; says of each whether it has them. May raise anything."""


@dataclass(slots=True, eq=False)
class _Waiting:
    sop_instance_uid: str
    size: int
    slot: Slot
    since: float
    reads_failed: int = 0
    is_filed: bool = False


class Backlog:
    """What waits to be filed, in order, each SOP Instance UID once; ``file`` runs in one thread.

    While it cannot file, it takes nothing: who brings an instance then hears why.
    """

    def __init__(self, journal: Journal, file: File, *, idle_s: float = IDLE_S) -> None:
        self._journal = journal
        self._file = file
        self._idle_s = idle_s
        self._changed = Condition()
        self._queue: deque[_Waiting] = deque()
        self._claimed: set[str] = set()
        self._queued: set[str] = set()
        self._bytes = self._taken = 0
        self._due = self._flushing = 0
        self._bringing: set[str] = set()
        self._brought: set[str] = set()
        self._failing = False
        self._closing = False
        self._turns = Turns[tuple[Jotting, Record], bool](self._write)
        self._thread = Thread(target=self._run, name="filing", daemon=True)
        self._thread.start()

    @property
    def bytes_waiting(self) -> int:
        """How many bytes have no file yet."""
        return self._bytes

    @property
    def waiting(self) -> int:
        """How many instances have no row yet."""
        return len(self._queue)

    @property
    def takes(self) -> bool:
        """Whether anything is taken."""
        return not (self._failing or self._closing or self._journal.is_broken)

    @contextmanager
    def alone(self, sop_instance_uid: str) -> Iterator[None]:
        """Wait until nobody else brings that UID and none waits under it; keep it for the block.

        Raises OutOfResources where that takes too long: what came first may have other bytes.
        """
        with self._changed:
            is_free = not self._is_busy(sop_instance_uid) or self._await(
                lambda: not self._is_busy(sop_instance_uid), FLUSH_S
            )
            if not is_free:
                raise OutOfResources(f"what came first as {sop_instance_uid} waits for its row")
            self._claimed.add(sop_instance_uid)
        try:
            yield
        finally:
            self._free([sop_instance_uid])

    @contextmanager
    def claims(self) -> Iterator[Claim]:
        """Lend what keeps UIDs as ``alone`` does, but never waits for one; for the block."""
        mine: list[str] = []

        def claim(sop_instance_uid: str) -> bool:
            with self._changed:
                if self._is_busy(sop_instance_uid):
                    return False
                self._claimed.add(sop_instance_uid)
            mine.append(sop_instance_uid)
            return True

        try:
            yield claim
        finally:
            self._free(mine)

    def write_together(self, jottings: Sequence[Jotting]) -> list[bool]:
        """Do for each what ``write`` does."""
        return self._write([(one, record_of(one)) for one in jottings]) if jottings else []

    def write(self, jotting: Jotting) -> bool:
        """Return True when the instance is safe, and filed soon; False where it is not taken."""
        return self._turns.do((jotting, record_of(jotting)))

    def flush(self, timeout_s: float = FLUSH_S) -> bool:
        """File what waits now, at once; False where that takes too long."""
        with self._changed:
            return self._await(self._filed(), timeout_s)

    def ended(self, association: str, timeout_s: float = FLUSH_S) -> bool:
        """Wait until what an association has brought is filed; False where that takes too long.

        Where others go on, that has the time it has for them.
        """
        with self._changed:
            self._bringing.discard(association)
            self._brought.discard(association)
            if len(self._bringing | self._brought) > 1:
                return self._changed.wait_for(self._filed(), timeout_s)
            return self._await(self._filed(), timeout_s)

    def close(self) -> None:
        """File what waits, as far as that is possible, and close the journal."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(FLUSH_S)
        if not self._thread.is_alive():
            self._journal.close()
        if self._queue:
            logger.error("%d instances wait in %s", len(self._queue), self._journal.path)

    def _filed(self) -> Callable[[], bool]:
        """Return what says whether all that waits now is filed."""
        waiting = list(self._queue)
        return lambda: all(one.is_filed for one in waiting)

    def _is_busy(self, sop_instance_uid: str) -> bool:
        return sop_instance_uid in self._claimed or sop_instance_uid in self._queued

    def _free(self, sop_instance_uids: Sequence[str]) -> None:
        """Let others claim them."""
        with self._changed:
            self._claimed.difference_update(sop_instance_uids)
            if self._flushing:
                self._changed.notify_all()

    def _await(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Have all filed that waits, until the condition holds; False where it does not in time."""
        self._flushing += 1
        self._changed.notify_all()
        holds = self._changed.wait_for(condition, timeout_s)
        self._flushing -= 1
        return holds

    def _write(self, group: Sequence[tuple[Jotting, Record]]) -> list[bool]:
        try:
            slots = self._journal.append([record for _, record in group])
        except OSError as error:
            logger.error("the journal cannot be written: %s", error.strerror)  # noqa: TRY400  the line says all
            return [False] * len(group)
        with self._changed:
            is_idle = not self._queue
            for (jotting, _), slot in zip(group, slots, strict=True):
                if slot is not None:
                    uid = jotting.instance.sop_instance_uid
                    self._queue.append(_Waiting(uid, jotting.size, slot, monotonic()))
                    self._queued.add(uid)
                    self._bytes += jotting.size
                    self._taken += slot.size
                    self._bringing.add(jotting.instance.association)
            if is_idle or self._is_crowded:
                self._changed.notify_all()
        return [slot is not None for slot in slots]

    def _run(self) -> None:
        while True:
            group = self._next()
            if group is None:
                return
            if group:
                self._settle(group)

    def _next(self) -> list[_Waiting] | None:
        """Return what is to be filed now; None at the end.

        After a pause all that has gathered is filed, group by group.
        """
        with self._changed:
            if self._due <= 0:
                if not self._changed.wait_for(lambda: self._queue or self._closing, self._idle_s):
                    self._wipe()
                    self._changed.wait_for(lambda: self._queue or self._closing)
                self._gather()
                self._due = len(self._queue)
            if self._closing and (self._failing or not self._queue):
                return None
            group = self._group()
            self._due -= len(group)
            return group

    def _gather(self) -> None:
        """Let more come, as long as that serves."""
        if self._failing:
            self._changed.wait_for(lambda: self._closing, RETRY_S)
            return
        several = True
        while several and not self._is_wanted():
            self._brought, self._bringing = self._bringing, set()
            self._changed.wait_for(self._is_wanted, PAUSE_S)
            several = len(self._bringing) > 1

    def _is_wanted(self) -> bool:
        """Whether what waits is to be filed now."""
        if self._flushing or self._closing or self._is_crowded:
            return True
        return bool(self._queue) and monotonic() - self._queue[0].since > LONGEST_S

    def _wipe(self) -> None:
        try:
            self._journal.wipe()
        except OSError as error:
            logger.warning("the last images stay in the journal: %s", error.strerror)

    @property
    def _is_crowded(self) -> bool:
        return 4 * self._taken > 3 * self._journal.capacity

    def _group(self) -> list[_Waiting]:
        """Return the oldest, as many as are read at once."""
        sizes = accumulate(one.slot.size for one in islice(self._queue, GROUP_MOST))
        return list(islice(self._queue, sum(1 for size in sizes if size <= READ_BYTES)))

    def _settle(self, group: Sequence[_Waiting]) -> None:
        """File a group; what cannot be filed stays where it is."""
        done: list[_Waiting] = []
        try:
            there, jottings = self._readable(group)
            filed = self._file(jottings) if there else ()
            done = [one for one, is_filed in zip(there, filed, strict=True) if is_filed]
        except Exception:  # whatever it is: what waits stays safe, and is tried again
            if not self._failing:
                logger.exception("%d instances wait in the journal to be filed", len(group))
        done += self._given_up(group)
        with self._changed:
            self._failing = len(done) < len(group)
            if self._failing:
                self._due = 0
            for one in done:
                self._remove(one)
            self._changed.notify_all()

    def _readable(self, group: Sequence[_Waiting]) -> tuple[Sequence[_Waiting], list[Jotting]]:
        """Return those of a group that are as they were written, and what they hold."""
        try:
            return group, self._read(group)
        except Rotten:
            there = [one for one in group if self._is_whole(one)]
            return there, self._read(there)

    def _is_whole(self, one: _Waiting) -> bool:
        try:
            self._read([one])
        except Rotten:
            one.reads_failed += 1
            return False
        return True

    def _given_up(self, group: Sequence[_Waiting]) -> list[_Waiting]:
        """Return what will not be read any more; waiting for it would keep everybody out."""
        lost = [one for one in group if one.reads_failed >= READS_MOST]
        for one in lost:
            logger.error(
                "instance %s was answered with Success, and the disk does not give back what was "
                "written to %s: have its study sent again",
                one.sop_instance_uid,
                self._journal.path,
            )
        return lost

    def _remove(self, one: _Waiting) -> None:
        self._queue.remove(one)
        self._queued.discard(one.sop_instance_uid)
        self._bytes -= one.size
        self._taken -= one.slot.size
        one.is_filed = True
        self._journal.release(one.slot)

    def _read(self, group: Sequence[_Waiting]) -> list[Jotting]:
        records = self._journal.read([one.slot for one in group])
        return [jotting_of(record) for record in records]
