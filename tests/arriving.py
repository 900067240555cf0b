"""A file as the listener would hand it over, for tests that have no network."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from node.dicom import headers
from node.instance import Arrival


def kept(arrivals: list[Arrival]) -> Callable[[Arrival], None]:
    """Return what puts instances that the network hands over into the list, bytes and all."""
    return lambda one: arrivals.append(replace(one, part10=bytes(one.part10), sheet=None))


def arrival(path: Path, *, calling_ae_title: str = "PACS", association: str = "one") -> Arrival:
    """Return the file as an instance that came from a peer on this machine."""
    part10 = path.read_bytes()
    said = headers.identify(part10)
    return Arrival(
        part10=part10,
        sop_class_uid=said.sop_class_uid,
        sop_instance_uid=said.sop_instance_uid,
        transfer_syntax_uid=said.transfer_syntax_uid,
        calling_ae_title=calling_ae_title,
        peer="127.0.0.1:1",
        association=association,
    )
