"""Storage commitment both ways, and deliveries that are claimed.

What was sent before was final at that time, and stays so: its evidence is none.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("deliveries", sa.Column("claimed_by", sa.String(length=128), nullable=True))
    op.add_column("deliveries", sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True))
    # A check of the column itself: SQLite adds none to a table that is there.
    op.execute(
        "ALTER TABLE deliveries ADD COLUMN evidence VARCHAR(16) CONSTRAINT ck_deliveries_evidence "
        "CHECK (evidence IN ('commitment', 'find', 'none'))"
    )
    op.add_column(
        "deliveries", sa.Column("committed_at", sa.DateTime(timezone=True), nullable=True)
    )
    for count in ("asks", "rejections"):
        op.add_column(
            "deliveries", sa.Column(count, sa.Integer(), server_default="0", nullable=False)
        )
    op.add_column("deliveries", sa.Column("commitment_error", sa.Text(), nullable=True))
    op.execute("UPDATE deliveries SET evidence = 'none' WHERE state = 'sent'")
    op.create_table(
        "commitment_requests",
        sa.Column("transaction_uid", sa.String(length=64), nullable=False),
        sa.Column("destination", sa.String(length=64), nullable=False),
        sa.Column("ae_title", sa.String(length=16), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("transaction_uid", name=op.f("pk_commitment_requests")),
    )
    op.create_table(
        "commitment_items",
        sa.Column("transaction_uid", sa.String(length=64), nullable=False),
        sa.Column("delivery_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["transaction_uid"],
            ["commitment_requests.transaction_uid"],
            name=op.f("fk_commitment_items_transaction_uid"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["delivery_id"],
            ["deliveries.id"],
            name=op.f("fk_commitment_items_delivery_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("transaction_uid", "delivery_id", name=op.f("pk_commitment_items")),
    )
    op.create_index(
        op.f("ix_commitment_items_delivery_id"), "commitment_items", ["delivery_id"], unique=False
    )
    op.create_table(
        "pledges",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("calling_ae_title", sa.String(length=16), nullable=False),
        sa.Column("transaction_uid", sa.String(length=64), nullable=False),
        sa.Column("association", sa.String(length=64), nullable=False),
        sa.Column("instances", sa.JSON(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("reasons", sa.JSON(), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("claimed_by", sa.String(length=128), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('asked', 'checked', 'reported', 'abandoned')", name=op.f("ck_pledges_state")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pledges")),
        sa.UniqueConstraint(
            "calling_ae_title",
            "transaction_uid",
            "digest",
            name=op.f("uq_pledges_calling_ae_title_transaction_uid_digest"),
        ),
    )
    op.create_index("ix_pledges_due", "pledges", ["state", "due_at"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_pledges_due", table_name="pledges")
    op.drop_table("pledges")
    op.drop_index(op.f("ix_commitment_items_delivery_id"), table_name="commitment_items")
    op.drop_table("commitment_items")
    op.drop_table("commitment_requests")
    for column in (
        "commitment_error",
        "rejections",
        "asks",
        "committed_at",
        "evidence",
        "lease_until",
        "claimed_by",
    ):
        op.drop_column("deliveries", column)
