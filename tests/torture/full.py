"""Disks that are full at any moment: of the files, of the database, by bytes and by inodes.

They fill and empty while senders push and the node receives, analyses and delivers, so that every
write of it fails at some time: of a part file, a folder, a result, a row, the write-ahead log.
"""

import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from pydicom import dcmread

from tests.torture import disks, sender, served
from tests.torture.claims import Claim, Trial
from tests.torture.kills import campaign
from tests.torture.rig import Node
from tests.torture.sending import Sending
from tests.torture.steps import LISTENER
from tests.torture.verdict import Holding

FILES_MIB, ROWS_MIB, INODES = 400, 64, 8_000
FILES_MIB_EACH, ROWS_MIB_EACH, INODES_EACH = 24, 1, 500
"""So much more for each filling: the store keeps what comes meanwhile, about half of that on a fast
machine. Were it full at the end, nothing could be brought to its outcome."""
JOURNAL_BYTES = 16 * disks.MIB
"""Small enough to be made on a small disk, and large enough to hold what waits while it is full."""
ROOM_BYTES = 1 << 20
"""What a full disk leaves free at most: some images still fit, then no more."""
PAGE = 4096
FULL_S, EMPTY_S = (0.2, 1.5), (0.5, 2.0)
ANSWER_WITHIN_S = 30
REFUSED = "Refused: OutOfResources"

FURTHER = 40
"""Fillings beyond those that were asked for, while none has been noticed."""


@dataclass(frozen=True, kw_only=True)
class Ballast:
    """One file system and how it is filled: with one file, or with many that hold nothing."""

    name: str
    mount_point: Path
    by_inodes: bool = False

    def fill(self, leave_bytes: int) -> None:
        """Leave so much room, or no inode."""
        folder = self.mount_point / "ballast"
        folder.mkdir(exist_ok=True)
        with suppress(OSError):  # the node writes, too, and may have taken the room
            if self.by_inodes:
                for number in count():
                    (folder / str(number)).touch()
            free = os.statvfs(self.mount_point)
            with (folder / "bytes").open("wb") as file:
                size = max(1, free.f_bavail * free.f_frsize - leave_bytes)
                os.posix_fallocate(file.fileno(), 0, size)

    def empty(self) -> None:
        """Give the room back."""
        for file in (self.mount_point / "ballast").iterdir():
            file.unlink()


def run(trial: Trial) -> Iterator[Claim]:
    """Fill disks ``trial.count`` times, let the node come to rest, and compare."""
    name = f"a disk full {trial.count} times while storescu pushes studies; nothing is restarted"
    if reason := disks.unavailable(mkfs=False):
        yield Claim(trial=name, claim="full disks", found=f"not run: {reason}", holds=True)
        return
    with ExitStack() as stack:
        files, rows = stack.enter_context(_mounted(trial))
        ballasts = [
            Ballast(name="files", mount_point=files),
            Ballast(name="files by inodes", mount_point=files, by_inodes=True),
            Ballast(name="database", mount_point=rows),
            Ballast(name="database", mount_point=rows),
        ]
        node, sending = stack.enter_context(
            campaign(
                trial,
                store={
                    "root": str(files / "store"),
                    "free_bytes_min": 0,
                    "journal_bytes": JOURNAL_BYTES,
                },
                database={"url": f"sqlite:///{rows / 'node.sqlite3'}"},
            )
        )
        node.start()
        # A node does not begin on a disk that is full; it has to outlive one that fills up.
        if not served.comes_up(node.settings.listener.port, within_s=served.START_S):
            raise RuntimeError("the node did not come up")
        filled = _fill(trial, ballasts, lambda: bool(sending.refused))
        node.look()
        sending.come_to_rest()
        told = ", ".join(f"{what} {times}" for what, times in sorted(filled.items()))
        yield Claim(trial=name, claim="fillings", found=told, holds=filled.total() >= trial.count)
        refused = sending.refused
        yield Claim(
            trial=name,
            claim="what did not fit was answered with 0xA700, and nothing otherwise",
            found=", ".join(f"{times} times {what}" for what, times in sorted(refused.items())),
            holds=set(refused) == {REFUSED},
        )
        yield from sending.claims(name)
        yield _conflict(trial, node, sending, ballasts[0])


def _conflict(trial: Trial, node: Node, sending: Sending, ballast: Ballast) -> Claim:
    """Send other bytes under a known UID while there is no room to keep them aside, and again."""
    uid, file = next(iter(sending.acknowledged.items()))
    other = trial.folder / "other.dcm"
    changed = dcmread(file)
    changed.PatientComments = "other bytes"
    changed.save_as(other)
    port = node.settings.listener.port
    holding = Holding(node.settings)
    node.start(LISTENER)
    known = _answer(file, port)
    ballast.fill(0)
    refused = _answer(other, port)
    ballast.empty()
    aside = _answer(other, port)
    node.stop()
    kept = len(holding.quarantined())
    return Claim(
        trial="other bytes under a known UID, with the disk full and not",
        claim="the same bytes are taken; others refused, and kept aside once there is room",
        found=f"{known}; {refused}; {aside}; {kept} kept aside",
        holds=known == "Success"
        and refused == REFUSED
        and aside not in {"Success", REFUSED}
        and kept == 1
        and not holding.lost({uid: file}),
    )


def _answer(file: Path, port: int) -> str:
    """Send one file as soon as the node listens; return the answer."""
    end = time.monotonic() + ANSWER_WITHIN_S
    while time.monotonic() < end:
        pushed = sender.push([file], port)
        if pushed.acknowledged or pushed.other_answers:
            return "Success" if pushed.acknowledged else pushed.other_answers[0]
        time.sleep(0.1)
    return "none"


def _fill(trial: Trial, ballasts: Sequence[Ballast], bites: Callable[[], bool]) -> Counter[str]:
    """Fill one disk after another for a moment each, by turns, and empty it again.

    Goes on for a while where a slow machine has written nothing at those moments.
    """
    chance = random.Random(trial.seed)
    filled: Counter[str] = Counter()
    for number in range(trial.count + FURTHER):
        if trial.stop.is_set() or (number >= trial.count and bites()):
            break
        ballast = ballasts[number % len(ballasts)]
        time.sleep(chance.uniform(*EMPTY_S))
        # As often as not nothing at all is left, else some pages.
        ballast.fill(chance.choice((0, PAGE * chance.randrange(ROOM_BYTES // PAGE))))
        time.sleep(chance.uniform(*FULL_S))
        ballast.empty()
        filled[ballast.name] += 1
    return filled


@contextmanager
def _mounted(trial: Trial) -> Iterator[tuple[Path, Path]]:
    with ExitStack() as stack:
        places = trial.folder / "files", trial.folder / "rows"
        sizes = FILES_MIB + FILES_MIB_EACH * trial.count, ROWS_MIB + ROWS_MIB_EACH * trial.count
        inodes = INODES + INODES_EACH * trial.count
        for place, mib in zip(places, sizes, strict=True):
            disks.mount_tmpfs(place, size_bytes=mib * disks.MIB, inodes=inodes)
            stack.callback(disks.unmount, place)
        yield places
