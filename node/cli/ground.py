"""What ``petct-node check`` finds out about the ground the node stands on: disk, database, clock.

A check returns what it found to be well, or raises CheckWarned or CheckFailed with what follows
from it and what to do.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from db import migrate, retention
from db.engine import connect, reading
from inference.errors import InferenceError
from node import bootstrap, engines
from node.cli.plain import reason
from node.config import Settings
from node.errors import OutOfResources

MOUNTS = Path("/proc/self/mountinfo")
VOLATILE = {"tmpfs", "ramfs", "devtmpfs"}
DISTANT = {"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "fuse.glusterfs", "ceph", "lustre"}
PROBES = 5
SLOW_MS = 100
"""An instance costs two or three synced writes; a series of 300 then takes over a minute."""
QUOTA_WARNED = 0.9
SKEW_WARNED_S = 2
SKEW_FAILED_S = 30
"""Half of a lease: jobs that are being done would be given to others."""


class CheckFailed(Exception):
    """One thing does not work; the message says what and what to do."""


class CheckWarned(Exception):
    """One thing works, and an operator should look at it."""


def store(settings: Settings) -> str:
    """Check that the store takes files, and has room for them."""
    root = settings.store.root
    opened = bootstrap.open_store(settings)
    try:
        opened.probe()
    except OutOfResources as error:
        raise CheckFailed(str(error)) from error
    free = opened.free_bytes()
    least = settings.store.free_bytes_min
    if free < least:
        raise CheckFailed(
            f"{free / 1e9:.1f} GB free at {root}, the watermark is {least / 1e9:.1f} GB: "
            "every C-STORE is answered 0xA700 until there is room"
        )
    return f"{root} takes synced writes, {free / 1e9:.1f} GB free"


def quota(settings: Settings, bytes_max: int) -> str:
    """Check that the store may take more."""
    try:
        with _asking(settings) as connection:
            held = retention.stored_bytes(connection)
    except SQLAlchemyError as error:
        raise CheckFailed(f"the database cannot be asked: {reason(error)}") from error
    told = f"{held / 1e9:.1f} of {bytes_max / 1e9:.1f} GB are held"
    if held >= bytes_max:
        raise CheckFailed(f"{told}: every C-STORE is answered 0xA700 until something is deleted")
    if held > QUOTA_WARNED * bytes_max:
        raise CheckWarned(f"{told}: raise store.bytes_max, or see retention")
    return told


def disk(settings: Settings) -> str:
    """Check that what is synced is safe, and soon."""
    root = settings.store.root.resolve()
    milliseconds = _sync_ms(settings)
    kind = file_system_of(root, MOUNTS)
    measured = f"{kind}, a synced write takes {milliseconds:.1f} ms"
    if kind in VOLATILE:
        raise CheckWarned(f"{measured}: {root} lies in memory and is lost with the machine")
    if kind == "overlay":
        raise CheckWarned(f"{measured}: {root} goes with its container; mount a volume there")
    if kind in DISTANT:
        raise CheckWarned(f"{measured}: whether synced writes are safe is up to the server")
    if milliseconds > SLOW_MS:
        raise CheckWarned(f"{measured}: associations will be slow")
    return measured


def database(settings: Settings) -> str:
    """Check that the database can be reached and is one of ours; nothing is changed in it."""
    file = settings.database.file
    if file is not None and not file.exists():
        return f"{file} is not there yet: the first start makes it"
    try:
        found = migrate.current(_url(settings))
    except (SQLAlchemyError, OSError, ImportError) as error:
        raise CheckFailed(f"{settings.database.shown} cannot be opened: {reason(error)}") from error
    newest = migrate.newest()
    if found is None:
        return f"{settings.database.shown} is empty: the first start makes the tables"
    if found not in migrate.revisions():
        raise CheckFailed(
            f"revision {found} is of a newer version of the node, which has to be installed"
        )
    kind = "sqlite" if file is not None else "postgresql"
    if found != newest:
        raise CheckWarned(f"{kind}, revision {found}: the next start brings it to {newest}")
    return f"{kind}, revision {found}"


def durability(settings: Settings) -> str:
    """Check that the database keeps what it committed through a crash."""
    file = settings.database.file
    if file is not None:
        return _durability_of_sqlite(settings, file)
    try:
        with _asking(settings) as connection:
            names = ("fsync", "full_page_writes", "synchronous_commit")
            said = {name: _show(connection, name) for name in names}
    except SQLAlchemyError as error:
        raise CheckFailed(f"cannot be asked: {reason(error)}") from error
    told = ", ".join(f"{name} {value}" for name, value in said.items())
    if said["fsync"] != "on":
        raise CheckFailed(f"{told}: a crash of the server may lose or destroy everything")
    if said["full_page_writes"] != "on":
        raise CheckWarned(f"{told}: a crash may tear pages, unless the disk writes them whole")
    return told


def integrity(settings: Settings) -> str:
    """Check that an SQLite file is whole, which takes seconds where it is large."""
    try:
        with _asking(settings) as connection:
            whole = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
    except SQLAlchemyError as error:
        raise CheckFailed(f"the database cannot be read: {reason(error)}") from error
    if whole != "ok":
        raise CheckFailed(f"{settings.database.file} is damaged: {whole}; restore the backup")
    return f"{settings.database.file} is whole"


def clock(settings: Settings) -> str:
    """Check that the clocks that leases and times depend on agree with that of this machine."""
    skews = {"the disk": _disk_skew_s(settings)}
    if settings.database.file is None:
        try:
            skews["the database"] = _database_skew_s(settings)
        except SQLAlchemyError as error:
            raise CheckFailed(f"the database cannot be asked: {reason(error)}") from error
    told = ", ".join(f"{name} {skew:+.1f} s" for name, skew in skews.items())
    worst = max(abs(skew) for skew in skews.values())
    if worst > SKEW_FAILED_S:
        raise CheckFailed(f"{told}: leases end at the wrong time; set the clocks by NTP")
    if worst > SKEW_WARNED_S:
        raise CheckWarned(f"{told}: set the clocks by NTP")
    return told


def audit(path: Path) -> str:
    """Check that audit messages can be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab"):
            pass
    except OSError as error:
        raise CheckFailed(f"{path} cannot be written: {error.strerror}") from error
    return f"{path} takes messages"


def model(settings: Settings) -> str:
    """Check that the bundle is whole, by its digest, and runs."""
    try:
        opened = engines.build_model(settings)
    except InferenceError as error:
        raise CheckFailed(str(error)) from error
    identity = opened.bundle.identity
    engine = next(iter(opened.engines.values()))
    told = f"{identity.name} {identity.version} {identity.digest[:19]}"
    return f"{told} on {engine.name}, {engine.device}, {engine.precision}"


def file_system_of(path: Path, mounts: Path) -> str:
    """Return the type of the file system that a path lies on, as ``mountinfo`` (proc(5)) has it."""
    best, kind = "", "unknown"
    try:
        lines = mounts.read_text(encoding="utf-8").splitlines()
    except OSError:
        return kind
    for line in lines:
        before, _, after = line.partition(" - ")
        point = before.split(" ")[4].replace("\\040", " ")
        if path.is_relative_to(point) and len(point) >= len(best):
            best, kind = point, after.split(" ")[0]
    return kind


@contextmanager
def _asking(settings: Settings) -> Iterator[Connection]:
    engine = connect(_url(settings))
    try:
        with reading(engine) as connection:
            yield connection
    finally:
        engine.dispose()


def _url(settings: Settings) -> str:
    return settings.database.opened(os.environ)


def _show(connection: Connection, name: str) -> str:
    value: str = connection.execute(text(f"SHOW {name}")).scalar_one()
    return value


def _durability_of_sqlite(settings: Settings, file: Path) -> str:
    if not file.exists():
        return f"{file} is not there yet"
    kind = file_system_of(file.resolve(), MOUNTS)
    try:
        with _asking(settings) as connection:
            journal = connection.exec_driver_sql("PRAGMA journal_mode").scalar_one()
    except SQLAlchemyError as error:
        raise CheckFailed(f"{file} cannot be read: {reason(error)}") from error
    told = f"journal {journal}, every commit synced, on {kind}"
    if kind in DISTANT:
        raise CheckFailed(f"{told}: SQLite needs a disk of this machine; use PostgreSQL there")
    if kind in VOLATILE or kind == "overlay":
        raise CheckWarned(f"{told}: the database is lost with the machine or its container")
    return told


def _sync_ms(settings: Settings) -> float:
    opened = bootstrap.open_store(settings)
    taken = []
    try:
        for _ in range(PROBES):
            started = time.perf_counter()
            opened.probe()
            taken.append(time.perf_counter() - started)
    except OutOfResources as error:
        raise CheckFailed(str(error)) from error
    return 1000 * sorted(taken)[PROBES // 2]


def _disk_skew_s(settings: Settings) -> float:
    try:
        return bootstrap.open_store(settings).clock_s() - time.time()
    except OutOfResources as error:
        raise CheckFailed(str(error)) from error


def _database_skew_s(settings: Settings) -> float:
    with _asking(settings) as connection:
        before = bootstrap.now()
        there: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
        after = bootstrap.now()
    return (there - before - (after - before) / 2).total_seconds()
