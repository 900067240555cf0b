"""Instances that are safe in the store, and those kept aside because their UID was known."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from hashlib import sha256

from sqlalchemy import Connection, select

from db.engine import insert_new
from db.tables import instances, job_instances, quarantine

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
    sha256: str
    size: int
    calling_ae_title: str
    association: str
    received_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Quarantined:
    """Bytes that came under a known SOP Instance UID and differ from the ones stored first."""

    sop_instance_uid: str
    study_instance_uid: str
    path: str
    sha256: str
    calling_ae_title: str
    received_at: datetime
    reason: str


def register(connection: Connection, instance: Instance) -> bool:
    """Register the instance; False, and nothing done, where its SOP Instance UID is known."""
    registered = connection.execute(
        insert_new(connection, instances)
        .values(**asdict(instance))
        .returning(instances.c.sop_instance_uid)
    )
    return registered.one_or_none() is not None


def find(connection: Connection, sop_instance_uid: str) -> Instance | None:
    """Return the instance, or None where it never came."""
    row = (
        connection.execute(
            select(instances).where(instances.c.sop_instance_uid == sop_instance_uid)
        )
        .mappings()
        .one_or_none()
    )
    return None if row is None else Instance(**row)


def keep_aside(connection: Connection, quarantined: Quarantined) -> None:
    """Remember conflicting bytes; the same ones again are remembered once."""
    connection.execute(insert_new(connection, quarantine).values(**asdict(quarantined)))


def kept_aside(connection: Connection, study_instance_uid: str) -> list[Quarantined]:
    """Return what was kept aside for the study, the oldest first."""
    columns = [column for column in quarantine.c if column.name != "id"]
    rows = connection.execute(
        select(*columns)
        .where(quarantine.c.study_instance_uid == study_instance_uid)
        .order_by(quarantine.c.id)
    )
    return [Quarantined(**row) for row in rows.mappings()]


def to_analyze(connection: Connection, study_instance_uid: str) -> list[Instance]:
    """Return the instances of the study that an analysis may read, in the order of their UIDs."""
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


def set_digest(chosen: Sequence[Instance]) -> str:
    """``sha256:`` and the digest of an instance set: of its UIDs and bytes, in no order."""
    lines = sorted(f"{instance.sop_instance_uid} {instance.sha256}\n" for instance in chosen)
    return "sha256:" + sha256("".join(lines).encode("ascii")).hexdigest()
