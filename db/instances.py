"""Instances that are safe in the store, and those kept aside because their UID was known."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from functools import lru_cache
from hashlib import sha256
from typing import Any, NamedTuple

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Dialect,
    Executable,
    Integer,
    String,
    and_,
    bindparam,
    case,
    literal_column,
    select,
    union_all,
    update,
)

from db.engine import insert_into, insert_new
from db.prepared import Prepared, Transaction
from db.tables import instances, job_instances, quarantine, results

ANALYZED_MODALITIES = ("CT", "PT", "RTSTRUCT", "SEG", "SR")
"""What an analysis may read; instances of other modalities are kept and change no result."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Instance:
    """One stored instance; ``path`` is relative to the root of the store."""

    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    modality: str
    path: str
    digest: str
    size: int
    calling_ae_title: str
    association: str
    received_at: datetime
    pledged_at: datetime | None = None
    """When a peer was last told that we keep it."""
    deleting_at: datetime | None = None
    """Since when retention is about to take the file away."""
    deleted_at: datetime | None = None
    """When the file was taken away; the row stays and says what it was."""

    @property
    def is_here(self) -> bool:
        """Whether the file lies in the store and nobody is about to take it away."""
        return self.deleting_at is None and self.deleted_at is None


class Standing(NamedTuple):
    """What intake has to know of an instance that came before."""

    digest: str
    """``""`` of an object that we made."""
    is_here: bool
    is_ours: bool


_NAMES = tuple(field.name for field in fields(Instance))


@dataclass(frozen=True, kw_only=True, slots=True)
class Quarantined:
    """Bytes that came under a known SOP Instance UID and differ from the ones stored first."""

    sop_instance_uid: str
    study_instance_uid: str
    path: str
    digest: str
    calling_ae_title: str
    received_at: datetime
    reason: str
    size: int | None = None


HERE: ColumnElement[bool] = and_(
    instances.c.deleting_at.is_(None), instances.c.deleted_at.is_(None)
)


def _values() -> dict[str, BindParameter[Any]]:
    return {name: bindparam(name, type_=instances.c[name].type) for name in _NAMES}


def _register(dialect: Dialect) -> Executable:
    return (
        insert_into(dialect, instances)
        .values(**_values())
        .on_conflict_do_nothing()
        .returning(instances.c.sop_instance_uid)
    )


def _restore(_dialect: Dialect) -> Executable:
    of = instances.c
    return (
        update(instances)
        .where(
            of.sop_instance_uid == bindparam("deleted_uid", type_=of.sop_instance_uid.type),
            of.digest == bindparam("deleted_digest", type_=of.digest.type),
            of.deleted_at.is_not(None),
        )
        .values(**_values())
        .returning(of.sop_instance_uid)
    )


def _standing(_dialect: Dialect) -> Executable:
    wanted = bindparam("sop_instance_uid", type_=instances.c.sop_instance_uid.type)
    return union_all(
        select(instances.c.digest, case((HERE, 1), else_=0), literal_column("0", Integer)).where(
            instances.c.sop_instance_uid == wanted
        ),
        select(
            literal_column("''", String), literal_column("1", Integer), literal_column("1", Integer)
        ).where(results.c.sop_instance_uid == wanted),
    )


@lru_cache(maxsize=64)
def _known(count: int) -> Prepared:
    """Return the statement for so many UIDs."""

    def build(_dialect: Dialect) -> Executable:
        wanted = [bindparam(f"uid_{at}", type_=String()) for at in range(count)]
        came = select(instances.c.sop_instance_uid).where(instances.c.sop_instance_uid.in_(wanted))
        made = select(results.c.sop_instance_uid).where(results.c.sop_instance_uid.in_(wanted))
        return union_all(came, made)

    return Prepared(build)


_REGISTER, _RESTORE, _STANDING = Prepared(_register), Prepared(_restore), Prepared(_standing)


def register(connection: Transaction, instance: Instance) -> bool:
    """Register the instance; False, and nothing done, where its SOP Instance UID is known."""
    return bool(_REGISTER.run(connection, _row(instance)))


def spare(connection: Connection, sop_instance_uid: str, *, now: datetime) -> None:
    """Keep retention from taking the file away: from here on it counts as taken away.

    Who brings a deleted instance again calls this before the file is written, ``restore`` after.
    """
    connection.execute(
        update(instances)
        .where(
            instances.c.sop_instance_uid == sop_instance_uid, instances.c.deleting_at.is_not(None)
        )
        .values(deleting_at=None, deleted_at=now)
    )


def restore(connection: Transaction, instance: Instance) -> bool:
    """Register a deleted instance that came again; False, and nothing done, if it is not deleted.

    Only the bytes that were deleted come back: others under its UID are a conflict as ever. The
    digest is the one that was registered first, whichever algorithm took it: a study does not look
    changed where only the algorithm is another.
    """
    deleted = {"deleted_uid": instance.sop_instance_uid, "deleted_digest": instance.digest}
    return bool(_RESTORE.run(connection, {**_row(instance), **deleted}))


def find(connection: Connection, sop_instance_uid: str) -> Instance | None:
    """Return the instance, deleted ones included, or None where it never came."""
    row = (
        connection.execute(
            select(instances).where(instances.c.sop_instance_uid == sop_instance_uid)
        )
        .mappings()
        .one_or_none()
    )
    return None if row is None else Instance(**row)


def standing(connection: Transaction, sop_instance_uid: str) -> Standing | None:
    """Return how the instance stands, or None where it neither came nor was made here."""
    rows = _STANDING.run(connection, {"sop_instance_uid": sop_instance_uid})
    found = [Standing(digest, bool(here), bool(ours)) for digest, here, ours in rows]
    return min(found, key=lambda one: one.is_ours, default=None)


def known(connection: Transaction, sop_instance_uids: Sequence[str]) -> set[str]:
    """Return those of some UIDs under which an instance came, or was made here."""
    if not sop_instance_uids:
        return set()
    asked = {f"uid_{at}": uid for at, uid in enumerate(sop_instance_uids)}
    return {uid for (uid,) in _known(len(asked)).run(connection, asked)}


def keep_aside(connection: Connection, quarantined: Quarantined) -> None:
    """Remember conflicting bytes; the same ones again are remembered once, and kept anew."""
    connection.execute(insert_new(connection, quarantine).values(**asdict(quarantined)))
    connection.execute(
        update(quarantine)
        .where(
            quarantine.c.sop_instance_uid == quarantined.sop_instance_uid,
            quarantine.c.digest == quarantined.digest,
        )
        .values(received_at=quarantined.received_at, deleting_at=None)
    )


def kept_aside(connection: Connection, study_instance_uid: str) -> list[Quarantined]:
    """Return what was kept aside for the study, the oldest first."""
    columns = [quarantine.c[field.name] for field in fields(Quarantined)]
    rows = connection.execute(
        select(*columns)
        .where(quarantine.c.study_instance_uid == study_instance_uid)
        .order_by(quarantine.c.id)
    )
    return [Quarantined(**row) for row in rows.mappings()]


def to_analyze(connection: Connection, study_instance_uid: str) -> list[Instance]:
    """Return the instances of the study that an analysis may read, in the order of their UIDs.

    Deleted ones are among them: a study that came again in part is not another study.
    """
    rows = connection.execute(
        select(instances)
        .where(
            instances.c.study_instance_uid == study_instance_uid,
            instances.c.modality.in_(ANALYZED_MODALITIES),
        )
        .order_by(instances.c.sop_instance_uid)
    )
    return [Instance(**row) for row in rows.mappings()]


def of_job(connection: Connection, job_id: int) -> list[Instance]:
    """Return the instances of the job, whatever came later, in the order of their UIDs."""
    rows = connection.execute(
        select(instances)
        .join(job_instances, job_instances.c.sop_instance_uid == instances.c.sop_instance_uid)
        .where(job_instances.c.job_id == job_id)
        .order_by(instances.c.sop_instance_uid)
    )
    return [Instance(**row) for row in rows.mappings()]


def _row(instance: Instance) -> dict[str, object]:
    return {name: getattr(instance, name) for name in _NAMES}


def set_digest(chosen: Sequence[Instance]) -> str:
    """``sha256:`` and the digest of an instance set: of its UIDs and bytes, in no order."""
    return digest_of_set((one.sop_instance_uid, one.digest) for one in chosen)


def digest_of_set(chosen: Iterable[tuple[str, str]]) -> str:
    """Return what ``set_digest`` does of pairs of SOP Instance UID and digest.

    SHA-256 of an instance stands there bare, as versions wrote it that knew nothing else: the set
    of a study that they analysed has the digest that it had.
    """
    lines = sorted(f"{uid} {digest.removeprefix('sha256:')}\n" for uid, digest in chosen)
    return "sha256:" + sha256("".join(lines).encode("ascii")).hexdigest()
