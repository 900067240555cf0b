"""Brings the tables of a database to the newest revision."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import text

from db.engine import connect, writing

MIGRATIONS = Path(__file__).parent / "migrations"
ADVISORY_LOCK = 0x50455443


def upgrade(url: str) -> None:
    """Apply the missing revisions in one transaction; processes that start together take turns."""
    engine = connect(url)
    try:
        with writing(engine) as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(
                    text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK}
                )
            config = Config()
            config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    finally:
        engine.dispose()
