"""Retention, sizes of all files, and which run of which node opened an association.

Associations that are open belong to a node that was stopped for the upgrade: they are closed.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

DELETING = sa.text("deleting_at IS NOT NULL")


def upgrade() -> None:
    op.create_table(
        "nodes",
        sa.Column("run", sa.String(length=128), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("alive_until", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("run", name=op.f("pk_nodes")),
    )
    op.add_column("associations", sa.Column("node", sa.String(length=128), nullable=True))
    op.execute("UPDATE associations SET released_at = last_at WHERE released_at IS NULL")
    op.add_column("studies", sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True))
    for table in ("instances", "results", "quarantine"):
        op.add_column(table, sa.Column("deleting_at", sa.DateTime(timezone=True), nullable=True))
    for table in ("instances", "results"):
        op.add_column(table, sa.Column("pledged_at", sa.DateTime(timezone=True), nullable=True))
        op.add_column(table, sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True))
        op.create_index(
            f"ix_{table}_deleting",
            table,
            ["deleting_at"],
            unique=False,
            sqlite_where=DELETING,
            postgresql_where=DELETING,
        )
    for table in ("results", "quarantine"):
        op.add_column(table, sa.Column("size", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    for table in ("results", "quarantine"):
        op.drop_column(table, "size")
    for table in ("instances", "results"):
        op.drop_index(f"ix_{table}_deleting", table_name=table)
        op.drop_column(table, "deleted_at")
        op.drop_column(table, "pledged_at")
    for table in ("instances", "results", "quarantine"):
        op.drop_column(table, "deleting_at")
    op.drop_column("studies", "deleted_at")
    op.drop_column("associations", "node")
    op.drop_table("nodes")
