"""Keeps bytes on disk: whole or absent, on the platters when we say so, under no peer's names.

The root has to lie on a file system with hard links (ext4, XFS, ZFS, NFS): a link is made or it is
not, and never replaces a file.
"""

import hashlib
import logging
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from secrets import token_hex
from threading import Lock

from node.disk import sync_folder, unlink
from node.errors import Conflicting, NotUnderstood, OutOfResources
from node.instance import ReceivedInstance, ResultObject
from node.parts import Part, Write, sweep, write_all, write_sparse, written
from node.room import Quota, Room

logger = logging.getLogger(__name__)

# PS3.5 9.1, tolerant of the leading zeroes that some devices write in a component.
UID = re.compile(r"[0-9]+(\.[0-9]+)*", re.ASCII)
UID_LENGTH = 64
KNOWN_FOLDERS = 10_000
PARTS = "parts"
"""Where files lie while they are written; what a crash leaves here is nobody's after a while."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """Where bytes lie, relative to the root, and what they are."""

    path: str
    digest: str
    size: int


class Store:
    """A folder of instances, results and quarantined bytes.

    ``free_bytes_min`` stay free: at that mark nothing more is taken, so that the database and the
    results still find room. Nothing is taken beyond the quota, either.
    """

    def __init__(self, root: Path, free_bytes_min: int, *, quota: Quota | None = None) -> None:
        self._root = root.resolve()
        self._base = str(self._root)
        self._room = Room(self._free, free_bytes_min)
        self._quota = quota
        self._folders = _Folders(self._root)

    @property
    def root(self) -> Path:
        """The folder below which everything lies."""
        return self._root

    def put(self, instance: ReceivedInstance) -> Stored:
        """Write a received instance, whose name is safe after ``settle``.

        The same bytes again change nothing. Raises OutOfResources where there is no room or the
        disk fails, Conflicting where other bytes lie under its UIDs, and NotUnderstood where a UID
        is none.
        """
        self.place(instance)
        self.make_room(len(instance.part10))
        [stored] = self.put_promised([instance])
        if isinstance(stored, Conflicting):
            raise stored
        return stored

    def put_promised(self, promised: Sequence[ReceivedInstance]) -> list[Stored | Conflicting]:
        """Write received instances as ``put`` does, for which room was made before.

        Raises OutOfResources where one cannot be written.
        """
        kept = self._keep([(self.place(one), one.part10) for one in promised])
        return [
            one if is_kept else Conflicting(f"other bytes lie at {one.path}")
            for one, is_kept in kept
        ]

    def place(self, instance: ReceivedInstance) -> str:
        """Return where the instance belongs; raise NotUnderstood where a UID is none."""
        series = _series(instance.study_instance_uid, instance.series_instance_uid)
        return f"instances/{series}/{_digest(instance.sop_instance_uid)}.dcm"

    def make_room(self, size: int, *, ahead: int = 0) -> None:
        """Count so many bytes as taken; raise OutOfResources where there is no room for them.

        ``ahead`` were counted before, and are not written yet.
        """
        try:
            self._folders.make(self._base)
            self._room.take(size, ahead=ahead)
        except OSError as error:
            raise OutOfResources(f"{self._base} cannot be used: {error.strerror}") from error
        if self._quota is not None:
            self._quota.take(size)

    def settle(self, stored: Iterable[str]) -> None:
        """Return when a power cut cannot take these names away; each folder is synced once.

        Raises OutOfResources where the disk fails.
        """
        for folder in {name.rpartition("/")[0] for name in stored}:
            try:
                sync_folder(f"{self._base}/{folder}")
            except OSError as error:
                raise OutOfResources(f"cannot sync {folder}: {error.strerror}") from error

    def holds(self, stored: str) -> bool:
        """Whether a file of that name lies here."""
        return os.path.lexists(f"{self._base}/{stored}")

    def put_result(self, made: ResultObject) -> Stored:
        """Keep an object that we made, also beyond the watermark: it is small and was hard work.

        What lies there from a run that did not come to its end is replaced.
        """
        series = _series(made.study_instance_uid, made.series_instance_uid)
        name = f"results/{series}/{_digest(made.sop_instance_uid)}.dcm"
        target = self._root / name
        try:
            self._folders.make(str(target.parent))
            with self._parts([made.part10], write=write_sparse) as [part]:
                Path(part.path).replace(target)
            sync_folder(target.parent)
        except OSError as error:
            raise OutOfResources(f"cannot store {name}: {error.strerror}") from error
        return Stored(path=name, digest=part.digest, size=len(made.part10))

    def quarantine(self, part10: bytes | memoryview) -> Stored:
        """Keep bytes aside that conflict with what is stored, named by their own digest.

        That is SHA-256, whatever others have: bytes that an older version kept are found again.
        """
        digest = hashlib.sha256(part10).hexdigest()
        self.make_room(len(part10))
        [(stored, is_kept)] = self._keep([(f"quarantine/{digest[:2]}/{digest}.dcm", part10)])
        if not is_kept:
            raise Conflicting(f"other bytes lie at {stored.path}")
        self.settle([stored.path])
        return replace(stored, digest=f"sha256:{digest}")

    def path(self, stored: str) -> Path:
        """Return where a stored file lies; ValueError if the name leads out of the root."""
        path = (self._root / stored).resolve()
        if not path.is_relative_to(self._root):
            raise ValueError(f"{stored} leads out of the store")
        return path

    def read(self, stored: str) -> bytes:
        """Return the bytes of a stored file."""
        return self.path(stored).read_bytes()

    def probe(self) -> None:
        """Write and sync a file and take it away again; raise OutOfResources where that fails."""
        try:
            with self._parts([b"petct-node"]):
                sync_folder(self._root / PARTS)
        except OSError as error:
            raise OutOfResources(f"{self._root} cannot be written: {error.strerror}") from error

    def clock_s(self) -> float:
        """Return the present time by the clock of the disk, in seconds since the epoch."""
        try:
            with self._parts([b""]) as [part]:
                return Path(part.path).stat().st_mtime
        except OSError as error:
            raise OutOfResources(f"{self._root} cannot be written: {error.strerror}") from error

    def remove(self, stored: Sequence[str]) -> list[str]:
        """Take files away, as far as the disk lets us; return those that are gone for good."""
        gone = [name for name in stored if unlink(self.path(name))]
        for folder in {self.path(name).parent for name in gone}:
            with suppress(FileNotFoundError):
                sync_folder(folder)
        return gone

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Lend a folder that is gone after the block; what a crash leaves of it is swept.

        There may be no other place that can be written. Raises OutOfResources where it cannot be
        made.
        """
        folder = self._root / PARTS / f"{token_hex(16)}.part"
        try:
            self._folders.make(str(folder.parent))
            folder.mkdir()
        except OSError as error:
            raise OutOfResources(f"cannot make {folder.name}: {error.strerror}") from error
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def sweep(self) -> int:
        """Take away what was cut off and left among the parts; return how many.

        Another node may be writing there: only what is older than any write goes, by the clock of
        the disk itself.
        """
        return sweep(self._made_parts())

    def free_bytes(self) -> int:
        """Return how many bytes the disk has left, those below the watermark included."""
        self._root.mkdir(parents=True, exist_ok=True)
        return self._free()

    def _free(self) -> int:
        disk = os.statvfs(self._root)
        return disk.f_bavail * disk.f_frsize

    def _keep(
        self, contents: Sequence[tuple[str, bytes | memoryview]]
    ) -> list[tuple[Stored, bool]]:
        """Write files whose bytes survive a power cut; say of each whether its name has them."""
        try:
            for folder in {path.rpartition("/")[0] for path, _ in contents}:
                self._folders.make(f"{self._base}/{folder}")
            with self._parts([content for _, content in contents]) as parts:
                return [
                    (
                        Stored(path=path, digest=part.digest, size=len(content)),
                        self._name(part.path, path) or self.read(path) == content,
                    )
                    for part, (path, content) in zip(parts, contents, strict=True)
                ]
        except OSError as error:
            which = contents[0][0] if len(contents) == 1 else f"{len(contents)} files"
            raise OutOfResources(f"cannot store {which}: {error.strerror}") from error

    def _name(self, part: str, path: str) -> bool:
        """Give a part its name; False if there is a file of that name."""
        try:
            # Unlike a rename, a link fails where another association stored the same UID.
            os.link(part, f"{self._base}/{path}")
        except FileExistsError:
            return False
        return True

    def _parts(
        self, contents: Sequence[bytes | memoryview], *, write: Write = write_all
    ) -> AbstractContextManager[list[Part]]:
        return written(self._made_parts(), contents, write=write)

    def _made_parts(self) -> str:
        folder = f"{self._base}/{PARTS}"
        self._folders.make(folder)
        return folder


class _Folders:
    """Makes folders whose names are on disk in the folders above, down from the root."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._safe: set[str] = set()
        self._lock = Lock()

    def make(self, folder: str) -> None:
        """Make the folder, and return when a power cut cannot take it away again."""
        if folder in self._safe:
            return
        with self._lock:
            if len(self._safe) > KNOWN_FOLDERS:
                self._safe.clear()
            self._make(Path(folder))

    def _make(self, folder: Path) -> None:
        if str(folder) in self._safe:
            return
        if folder != self._root:
            self._make(folder.parent)
        folder.mkdir(parents=True, exist_ok=True)
        sync_folder(folder.parent)
        self._safe.add(str(folder))


@lru_cache(maxsize=1024)
def _series(study_instance_uid: str, series_instance_uid: str) -> str:
    study = _digest(study_instance_uid)
    return f"{study[:2]}/{study}/{_digest(series_instance_uid)}"


def _digest(uid: str) -> str:
    """Return a name for a UID that a peer chose; what is no UID is refused."""
    if len(uid) > UID_LENGTH or UID.fullmatch(uid) is None:
        raise NotUnderstood("a UID is not made of digits and dots")
    return hashlib.sha256(uid.encode("ascii")).hexdigest()[:32]
