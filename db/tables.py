"""The tables of the node and the types of their columns.

Everything that the node must not forget lies here; bytes lie in the store and are named by a path
relative to its root.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from typing_extensions import override


class UtcDateTime(TypeDecorator[datetime]):
    """A moment, always aware: SQLite keeps no time zone, so that it gets UTC and gives UTC back."""

    impl = DateTime(timezone=True)
    cache_ok = True

    @override
    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"times are aware, got {value.isoformat()} without a zone")
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    @override
    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        moment: datetime = value
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
metadata = MetaData(naming_convention=NAMES)

# Identifiers: PS3.5 6.2, VR UI has at most 64 characters, VR AE at most 16.
UID = String(64)
AE_TITLE = String(16)
SHA256 = String(64)
DIGEST = String(80)  # "sha256:" and 64 hex digits

associations = Table(
    "associations",
    metadata,
    Column("association", String(64), primary_key=True),
    Column("calling_ae_title", AE_TITLE, nullable=False),
    Column("peer", String(64), nullable=False),
    Column("opened_at", UtcDateTime, nullable=False),
    Column("last_at", UtcDateTime, nullable=False),
    Column("released_at", UtcDateTime),
)

instances = Table(
    "instances",
    metadata,
    Column("sop_instance_uid", UID, primary_key=True),
    Column("study_instance_uid", UID, nullable=False),
    Column("series_instance_uid", UID, nullable=False),
    Column("sop_class_uid", UID, nullable=False),
    Column("transfer_syntax_uid", UID, nullable=False),
    Column("modality", String(16), nullable=False),
    Column("path", Text, nullable=False),
    Column("sha256", SHA256, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("calling_ae_title", AE_TITLE, nullable=False),
    Column("association", String(64), nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
    Index(None, "study_instance_uid", "series_instance_uid"),
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("sop_instance_uid", UID, nullable=False),
    Column("study_instance_uid", UID, nullable=False),
    Column("path", Text, nullable=False),
    Column("sha256", SHA256, nullable=False),
    Column("calling_ae_title", AE_TITLE, nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
    Column("reason", Text, nullable=False),
    UniqueConstraint("sop_instance_uid", "sha256"),
)

studies = Table(
    "studies",
    metadata,
    Column("study_instance_uid", UID, primary_key=True),
    Column("state", String(16), nullable=False),
    Column("reasons", JSON, nullable=False),
    # How many new instances came, and how many of them had come when assembly last decided.
    Column("revision", Integer, nullable=False),
    Column("settled_revision", Integer, nullable=False),
    Column("first_at", UtcDateTime, nullable=False),
    Column("last_at", UtcDateTime, nullable=False),
    CheckConstraint(
        "state IN ('receiving', 'queued', 'analyzed', 'refused', 'failed', 'ignored')",
        name="state",
    ),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("study_instance_uid", UID, ForeignKey("studies.study_instance_uid"), nullable=False),
    Column("instance_set_digest", DIGEST, nullable=False),
    Column("bundle_digest", DIGEST, nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("worker", String(128)),
    Column("lease_until", UtcDateTime),
    Column("due_at", UtcDateTime, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime),
    Column("why_ready", String(16), nullable=False),
    Column("warnings", JSON, nullable=False),
    Column("findings", JSON(none_as_null=True)),
    Column("reasons", JSON, nullable=False),
    Column("error", Text),
    UniqueConstraint("study_instance_uid", "instance_set_digest", "bundle_digest"),
    CheckConstraint(
        "state IN ('waiting', 'running', 'done', 'failed', 'refused', 'superseded')", name="state"
    ),
    Index("ix_jobs_due", "state", "due_at"),
    # Two jobs of one study never run at once: the later names the earlier as its predecessor.
    Index(
        "uq_jobs_running_study",
        "study_instance_uid",
        unique=True,
        sqlite_where=text("state = 'running'"),
        postgresql_where=text("state = 'running'"),
    ),
)

job_instances = Table(
    "job_instances",
    metadata,
    Column("job_id", Integer, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column(
        "sop_instance_uid",
        UID,
        ForeignKey("instances.sop_instance_uid", ondelete="CASCADE"),
        primary_key=True,
    ),
)

results = Table(
    "results",
    metadata,
    Column("sop_instance_uid", UID, primary_key=True),
    Column("job_id", Integer, ForeignKey("jobs.id"), nullable=False, index=True),
    Column("kind", String(16), nullable=False),
    Column("sop_class_uid", UID, nullable=False),
    Column("series_instance_uid", UID, nullable=False),
    Column("study_instance_uid", UID, nullable=False),
    Column("transfer_syntax_uid", UID, nullable=False),
    Column("path", Text, nullable=False),
    Column("sha256", SHA256, nullable=False),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("sop_instance_uid", UID, ForeignKey("results.sop_instance_uid"), nullable=False),
    Column("destination", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("due_at", UtcDateTime, nullable=False),
    Column("last_error", Text),
    Column("sent_at", UtcDateTime),
    UniqueConstraint("sop_instance_uid", "destination"),
    CheckConstraint("state IN ('owed', 'sent', 'committed', 'failed')", name="state"),
    Index("ix_deliveries_due", "state", "destination", "due_at"),
)
