"""Takes instances in, and records what each association brought when it ends."""

from contextlib import suppress
from queue import Empty, SimpleQueue

from node import audit
from node.audit import Record
from node.instance import Arrival
from node.intake import Intake
from node.trail import Receptions


class Reception:
    """Between the listener and the intake; safe to call from many threads."""

    def __init__(self, intake: Intake, record: Record) -> None:
        self._intake = intake
        self._brought = Receptions(record)
        self._ended: SimpleQueue[None] = SimpleQueue()

    def receive(self, arrival: Arrival) -> None:
        """Return when the instance is safe; else raise Refused."""
        study_instance_uid = self._intake.receive(arrival)
        self._brought.received(
            arrival.association,
            audit.peer(arrival.calling_ae_title, arrival.peer.rpartition(":")[0]),
            study=study_instance_uid,
            sop_class=arrival.sop_class_uid,
        )

    def closed(self, association: str) -> None:
        """Note that the association brings nothing more."""
        self._intake.closed(association)
        self._ended.put(None)
        self._brought.closed(association)

    def has_news(self) -> bool:
        """Whether an association ended since this was asked last: a study may be complete."""
        news = False
        with suppress(Empty):
            while True:
                self._ended.get_nowait()
                news = True
        return news
