"""What a node holds after it was tormented, compared with what it had promised."""

import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from io import BytesIO
from pathlib import Path

from pydicom import dcmread
from pydicom.errors import InvalidDicomError
from sqlalchemy import select

from db import deliveries, instances, jobs, results, studies
from db.engine import connect, reading
from db.jobs import JobState
from db.results import Result
from db.tables import instances as instances_table
from db.tables import quarantine
from db.tables import results as results_table
from node.config import Settings
from node.digest import is_of
from node.store import Store
from tests.torture.pacs import Held

HEADER_BYTES = 144
"""The preamble, DICM and the group length, which counts what follows it."""
ENDED = {JobState.DONE, JobState.REFUSED}


class Holding:
    """The database and the store of a node that stands still."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._store = Store(settings.store.root, 0)

    def lost(self, acknowledged: Mapping[str, Path]) -> list[str]:
        """Return the instances that were answered with Success and are not there as sent."""
        with self._reading() as connection:
            found = {uid: instances.find(connection, uid) for uid in acknowledged}
        return [
            uid
            for uid, sent in acknowledged.items()
            if (row := found[uid]) is None or not same(self._store.path(row.path), sent)
        ]

    def astray(self) -> list[str]:
        """Return rows whose file is absent or other, files without a row, and quarantined bytes."""
        with self._reading() as connection:
            rows = [
                (one.path, one.digest)
                for table in (instances_table, results_table)
                for one in connection.execute(select(table.c.path, table.c.digest))
            ]
        named = {path for path, _ in rows}
        root = self._settings.store.root
        files = {str(path.relative_to(root)) for path in root.rglob("*.dcm")}
        wrong = [path for path, digest in rows if not self._is_whole(path, digest)]
        return [*wrong, *sorted(files - named), *self.quarantined()]

    def quarantined(self) -> list[str]:
        """Return what was kept aside because its UID was known."""
        with self._reading() as connection:
            return [one.path for one in connection.execute(select(quarantine.c.path))]

    def outcomes(self) -> int:
        """Return how many studies have their outcome."""
        return self._count("SELECT count(*) FROM studies WHERE state IN ('analyzed', 'refused')")

    def is_at_rest(self, studies_sent: int) -> bool:
        """Whether so many studies have their outcome and nothing is owed.

        In this order: an outcome and what is owed for it come in one transaction.
        """
        if self.outcomes() < studies_sent:
            return False
        return self._count("SELECT count(*) FROM deliveries WHERE evidence IS NULL") == 0

    def parts(self) -> int:
        """Return how many part files lie about, which may be deleted at any time."""
        return sum(1 for _ in self._settings.store.root.rglob("*.part"))

    def undecided(self, study_instance_uids: Sequence[str]) -> list[str]:
        """Return the studies that have not exactly one job, ended with its one outcome."""
        with self._reading() as connection:
            states = {
                uid: [job.state for job in jobs.of_study(connection, uid)]
                for uid in study_instance_uids
            }
            outcomes = {
                uid: None if (one := studies.find(connection, uid)) is None else one.state
                for uid in study_instance_uids
            }
        return [
            f"{uid} is {outcomes[uid]} with jobs {states[uid]}"
            for uid in study_instance_uids
            if len(states[uid]) != 1
            or states[uid][0] not in ENDED
            or outcomes[uid] != jobs.STUDY_OUTCOMES[states[uid][0]]
        ]

    def misdelivered(
        self, study_instance_uids: Sequence[str], held: Mapping[str, Sequence[Held]]
    ) -> list[str]:
        """Return results that the PACS lacks, has twice, has otherwise, or that nobody made."""
        faults = []
        for uid in study_instance_uids:
            with self._reading() as connection:
                made = [
                    one
                    for job in jobs.of_study(connection, uid)
                    for one in results.of_job(connection, job.id)
                ]
                open_ones = [
                    one for one in deliveries.of_study(connection, uid) if not one.delivered
                ]
            faults += [f"{one.sop_instance_uid} is {one.state}" for one in open_ones]
            faults += self._differences(made, held.get(uid, []))
        return [*faults, *(f"{uid} is unknown" for uid in held.keys() - {*study_instance_uids})]

    def inconsistencies(self) -> list[str]:
        """Return what SQLite finds wrong with its file, and what is left half done."""
        faults = []
        assert self._settings.database.file is not None
        with closing(sqlite3.connect(self._settings.database.file)) as database:
            faults += [
                str(row) for row in database.execute("PRAGMA integrity_check") if row != ("ok",)
            ]
            faults += [str(row) for row in database.execute("PRAGMA foreign_key_check")]
            faults += [
                f"job {number} is {state}"
                for number, state in database.execute("SELECT id, state FROM jobs")
                if state in {"waiting", "running"}
            ]
        return faults

    def _differences(self, made: Sequence[Result], held: Sequence[Held]) -> Iterator[str]:
        counts = Counter(one.sop_instance_uid for one in held)
        by_uid = {one.sop_instance_uid: one for one in held}
        for one in made:
            uid = one.sop_instance_uid
            if counts[uid] != 1:
                yield f"{uid} is there {counts[uid]} times"
            elif not equal(by_uid[uid].read(), self._store.path(one.path).read_bytes()):
                yield f"{uid} differs"
        for uid in counts.keys() - {one.sop_instance_uid for one in made}:
            yield f"{uid} was never registered"
        if not made:
            yield "a study has no results"

    def _is_whole(self, path: str, digest: str) -> bool:
        try:
            return is_of(digest, self._store.read(path))
        except OSError:
            return False

    def _count(self, query: str) -> int:
        """Count on a connection of its own, so that the node opens its database as it was left."""
        file = self._settings.database.file
        assert file is not None
        try:
            with closing(sqlite3.connect(f"file:{file}?mode=rw", uri=True, timeout=30)) as database:
                return int(database.execute(query).fetchone()[0])
        except sqlite3.DatabaseError:
            # The tables are not made yet, or the disk goes while we look. Whether the file is whole
            # is asked at the end.
            return 0

    def _reading(self):
        return _Reading(self._settings.database.url)


class _Reading:
    """A transaction on an engine that lives as long as it does, so that no file stays open."""

    def __init__(self, url: str) -> None:
        self._engine = connect(url)
        self._transaction = reading(self._engine)

    def __enter__(self):
        return self._transaction.__enter__()

    def __exit__(self, *error: object) -> None:
        self._transaction.__exit__(*error)
        self._engine.dispose()


def same(stored: Path, sent: Path) -> bool:
    """Whether two files hold the same data set; the sender may have encoded it anew."""
    try:
        return equal(stored.read_bytes(), sent.read_bytes())
    except (OSError, InvalidDicomError, EOFError):
        return False


def equal(part10: bytes, other: bytes) -> bool:
    """Whether two files hold the same data set: byte for byte, or else as pydicom reads it."""
    if _encoded(part10) == _encoded(other):
        return True
    return bool(dcmread(BytesIO(part10)) == dcmread(BytesIO(other)))


def _encoded(part10: bytes) -> tuple[str, bytes]:
    """Return the transfer syntax and the data set behind the file's own header (PS3.10 7.1)."""
    end = HEADER_BYTES + int.from_bytes(part10[HEADER_BYTES - 4 : HEADER_BYTES], "little")
    return str(dcmread(BytesIO(part10[:end])).file_meta.TransferSyntaxUID), part10[end:]
