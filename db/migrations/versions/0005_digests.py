"""Digests name their algorithm; all that were taken until now are of SHA-256.

SQLite makes the tables anew, for it changes no column's type: whoever runs this has it enforce no
foreign keys meanwhile.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TABLES = [sa.table(name, sa.column("digest")) for name in ("instances", "quarantine", "results")]
OLD_KEY, NEW_KEY = "uq_quarantine_sop_instance_uid_sha256", "uq_quarantine_sop_instance_uid_digest"


def upgrade() -> None:
    with op.batch_alter_table("quarantine") as batch:
        batch.drop_constraint(OLD_KEY, type_="unique")
    for table in TABLES:
        with op.batch_alter_table(table.name) as batch:
            batch.alter_column(
                "sha256",
                new_column_name="digest",
                existing_type=sa.String(length=64),
                existing_nullable=False,
                type_=sa.String(length=80),
            )
        op.execute(sa.update(table).values(digest=sa.literal("sha256:") + table.c.digest))
    with op.batch_alter_table("quarantine") as batch:
        batch.create_unique_constraint(op.f(NEW_KEY), ["sop_instance_uid", "digest"])


def downgrade() -> None:
    for table in TABLES:
        others = sa.select(table.c.digest).where(table.c.digest.not_like("sha256:%"))
        if op.get_bind().execute(others.limit(1)).first():
            raise RuntimeError(f"{table.name} has digests that the older version cannot read")
    with op.batch_alter_table("quarantine") as batch:
        batch.drop_constraint(NEW_KEY, type_="unique")
    for table in TABLES:
        op.execute(sa.update(table).values(digest=sa.func.substr(table.c.digest, 8)))
        with op.batch_alter_table(table.name) as batch:
            batch.alter_column(
                "digest",
                new_column_name="sha256",
                existing_type=sa.String(length=80),
                existing_nullable=False,
                type_=sa.String(length=64),
            )
    with op.batch_alter_table("quarantine") as batch:
        batch.create_unique_constraint(op.f(OLD_KEY), ["sop_instance_uid", "sha256"])
