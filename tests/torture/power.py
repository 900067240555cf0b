"""Power lost at named steps and at random moments: real file systems that drop what is unsynced.

Store and database lie on an ext4 each, so that the sync of one does not save the other. At the cut
the kernel stops both without writing its journal, the processes die, and the node starts on what
the journal's replay makes of the disks.
"""

import os
import random
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from typing_extensions import override

from node import journal, parts
from tests.torture import disks, steps
from tests.torture.claims import Claim, Trial
from tests.torture.disks import Ext4
from tests.torture.kills import Death, Killing, campaign, plan
from tests.torture.rig import Node
from tests.torture.sending import Sending
from tests.torture.steps import LISTENER, STEPS, WORKER, Arm
from tests.torture.verdict import Holding

MIB = 4000
"""The images are sparse: so much is written only where so much is sent."""
JOURNALS = ("data=ordered", "data=writeback")
"""With data=writeback a name may survive whose bytes do not."""
FILES, FOLDERS, JOURNAL = "files", "folders", "the journal"
CONTROL_CUTS = 4
"""Before an instance is looked at: the one before it was answered, and nothing came after."""


class Blackout(Killing):
    """Cuts the power where a kill would strike; what runs dies, and the disks are mounted anew."""

    def __init__(self, node: Node, trial: Trial, drives: Sequence[Ext4]) -> None:
        super().__init__(node, trial.stop)
        self._drives = drives
        self._chance = random.Random(trial.seed)

    @override
    def end(self, roles: tuple[str, ...]) -> None:
        disks.cut([one.mount_point for one in self._drives])
        self.node.kill(is_dark=True)
        journal = self._chance.choice(JOURNALS)
        for one in self._drives:
            one.unmount()
            one.mount(journal)


def run(trial: Trial) -> Iterator[Claim]:
    """Cut the power ``trial.count`` times, let the node come to rest, and compare."""
    name = f"{trial.count} power cuts while storescu pushes studies; ext4"
    if reason := disks.unavailable():
        yield Claim(trial=name, claim="power cuts", found=f"not run: {reason}", holds=True)
        return
    with _mounted(trial) as drives, _campaign(trial, drives, _mortal) as (node, sending):
        blackout = Blackout(node, trial, drives)
        blackout.run(plan(trial.count, random.Random(trial.seed), is_whole=True))
        sending.come_to_rest()
        yield blackout.claim(name, trial.count)
        yield from sending.claims(name)
    for kind in (FILES, FOLDERS, JOURNAL):
        yield _control(replace(trial, folder=trial.folder / kind), kind)


def _control(trial: Trial, kind: str) -> Claim:
    """Show that the cut bites: a node that leaves out one kind of sync loses instances."""
    prepare = partial(_without_sync, kind)
    with _mounted(trial) as drives, _campaign(trial, drives, prepare) as (node, sending):
        blackout = Blackout(node, trial, drives)
        chance = random.Random(trial.seed)
        for _ in range(CONTROL_CUTS):
            nth = chance.randint(2, STEPS[0].calls)
            blackout.run([Death(step=STEPS[0], after_s=0, nth=nth, roles=(LISTENER, WORKER))])
        sending.abandon()
        lost = Holding(node.settings).lost(sending.acknowledged)
        return Claim(
            trial=f"the same, with the syncs of {kind} taken out of the node",
            claim="the cut bites: acknowledged instances missing or different",
            found=f"{len(lost)} of {len(sending.acknowledged)}",
            holds=bool(lost),
        )


@contextmanager
def _mounted(trial: Trial) -> Iterator[list[Ext4]]:
    with ExitStack() as stack:
        drives = [Ext4(trial.folder, name, mib=MIB) for name in ("files", "rows")]
        for drive in drives:
            drive.mount()
            stack.callback(drive.unmount)
        yield drives


def _campaign(
    trial: Trial, drives: Sequence[Ext4], prepare: Callable[[Sequence[Path], Arm], None]
) -> AbstractContextManager[tuple[Node, Sending]]:
    files, rows = places = [drive.mount_point for drive in drives]
    return campaign(
        trial,
        prepare=partial(prepare, places),
        store={"root": str(files / "store"), "free_bytes_min": 0},
        database={"url": f"sqlite:///{rows / 'node.sqlite3'}"},
    )


def _mortal(places: Sequence[Path], arm: Arm) -> None:
    """Lose the power at the step that is named."""

    def end() -> None:
        disks.cut(places)
        steps.die()

    steps.install(arm, end=end)


def _without_sync(kind: str, places: Sequence[Path], arm: Arm) -> None:
    """Forget to sync files, or folders, or the journal, as well."""
    if kind == JOURNAL:
        # Past the page cache, what was written lies on the loop device at once.
        journal.DIRECT = 0
        os.fdatasync = lambda _descriptor: None
        _mortal(places, arm)
        return
    fsync = os.fsync

    def negligent(descriptor: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        if is_folder is not (kind == FOLDERS):
            fsync(descriptor)

    if kind == FILES:
        parts.begin_to_write = lambda _descriptor: None  # with it, most are there without a sync
    os.fsync = negligent
    _mortal(places, arm)
