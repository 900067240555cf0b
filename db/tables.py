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
DIGEST = String(80)  # "sha256:" or "blake3:" and 64 hex digits

associations = Table(
    "associations",
    metadata,
    Column("association", String(64), primary_key=True),
    Column("calling_ae_title", AE_TITLE, nullable=False),
    Column("peer", String(64), nullable=False),
    Column("opened_at", UtcDateTime, nullable=False),
    Column("last_at", UtcDateTime, nullable=False),
    Column("released_at", UtcDateTime),
    # The run of the node that it was opened with; see nodes.
    Column("node", String(128)),
)

# One row for each run of a node that listens: while its lease holds, its associations may be open.
nodes = Table(
    "nodes",
    metadata,
    Column("run", String(128), primary_key=True),
    Column("name", String(128), nullable=False),
    Column("alive_until", UtcDateTime, nullable=False),
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
    Column("digest", DIGEST, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("calling_ae_title", AE_TITLE, nullable=False),
    Column("association", String(64), nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
    # When we last told a peer that we keep it, so that the peer may delete it.
    Column("pledged_at", UtcDateTime),
    # Retention: the file is about to go, then it is gone and the row says what it was.
    Column("deleting_at", UtcDateTime),
    Column("deleted_at", UtcDateTime),
    Index(None, "study_instance_uid", "series_instance_uid"),
    Index(
        "ix_instances_deleting",
        "deleting_at",
        sqlite_where=text("deleting_at IS NOT NULL"),
        postgresql_where=text("deleting_at IS NOT NULL"),
    ),
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("sop_instance_uid", UID, nullable=False),
    Column("study_instance_uid", UID, nullable=False),
    Column("path", Text, nullable=False),
    Column("digest", DIGEST, nullable=False),
    Column("calling_ae_title", AE_TITLE, nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
    Column("reason", Text, nullable=False),
    Column("size", BigInteger),  # unknown of what came before sizes were kept
    Column("deleting_at", UtcDateTime),
    UniqueConstraint("sop_instance_uid", "digest"),
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
    # Retention took the images away, and none of them came again.
    Column("deleted_at", UtcDateTime),
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

# What the time of each attempt at a job was spent on.
attempts = Table(
    "attempts",
    metadata,
    Column("job_id", Integer, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("began_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime),
    Column("stages", JSON(none_as_null=True)),
    # The trace of the job that ended with this attempt was exported.
    Column("traced_at", UtcDateTime),
    Index(None, "began_at"),
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
    Column("digest", DIGEST, nullable=False),
    Column("size", BigInteger),  # unknown of what was made before sizes were kept
    Column("pledged_at", UtcDateTime),
    Column("deleting_at", UtcDateTime),
    Column("deleted_at", UtcDateTime),
    Index(
        "ix_results_deleting",
        "deleting_at",
        sqlite_where=text("deleting_at IS NOT NULL"),
        postgresql_where=text("deleting_at IS NOT NULL"),
    ),
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
    # Which node sends it or asks about it just now, and until when nobody else does.
    Column("claimed_by", String(128)),
    Column("lease_until", UtcDateTime),
    # What says that the destination keeps it; with one of them the delivery is over.
    Column("evidence", String(16)),
    Column("committed_at", UtcDateTime),
    # How often its commitment was asked for since it was sent, and how often it was refused.
    Column("asks", Integer, nullable=False, server_default="0"),
    Column("rejections", Integer, nullable=False, server_default="0"),
    Column("commitment_error", Text),
    UniqueConstraint("sop_instance_uid", "destination"),
    CheckConstraint("state IN ('owed', 'sent', 'committed', 'failed')", name="state"),
    CheckConstraint("evidence IN ('commitment', 'find', 'none')", name="evidence"),
    Index("ix_deliveries_due", "state", "destination", "due_at"),
)

commitment_requests = Table(
    "commitment_requests",
    metadata,
    Column("transaction_uid", UID, primary_key=True),
    Column("destination", String(64), nullable=False),
    Column("ae_title", AE_TITLE, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("asked_at", UtcDateTime),
    Column("answered_at", UtcDateTime),
)

# What a request still waits for; a row goes when the report, or anything else, settled it.
commitment_items = Table(
    "commitment_items",
    metadata,
    Column(
        "transaction_uid",
        UID,
        ForeignKey("commitment_requests.transaction_uid", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column(
        "delivery_id",
        Integer,
        ForeignKey("deliveries.id", ondelete="CASCADE"),
        primary_key=True,
        index=True,
    ),
)

# What peers asked us to commit, and how far they have been told.
pledges = Table(
    "pledges",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("calling_ae_title", AE_TITLE, nullable=False),
    Column("transaction_uid", UID, nullable=False),
    Column("association", String(64), nullable=False),
    # Pairs of SOP Class UID and SOP Instance UID, their digest, and a failure reason for each.
    Column("instances", JSON, nullable=False),
    Column("digest", SHA256, nullable=False),
    Column("reasons", JSON(none_as_null=True)),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("due_at", UtcDateTime, nullable=False),
    Column("claimed_by", String(128)),
    Column("lease_until", UtcDateTime),
    Column("last_error", Text),
    Column("created_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime),
    UniqueConstraint("calling_ae_title", "transaction_uid", "digest"),
    CheckConstraint("state IN ('asked', 'checked', 'reported', 'abandoned')", name="state"),
    Index("ix_pledges_due", "state", "due_at"),
)
