"""Makes a received instance safe: first the bytes on disk, then the row that says so.

Where there is a journal, bytes and identifiers are safe in it, and the sender is told so, before
the instance has a file and a row of its own.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError

from db import associations, instances, studies
from db.engine import writing
from db.instances import Instance, Quarantined
from db.kept import Kept
from db.prepared import Transaction
from node.backlog import FLUSH_S, Backlog, Claim
from node.dicom.headers import Identifiers, Identify
from node.digest import is_of
from node.errors import Conflicting, NotUnderstood, OutOfResources, Refused
from node.instance import Arrival, ReceivedInstance
from node.jotting import Jotting, jotting_of
from node.journal import Journal, adopt, is_for_journal, journals
from node.store import Store, Stored
from node.turns import GROUP_MOST, Turns

logger = logging.getLogger(__name__)

MODALITY_LENGTH = 16  # PS3.5 6.2, VR CS

Clock = Callable[[], datetime]


@dataclass(frozen=True, kw_only=True, slots=True)
class _New:
    """An instance whose bytes are safe and whose name and row are not."""

    row: Instance
    jotting: Jotting


class Intake:
    """Takes what the listener hands over; safe to call from many threads."""

    def __init__(
        self,
        engine: Engine,
        store: Store,
        identify: Identify,
        clock: Clock,
        *,
        node: str | None = None,
        journal: Journal | None = None,
    ) -> None:
        self._engine = engine
        self._kept = Kept(engine)
        self._store = store
        self._identify = identify
        self._clock = clock
        self._node = node
        self._turns = Turns[_New, Refused | None](self._register_each)
        self._backlog = None if journal is None else Backlog(journal, self._file)

    @property
    def waiting(self) -> int:
        """How many instances wait for their rows."""
        return self._turns.waiting + (0 if self._backlog is None else self._backlog.waiting)

    def flush(self, timeout_s: float = FLUSH_S) -> None:
        """Wait for the rows of what was taken until now; not for ever where something fails."""
        if self._backlog is not None and not self._backlog.flush(timeout_s):
            logger.warning("%d instances wait for their rows", self._backlog.waiting)

    def close(self) -> None:
        """Wait for all rows, and take nothing into the journal any more."""
        if self._backlog is not None:
            self._backlog.close()

    def receive(self, arrival: Arrival) -> str:
        """Return its study when a power cut cannot take the instance away; else raise Refused.

        It is in the journal then, with all that its row needs, or has its file and its row.
        The same instance again, or one of our own results that a PACS routes back, is taken and
        changes nothing. One that retention has deleted is kept again. Other bytes under a known SOP
        Instance UID are kept aside and Conflicting is raised.
        """
        instance = _received(arrival, self._identify(arrival.part10), self._clock())
        try:
            self._take(instance, arrival)
        except SQLAlchemyError as error:
            logger.exception("the database fails")
            raise _database_fails(error) from error
        return instance.study_instance_uid

    def receive_together(self, arrivals: Sequence[Arrival]) -> list[str | None]:
        """Return the studies of those that are safe now; None stands for what ``receive`` takes.

        That is whatever needs more than the journal: what is long or not plain, a UID that is known
        or busy, a refusal, a database that is asked over a network.
        """
        safe: list[str | None] = [None] * len(arrivals)
        backlog = self._backlog
        if backlog is None or not backlog.takes or not self._kept.is_file:
            return safe
        with backlog.claims() as claim:
            jottings: dict[int, Jotting] = {}
            for at, instance in self._unknown(arrivals, claim).items():
                with suppress(Refused):  # receive() says why
                    self._store.make_room(len(instance.part10), ahead=backlog.bytes_waiting)
                    jottings[at] = self._jotting(instance, arrivals[at])
            written = backlog.write_together(list(jottings.values()))
            for (at, jotting), is_safe in zip(jottings.items(), written, strict=True):
                safe[at] = jotting.instance.study_instance_uid if is_safe else None
        return safe

    def _unknown(self, arrivals: Sequence[Arrival], claim: Claim) -> dict[int, ReceivedInstance]:
        """Return those that can be filed and under whose UIDs nothing came or comes."""
        read: dict[int, ReceivedInstance] = {}
        for at, arrival in enumerate(arrivals):
            if not is_for_journal(len(arrival.part10)):
                continue
            with suppress(Refused):  # receive() says why
                said = self._identify(arrival.part10, soon=True)
                instance = _received(arrival, said, self._clock())
                self._store.place(instance)
                if claim(instance.sop_instance_uid):
                    read[at] = instance
        uids = [one.sop_instance_uid for one in read.values()]
        try:
            with self._kept.asking() as connection:
                known = instances.known(connection, uids)
        except SQLAlchemyError:  # receive() meets it again, and says so
            return {}
        return {at: one for at, one in read.items() if one.sop_instance_uid not in known}

    def closed(self, association: str) -> None:
        """Note that the association brings nothing more.

        Where the database fails, assembly takes the association for ended after a pause.
        """
        if self._backlog is not None and not self._backlog.ended(association):
            logger.warning("%d instances wait for their rows", self._backlog.waiting)
        try:
            with self._kept.writing() as connection:
                associations.closed(connection, association, now=self._clock())
        except SQLAlchemyError:
            logger.exception("the end of association %s is not noted", association)

    def recover(self, folder: Path) -> int:
        """File what the journals of ended processes hold; return how many instances that were.

        Raises what keeps it from doing so. What alone cannot be filed keeps its own journal, and no
        other instance.
        """
        counts = {path: self._recover(path) for path in journals(folder)}
        if stuck := [str(path) for path, count in counts.items() if count is None]:
            raise OutOfResources(f"{', '.join(stuck)} cannot be filed")
        return sum(count or 0 for count in counts.values())

    def _recover(self, path: Path) -> int | None:
        """File a journal and take it away; None where something of it is left."""
        filed: list[bool] = []
        with adopt(path) as journal:
            if journal is None:
                return 0
            if journal.is_of_another_version:
                logger.error("%s is left to the version of the node that wrote it", path)
                return 0
            left = (one for one in map(jotting_of, journal.records()) if self._is_unheard_of(one))
            while group := list(islice(left, GROUP_MOST)):
                filed += self._file(group)
            if all(filed):
                journal.remove()
        if count := sum(filed):
            logger.warning("filed %d instances that a crash had left in the journal", count)
        return count if all(filed) else None

    def _is_unheard_of(self, jotting: Jotting) -> bool:
        return self._standing(jotting.instance.sop_instance_uid) is None

    def _take(self, instance: ReceivedInstance, arrival: Arrival) -> None:
        if self._backlog is None:
            self._take_at_once(instance, peer=arrival.peer)
            return
        with self._backlog.alone(instance.sop_instance_uid):
            if not self._backlog.takes or not self._jot(self._backlog, instance, arrival):
                self._take_at_once(instance, peer=arrival.peer)

    def _jot(self, backlog: Backlog, instance: ReceivedInstance, arrival: Arrival) -> bool:
        """Make an instance safe in the journal; False where that is not its place."""
        self._store.place(instance)
        is_new = self._standing(instance.sop_instance_uid) is None
        if not is_new or not is_for_journal(len(instance.part10)):
            return False
        self._store.make_room(len(instance.part10), ahead=backlog.bytes_waiting)
        return backlog.write(self._jotting(instance, arrival))

    def _jotting(self, instance: ReceivedInstance, arrival: Arrival) -> Jotting:
        return Jotting(instance, peer=arrival.peer, node=self._node, sheet=arrival.sheet)

    def _file(self, group: Sequence[Jotting]) -> list[bool]:
        """Give instances of a journal their files and rows; say of each whether it has them."""
        put = self._store.put_promised([one.instance for one in group])
        new = {
            at: _New(row=_row(group[at].instance, stored), jotting=group[at])
            for at, stored in enumerate(put)
            if isinstance(stored, Stored)
        }
        refusals = dict(zip(new, self._register_each(list(new.values())), strict=True))
        refusals |= {at: one for at, one in enumerate(put) if isinstance(one, Conflicting)}
        return [self._is_filed(one, refusals[at]) for at, one in enumerate(group)]

    def _is_filed(self, jotting: Jotting, refusal: Refused | None) -> bool:
        if refusal is not None:
            # Its sender has gone with Success: nothing is left but to keep it.
            logger.error("%s: %s", jotting.instance.sop_instance_uid, refusal)
        if isinstance(refusal, Conflicting):
            self._keep_aside(jotting.instance)
        return refusal is None or isinstance(refusal, Conflicting)

    def _take_at_once(self, instance: ReceivedInstance, *, peer: str) -> None:
        try:
            if not self._is_known(instance):
                self._keep(instance, peer=peer)
        except Conflicting:
            self._keep_aside(instance)
            raise

    def _standing(self, sop_instance_uid: str) -> instances.Standing | None:
        with self._kept.asking() as connection:
            return instances.standing(connection, sop_instance_uid)

    def _is_known(self, instance: ReceivedInstance) -> bool:
        stored = self._standing(instance.sop_instance_uid)
        if stored is None or stored.is_ours:
            return stored is not None
        if not is_of(stored.digest, instance.part10):
            raise Conflicting(f"{instance.sop_instance_uid} is stored with other bytes")
        if not stored.is_here:
            with writing(self._engine) as connection:
                instances.spare(connection, instance.sop_instance_uid, now=self._clock())
        return stored.is_here

    def _keep(self, instance: ReceivedInstance, *, peer: str) -> None:
        row = _row(instance, self._store.put(instance))
        new = _New(row=row, jotting=Jotting(instance, peer=peer, node=self._node))
        if (refusal := self._turns.do(new)) is not None:
            raise refusal

    def _register_each(self, group: Sequence["_New"]) -> list[Refused | None]:
        """Make names and rows of a group safe together; return what is refused, and why.

        Where the group fails, and not the database, it was for one of them: then each is alone.
        """
        try:
            return self._register(group)
        except (OperationalError, InterfaceError):
            raise
        except (Refused, SQLAlchemyError) as error:
            if len(group) == 1:
                return [_refusal(error)]
            logger.warning("%d instances are registered one by one: %s", len(group), type(error))
        return [self._register_alone(one) for one in group]

    def _register_alone(self, one: "_New") -> Refused | None:
        try:
            return self._register([one])[0]
        except (Refused, SQLAlchemyError) as error:
            return _refusal(error)

    def _register(self, group: Sequence["_New"]) -> list[Refused | None]:
        # In one order everywhere, so that groups of two nodes never wait for each other.
        order = sorted(range(len(group)), key=lambda at: group[at].row.sop_instance_uid)
        refusals: list[Refused | None] = [None] * len(group)
        self._store.settle(one.row.path for one in group)
        with self._kept.writing() as connection:
            new: list[_New] = []
            for at in order:
                try:
                    if self._is_new(connection, group[at]):
                        new.append(group[at])
                except Conflicting as refusal:
                    refusals[at] = refusal
            _note(connection, new)
        return refusals

    def _is_new(self, connection: Transaction, one: "_New") -> bool:
        if not instances.register(connection, one.row) and not _is_back(connection, one):
            return False
        # Who deletes files holds their rows: what is here now stays here.
        if not self._store.holds(one.row.path):
            raise OutOfResources(f"{one.row.path} was deleted in this moment")
        return True

    def _keep_aside(self, instance: ReceivedInstance) -> None:
        stored = self._store.quarantine(instance.part10)
        with writing(self._engine) as connection:
            instances.keep_aside(
                connection,
                Quarantined(
                    sop_instance_uid=instance.sop_instance_uid,
                    study_instance_uid=instance.study_instance_uid,
                    path=stored.path,
                    digest=stored.digest,
                    calling_ae_title=instance.calling_ae_title,
                    received_at=instance.received_at,
                    reason="the SOP Instance UID is stored with other bytes",
                    size=stored.size,
                ),
            )


def _received(arrival: Arrival, said: Identifiers, now: datetime) -> ReceivedInstance:
    # PS3.4 B.2.3: what the request says of the instance and what the instance says have to agree;
    # else the peer would get Success for a UID that is not there.
    for name in ("sop_class_uid", "sop_instance_uid"):
        if getattr(said, name) != getattr(arrival, name):
            raise NotUnderstood(
                f"{name} of request and data set differ: {arrival.sop_instance_uid}"
            )
    return ReceivedInstance(
        sop_class_uid=arrival.sop_class_uid,
        sop_instance_uid=arrival.sop_instance_uid,
        study_instance_uid=said.study_instance_uid,
        series_instance_uid=said.series_instance_uid,
        transfer_syntax_uid=arrival.transfer_syntax_uid,
        modality=said.modality[:MODALITY_LENGTH],
        part10=arrival.part10,
        calling_ae_title=arrival.calling_ae_title,
        association=arrival.association,
        received_at=now,
    )


def _row(instance: ReceivedInstance, stored: Stored) -> Instance:
    return Instance(
        sop_instance_uid=instance.sop_instance_uid,
        study_instance_uid=instance.study_instance_uid,
        series_instance_uid=instance.series_instance_uid,
        sop_class_uid=instance.sop_class_uid,
        transfer_syntax_uid=instance.transfer_syntax_uid,
        modality=instance.modality,
        path=stored.path,
        digest=stored.digest,
        size=stored.size,
        calling_ae_title=instance.calling_ae_title,
        association=instance.association,
        received_at=instance.received_at,
    )


def _is_back(connection: Transaction, one: _New) -> bool:
    """Restore what was deleted; raise Conflicting where what came first had other bytes."""
    uid = one.row.sop_instance_uid
    first = instances.standing(connection, uid)
    if first is None or not is_of(first.digest, one.jotting.instance.part10):
        raise Conflicting(f"{uid} is stored with other bytes")
    return instances.restore(connection, replace(one.row, digest=first.digest))


def _note(connection: Transaction, new: Sequence[_New]) -> None:
    """Tell what came to its studies and to the associations that brought it."""
    for study, rows in _by(new, lambda one: one.row.study_instance_uid).items():
        now = max(one.row.received_at for one in rows)
        studies.touch(connection, study, now=now, count=len(rows))
    for rows in _by(new, lambda one: one.row.association).values():
        now = max(one.row.received_at for one in rows)
        associations.brought(connection, rows[0].jotting.sender, now=now)


def _by(new: Sequence[_New], key: Callable[[_New], str]) -> dict[str, list[_New]]:
    groups: dict[str, list[_New]] = {}
    for one in sorted(new, key=key):
        groups.setdefault(key(one), []).append(one)
    return groups


def _refusal(error: Refused | SQLAlchemyError) -> Refused:
    """Return what is said of one that cannot be registered."""
    if isinstance(error, Refused):
        return error
    logger.error("the database fails", exc_info=error)
    return _database_fails(error)


def _database_fails(error: SQLAlchemyError) -> OutOfResources:
    refusal = OutOfResources("the database fails")
    refusal.__cause__ = error
    return refusal
