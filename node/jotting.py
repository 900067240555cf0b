"""What intake writes into the journal of an instance, and reads from it after a crash."""

from dataclasses import KW_ONLY, dataclass
from datetime import datetime
from json import JSONEncoder, loads
from operator import attrgetter

from db.associations import Association
from node.instance import ReceivedInstance
from node.journal import Record, check_of
from node.sheet import Sheet

_WORDS = (
    "sop_class_uid",
    "sop_instance_uid",
    "study_instance_uid",
    "series_instance_uid",
    "transfer_syntax_uid",
    "modality",
    "calling_ae_title",
    "association",
)
_OF_INSTANCE = attrgetter(*_WORDS)
_ENCODE = JSONEncoder(check_circular=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Jotting:
    """An instance, and what its row needs besides."""

    instance: ReceivedInstance
    _: KW_ONLY
    peer: str
    """Address of the peer: ``host:port``."""
    node: str | None
    """The run of a node that took it."""
    sheet: Sheet | None = None
    """Where its bytes lie, if the journal can write them from there."""

    @property
    def size(self) -> int:
        """How many bytes its file will have."""
        return len(self.instance.part10)

    @property
    def sender(self) -> Association:
        """The association that brought it."""
        return Association(
            association=self.instance.association,
            calling_ae_title=self.instance.calling_ae_title,
            peer=self.peer,
            node=self.node,
        )


def record_of(jotting: Jotting) -> Record:
    """Return the record that stands for it in a journal."""
    instance = jotting.instance
    words = _OF_INSTANCE(instance)
    notes = (jotting.peer, jotting.node, instance.received_at.isoformat(), *words)
    return Record(
        notes=_ENCODE(notes).encode(),
        content=instance.part10,
        check=check_of(instance.part10),
        sheet=jotting.sheet,
    )


def jotting_of(record: Record) -> Jotting:
    """Return what the record stands for."""
    peer, node, received_at, *words = loads(record.notes)
    instance = ReceivedInstance(
        **dict(zip(_WORDS, words, strict=True)),
        received_at=datetime.fromisoformat(received_at),
        part10=record.content,
    )
    return Jotting(instance, peer=peer, node=node)
