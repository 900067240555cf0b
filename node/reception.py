"""Takes instances in, records what each association brought when it ends, and opens the journal."""

import logging
from collections.abc import Sequence
from pathlib import Path
from threading import Event

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from node import audit
from node.audit import Record
from node.config import Settings
from node.dicom import headers
from node.errors import Refused
from node.instance import Arrival
from node.intake import Clock, Intake
from node.journal import Journal
from node.store import Store
from node.trail import Receptions

logger = logging.getLogger(__name__)

JOURNALS_S = 60
"""How often somebody looks for the journals of nodes that crashed."""
JOURNAL_SHARE = 0.1
"""A journal takes no more of what the store may use of its disk."""


class Reception:
    """Between the listener and the intake; safe to call from many threads."""

    def __init__(self, intake: Intake, record: Record) -> None:
        self._intake = intake
        self._brought = Receptions(record)
        self._ended = Event()

    def receive(self, arrival: Arrival) -> None:
        """Return when the instance is safe; else raise Refused."""
        self._note(arrival, self._intake.receive(arrival))

    def receive_together(self, arrivals: Sequence[Arrival]) -> list[bool]:
        """Make those safe that need nothing but the journal; say of each whether it is."""
        studies = self._intake.receive_together(arrivals)
        for arrival, study_instance_uid in zip(arrivals, studies, strict=True):
            if study_instance_uid is not None:
                self._note(arrival, study_instance_uid)
        return [study is not None for study in studies]

    def closed(self, association: str) -> None:
        """Note that the association brings nothing more."""
        self._intake.closed(association)
        self._ended.set()
        self._brought.closed(association)

    def _note(self, arrival: Arrival, study_instance_uid: str) -> None:
        self._brought.received(
            arrival.association,
            lambda: audit.peer(arrival.calling_ae_title, arrival.peer.rpartition(":")[0]),
            study=study_instance_uid,
            sop_class=arrival.sop_class_uid,
        )

    def has_news(self) -> bool:
        """Whether an association ended since this was asked last: a study may be complete."""
        if not self._ended.is_set():
            return False
        self._ended.clear()  # which loses none: whoever ended before it is told of now
        return True


def build_intake(
    settings: Settings, engine: Engine, store: Store, *, clock: Clock, node: str | None = None
) -> Intake:
    """Build what makes instances safe, with a journal of this process where there is room.

    What a crash has left in a journal is filed before anything new comes.
    """
    journal = _open_journal(settings, store)
    intake = Intake(engine, store, headers.identify, clock, node=node, journal=journal)
    recover(settings, intake)
    return intake


def recover(settings: Settings, intake: Intake) -> None:
    """File what a crash has left in journals, as far as that is possible now."""
    try:
        intake.recover(_journals(settings))
    except (Refused, SQLAlchemyError, OSError):
        logger.exception("instances that a crash left in a journal cannot be filed yet")


def _journals(settings: Settings) -> Path:
    """Return where the journals of all nodes on this store lie."""
    return settings.store.root / "journal"


def _open_journal(settings: Settings, store: Store) -> Journal | None:
    size = settings.store.journal_bytes
    if size == 0:
        return None
    if size > JOURNAL_SHARE * (store.free_bytes() - settings.store.free_bytes_min):
        logger.warning("each instance is filed at once: the disk has no room for a journal")
        return None
    try:
        return Journal(_journals(settings), size)
    except OSError as error:
        logger.warning("each instance is filed at once: %s", error)
        return None
