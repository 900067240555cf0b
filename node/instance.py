"""The values that cross the node's seams: an instance received and an instance to be sent."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from node.sheet import Sheet


@dataclass(frozen=True, kw_only=True, slots=True)
class ReceivedInstance:
    """One instance as a peer sent it: its Part 10 bytes, untouched, and what identifies it."""

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    transfer_syntax_uid: str
    modality: str
    part10: bytes | memoryview
    calling_ae_title: str
    association: str
    """Identifies the association that brought it, unique over restarts."""
    received_at: datetime


class ResultKind(StrEnum):
    """What a result object is for."""

    REPORT = "SR"
    SEGMENTATION = "SEG"
    KEY_IMAGE = "SC"
    ROTATING_MIP = "SC-MIP"
    """The PET from all sides as one image of many frames."""
    EDITABLE = "SR-EDIT"
    """A report of lines that a reader may move: OHIF makes measurements of its own from them."""
    SALIENCY = "PM"
    """A map of where the network of one task looked; its object names the task."""
    REJECTION = "KOS"
    """A Key Object Selection that withdraws the results of an earlier version (IHE IOCM)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ResultObject:
    """One object that we made: whole Part 10 bytes, ready to be stored and sent."""

    kind: ResultKind
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str
    transfer_syntax_uid: str
    part10: bytes | memoryview


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrival:
    """One instance as the network hands it over: bytes, and what the request said of them.

    The bytes are lent: the next instance of the association may overwrite them.
    """

    part10: bytes | memoryview
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    calling_ae_title: str
    peer: str
    """Address of the peer: ``host:port``."""
    association: str
    """Identifies the association that brought it, unique over restarts."""
    sheet: Sheet | None = None
    """Where its bytes lie, if a journal can write them from there."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outgoing:
    """One instance to be sent: the file that holds it, and what has to be negotiated for it."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    path: Path
    study_instance_uid: str = ""
    """For the audit trail; ``""`` where nobody said."""
