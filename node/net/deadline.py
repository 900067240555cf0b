"""A socket below an association that no peer can stall or flood.

pynetdicom reads a PDU without a limit of time and without one of size: a peer that sends half of
one would hold its threads for ever, and one that announces 4 GB would fill the memory.
"""

import contextlib
import logging
import socket
from dataclasses import dataclass
from ssl import SSLContext
from time import monotonic

from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.transport import AddressInformation, AssociationSocket
from typing_extensions import override

from node.net.upper_layer import replace_state_machine

logger = logging.getLogger(__name__)

HEADER_BYTES = 6  # PS3.8 9.3.1: type, reserved, length
P_DATA_TF = 0x04
PDU_TYPES = range(0x01, 0x08)
NEGOTIATION_BYTES = 1 << 20
"""An A-ASSOCIATE-RQ with 128 presentation contexts and every transfer syntax has some 70 kB."""
LEAST_S = 0.01
ABORT_S = 1.0
"""How long a peer that was given up may take to read our A-ABORT."""
INVALID_PDU = "Evt19"  # PS3.8 9.2.1: answered with A-ABORT
BROKEN = "Evt17"


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """What one peer may take of time and memory."""

    begin_s: float | None
    """From the connection to the end of the A-ASSOCIATE-RQ; None where we are who calls."""
    pdu_s: float
    """From the first byte of a PDU to its last, in either direction."""
    pdu_bytes: int


class BoundedSocket(AssociationSocket):
    """Gives a peer up, by A-ABORT, whose PDU is too long or takes too long."""

    def __init__(
        self,
        association: Association,
        bounds: Bounds,
        *,
        client_socket: socket.socket | None = None,
        address: AddressInformation | None = None,
        unread: bytes = b"",
    ) -> None:
        super().__init__(association, client_socket=client_socket, address=address)
        self._unread = unread
        self._bounds = bounds
        self._begin_until = None if bounds.begin_s is None else monotonic() + bounds.begin_s
        self._until = 0.0
        self._body_bytes: int | None = None
        self._given_up = False

    @property
    @override
    def ready(self) -> bool:
        """Whether there is something to read; what was read before the association was, too."""
        return bool(self._unread) or bool(super().ready)

    @override
    def recv(self, nr_bytes: int) -> bytearray:
        """Read a header or a body, as pynetdicom asks for them in turn.

        Returns less where the peer has gone or is given up.
        """
        if self._body_bytes is None:
            self._until = self._deadline()
            header = self._receive(HEADER_BYTES)
            if len(header) == HEADER_BYTES and header[0] in PDU_TYPES:
                self._body_bytes = self._longest(header[0])
            return header
        longest, self._body_bytes = self._body_bytes, None
        if nr_bytes > longest:
            self._give_up(f"announced a PDU of {nr_bytes} bytes, of at most {longest}")
            return bytearray()
        return self._receive(nr_bytes)

    @override
    def send(self, bytestream: bytes) -> None:
        """Send one PDU; the peer has gone where it does not take it in time."""
        until = monotonic() + (ABORT_S if self._given_up else self._bounds.pdu_s)
        rest = memoryview(bytestream)
        try:
            while rest and self.socket is not None:
                self.socket.settimeout(max(until - monotonic(), LEAST_S))
                rest = rest[self.socket.send(rest) :]
        except TimeoutError:
            logger.warning("%s does not take our answer: given up", self._who())
            self._given_up = True
        except OSError:
            pass  # Gone; what follows from it is the same as for a peer that takes nothing.
        if rest:
            self.event_queue.put(BROKEN)
        else:
            evt.trigger(self.assoc, evt.EVT_DATA_SENT, {"data": bytestream})

    @override
    def _shutdown_socket(self) -> None:
        """Close the socket; pynetdicom leaves one that was never connected open."""
        if self.socket is not None:
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_RDWR)
            self.socket.close()

    def _deadline(self) -> float:
        if self._begin_until is not None and not self.assoc.is_established:
            return self._begin_until
        return monotonic() + self._bounds.pdu_s

    def _longest(self, pdu_type: int) -> int:
        return self._bounds.pdu_bytes if pdu_type == P_DATA_TF else NEGOTIATION_BYTES

    def _receive(self, nr_bytes: int) -> bytearray:
        received = bytearray(nr_bytes)
        filled = min(nr_bytes, len(self._unread))
        received[:filled], self._unread = self._unread[:filled], self._unread[filled:]
        try:
            while filled < nr_bytes and self.socket is not None and not self._given_up:
                self.socket.settimeout(max(self._until - monotonic(), LEAST_S))
                count = self.socket.recv_into(memoryview(received)[filled:])
                if count == 0:
                    break
                filled += count
                if filled < nr_bytes and monotonic() > self._until:
                    raise TimeoutError  # noqa: TRY301  a byte now and then is as late as none
        except TimeoutError:
            self._give_up("did not end its PDU in time")
        except OSError:
            pass  # Gone; pynetdicom sees that something is missing.
        return received if filled == nr_bytes else received[:filled]

    def _give_up(self, why: str) -> None:
        if not self._given_up:
            logger.warning("%s %s: given up", self._who(), why)
            self._given_up = True
            self.event_queue.put(INVALID_PDU)

    def _who(self) -> str:
        peer = self.assoc.requestor if self.assoc.is_acceptor else self.assoc.acceptor
        return f"{peer.address}:{peer.port}"


class CallingEntity(AE):
    """Our application entity when it opens associations, over sockets with bounds."""

    def __init__(self, ae_title: str, bounds: Bounds) -> None:
        super().__init__(ae_title=ae_title)
        self._bounds = bounds

    @override
    def _create_socket(
        self,
        assoc: Association,
        address: AddressInformation,
        tls_args: tuple[SSLContext, str] | None,
    ) -> AssociationSocket:
        bounded = BoundedSocket(assoc, self._bounds, address=address)
        bounded.tls_args = tls_args
        replace_state_machine(assoc)
        return bounded


def replace_socket(
    association: Association, bounds: Bounds, connection: socket.socket, unread: bytes
) -> None:
    """Put bounds below an association that pynetdicom has just made over ``connection``.

    ``unread`` has been received already, and comes before what the connection brings.
    """
    # The first socket has told of the connection, which the second tells of again.
    association.dul.event_queue.get_nowait()
    association.dul.socket = BoundedSocket(
        association, bounds, client_socket=connection, unread=unread
    )
    replace_state_machine(association)


def cut(association: Association) -> None:
    """End the connection below an association, and wake whatever waits for the peer."""
    connection = _connection(association)
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


def close(association: Association) -> None:
    """Give back the connection of an association that came to nothing."""
    connection = _connection(association)
    if connection is not None:
        connection.close()


def _connection(association: Association) -> socket.socket | None:
    wrapper = association.dul.socket
    return None if wrapper is None else wrapper.socket
