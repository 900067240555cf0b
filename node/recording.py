"""Builds the audit trail of one process, as the settings say."""

import hashlib
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from db import instances
from db.engine import connect, reading
from node import audit
from node.audit import Origin, Record
from node.config import Settings
from node.dicom.headers import patient_id
from node.errors import NotUnderstood
from node.net.syslog import Syslog
from node.store import Store
from node.trail import PatientId, Trail, no_patient

NONE_YET = "none"


@contextmanager
def trail(settings: Settings, *, clock: Callable[[], datetime]) -> Iterator[Record]:
    """Open the trail for as long as the block lasts; what it gives records an event."""
    wanted = settings.audit
    origin = Origin(
        source_id=wanted.source_id,
        site=wanted.site,
        ae_title=settings.listener.ae_title,
        process_id=os.getpid(),
    )
    collector = None if wanted.remote is None else Syslog(wanted.remote)
    kept = Trail(
        origin,
        clock,
        file=wanted.file,
        send=None if collector is None else collector.send,
        queue_length=wanted.queue_length,
        patient_id=_patient_ids(settings) if wanted.patient_id else no_patient,
    )
    try:
        yield kept.record
    finally:
        kept.close()
        if collector is not None:
            collector.close()


@contextmanager
def running(settings: Settings, record: Record) -> Iterator[None]:
    """Record that the node starts and ends, and whether its settings are those of the last time."""
    record(audit.application_started())
    before, after = _remembered_digest(settings)
    if before != after:
        record(audit.settings_changed(before, after))
    yield
    record(audit.application_stopped())


def settings_digest(settings: Settings) -> str:
    """Return a digest of all settings; a password in the URL of the database is left out."""
    database = settings.database.model_copy(update={"url": settings.database.shown})
    told = settings.model_copy(update={"database": database}).model_dump_json()
    return f"sha256:{hashlib.sha256(told.encode()).hexdigest()[:16]}"


def _remembered_digest(settings: Settings) -> tuple[str, str]:
    """Return the digest of the last start on this host and the present one, and keep this."""
    kept = settings.store.root / "audit" / f"{socket.gethostname()}.settings"
    after = settings_digest(settings)
    before = kept.read_text(encoding="ascii").strip() if kept.exists() else NONE_YET
    if before != after:
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(after + "\n", encoding="ascii")
    return before, after


def _patient_ids(settings: Settings) -> PatientId:
    store = Store(settings.store.root, settings.store.free_bytes_min)
    engines: list[Engine] = []

    def find(study_instance_uid: str) -> str:
        if not engines:
            engines.append(connect(settings.database.opened(os.environ)))
        try:
            with reading(engines[0]) as connection:
                rows = instances.to_analyze(connection, study_instance_uid)
                paths: list[Path] = [store.path(row.path) for row in rows[:1]]
            return patient_id(paths[0]) if paths else ""
        except (SQLAlchemyError, NotUnderstood):
            return ""

    return find
