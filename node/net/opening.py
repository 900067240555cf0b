"""Reads the A-ASSOCIATE-RQ of a caller, and tells whether storage is all that is asked for."""

import socket
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from time import monotonic

from pydicom.uid import UID
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
)
from pynetdicom.presentation import PresentationContext, negotiate_as_acceptor

from node.implementation import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from node.net import syntaxes
from node.net.deadline import HEADER_BYTES, LEAST_S, NEGOTIATION_BYTES

A_ASSOCIATE_RQ_TYPE = 0x01
APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"  # PS3.7 A.2.1
PROTOCOL_VERSION = 1
PLAIN = (
    MaximumLengthNotification,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
)
"""Other items of user information ask for something that needs an answer (PS3.7 D.3.3)."""
STORED = frozenset({syntaxes.VERIFICATION, *syntaxes.STORED})
REMEMBERED = 32
REMEMBERED_BYTES = 65536
"""Nobody who sends longer requests fills the memory with them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Opening:
    """What a caller asks for who wants storage and verification alone, and what we answer."""

    calling_ae_title: str
    called_ae_title: str
    acceptance: bytes
    """The A-ASSOCIATE-AC."""
    transfer_syntaxes: Mapping[int, str]
    """Of each presentation context that is accepted, by its identifier."""
    longest_answer: int
    """How long the peer lets our PDUs be; 0: as long as we like."""


class Openings:
    """Reads requests; the same one again, as a peer sends it every time, costs next to nothing.

    A request of 128 presentation contexts, as DCMTK makes it, takes some ten milliseconds.
    """

    def __init__(self, supported: Sequence[PresentationContext], max_pdu_bytes: int) -> None:
        self._supported = supported
        self._others = {one.abstract_syntax for one in supported} - STORED
        self._max_pdu_bytes = max_pdu_bytes
        self._remembered = lru_cache(maxsize=REMEMBERED)(self._read)
        self._lock = Lock()

    def of(self, request: bytes) -> Opening | None:
        """Return what is asked for where that is storage and verification alone, else None.

        What we do not support at all is rejected by either side alike and changes nothing.
        """
        if len(request) > REMEMBERED_BYTES:
            return self._read(request)
        with self._lock:  # who opens many at once after a start has the first one read, not all
            return self._remembered(request)

    def _read(self, request: bytes) -> Opening | None:
        asked = _for_storage(request, self._others)
        if asked is None:
            return None
        accepted, transfer_syntaxes = _acceptance(asked, self._supported, self._max_pdu_bytes)
        return Opening(
            calling_ae_title=str(asked.calling_ae_title).strip(),
            called_ae_title=str(asked.called_ae_title).strip(),
            acceptance=accepted,
            transfer_syntaxes=transfer_syntaxes,
            longest_answer=_longest_answer(asked),
        )


def receive(connection: socket.socket, until: float) -> bytes:
    """Return the first PDU of a caller, or what came of it until then."""
    request = bytearray()
    missing = HEADER_BYTES
    with suppress(OSError):
        while missing > 0 and monotonic() < until:
            connection.settimeout(max(until - monotonic(), LEAST_S))
            piece = connection.recv(missing)
            if not piece:
                break
            request += piece
            missing -= len(piece)
            if missing == 0 and len(request) == HEADER_BYTES:
                missing = _length(request)
    return bytes(request)


def _for_storage(request: bytes, others: AbstractSet[UID | None]) -> A_ASSOCIATE | None:
    """Return what is asked for where that is plain, and nothing of it among the others."""
    if not request or request[0] != A_ASSOCIATE_RQ_TYPE or len(request) < HEADER_BYTES:
        return None
    if len(request) != HEADER_BYTES + _length(request):
        return None
    pdu = A_ASSOCIATE_RQ()
    try:
        pdu.decode(request)
        asked = pdu.to_primitive()
    except Exception:  # noqa: BLE001  the peer chose what was raised; pynetdicom answers it
        return None
    proposed = asked.presentation_context_definition_list
    is_plain = (
        pdu.protocol_version == PROTOCOL_VERSION
        and asked.application_context_name == APPLICATION_CONTEXT
        and all(isinstance(item, PLAIN) for item in asked.user_information)
        and proposed
        and not any(one.abstract_syntax in others for one in proposed)
    )
    return asked if is_plain else None


def _acceptance(
    asked: A_ASSOCIATE, supported: Sequence[PresentationContext], max_pdu_bytes: int
) -> tuple[bytes, dict[int, str]]:
    """Return the A-ASSOCIATE-AC, and the transfer syntaxes of the contexts that it accepts."""
    results, _ = negotiate_as_acceptor(
        list(asked.presentation_context_definition_list), list(supported)
    )
    longest = MaximumLengthNotification()
    longest.maximum_length_received = max_pdu_bytes
    implementation = ImplementationClassUIDNotification()
    implementation.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    version = ImplementationVersionNameNotification()
    version.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    accepted = A_ASSOCIATE()
    accepted.application_context_name = APPLICATION_CONTEXT
    accepted.calling_ae_title = asked.calling_ae_title
    accepted.called_ae_title = asked.called_ae_title
    accepted.result, accepted.result_source = 0x00, 0x01
    accepted.presentation_context_definition_results_list = results
    accepted.user_information = [longest, implementation, version]
    pdu = A_ASSOCIATE_AC()
    pdu.from_primitive(accepted)
    taken = {
        one.context_id: str(one.transfer_syntax[0])
        for one in results
        if one.result == 0 and one.context_id
    }
    return pdu.encode(), taken


def _longest_answer(asked: A_ASSOCIATE) -> int:
    lengths = [
        item.maximum_length_received
        for item in asked.user_information
        if isinstance(item, MaximumLengthNotification)
    ]
    return lengths[0] or 0 if lengths else 0


def _length(request: bytes | bytearray) -> int:
    """Return the length that a PDU states, 0 where nobody would read one of that length."""
    length = int.from_bytes(request[2:HEADER_BYTES], "big")
    return length if request[0] == A_ASSOCIATE_RQ_TYPE and length <= NEGOTIATION_BYTES else 0
