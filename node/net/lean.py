"""Serves one association for storage and verification alone, with as little as that needs.

What pynetdicom's threads, queues and data sets cost is several times what storing itself costs.
What is negotiated, who is taken and what is stored is decided by the same code for both.
"""

import logging
import socket
import struct
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from ssl import SSLSocket
from threading import Event
from time import monotonic
from typing import NamedTuple, Protocol

from pynetdicom.presentation import PresentationContext

from node.config import Listener as Policy
from node.net import command, tls
from node.net.baton import Baton
from node.net.command import C_ECHO_RQ, Malformed, Request
from node.net.deadline import ABORT_S, HEADER_BYTES
from node.net.inbox import PIECE_BYTES, Gone, Inbox, Late
from node.net.opening import Opening, Openings
from node.net.part10 import file_head
from node.net.peers import Caller, Refusal
from node.net.session import COMMAND_BYTES, Session
from node.net.wire import sent_at_once
from node.sheet import Sheet

logger = logging.getLogger(__name__)

SUCCESS = 0x0000
P_DATA_TF, RELEASE_RQ, ABORT = 0x04, 0x05, 0x07
A_RELEASE_RP = bytes.fromhex("06 00 00000004 00000000")
A_ABORT = bytes.fromhex("07 00 00000004 00000200")  # PS3.8 9.3.8: by the service provider
A_ASSOCIATE_RJ = struct.Struct(">BxLxBBB")
PDU = struct.Struct(">BxL")
FRAGMENT = struct.Struct(">LBB")  # PS3.8 9.3.5.1 and E.2: length, context, control
IS_COMMAND, IS_LAST = 1, 2
IDLE_MOST = 4
"""So much memory of associations that have ended waits for the next one."""
GRACE_S = 0.2
DRAINED_BYTES = 65536


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """One instance as a request brought it."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    part10: bytes | memoryview | None
    """None where the request has no data set; not whole where it is too long."""
    sheet: Sheet | None = None
    """Where that lies, if a journal can write it from there."""
    is_too_long: bool = False


class Desk(Protocol):
    """Decides and keeps what associations bring; the same for all of them."""

    def enter(self, key: object, caller: Caller, port: int | None) -> Session | Refusal:
        """Take or refuse who calls."""

    def established(self, session: Session, caller: Caller) -> None:
        """Hear that the association was accepted."""

    def announced(self, sop_instance_uid: str) -> None:
        """Hear of an instance before its bytes come; raises nothing."""

    def store(self, session: Session, delivery: Delivery) -> tuple[int, str]:
        """Return status and comment; Success once the instance is safe."""

    def leave(self, key: object) -> Session | None:
        """Count the association no longer."""

    def ended(self, session: Session, how: str) -> None:
        """Hear how it ended."""


class _Released(Exception):
    """The peer asked for the release."""


class _Aborted(Exception):
    """The peer aborted."""


class _Memory(NamedTuple):
    """What one association receives into."""

    sheet: Sheet
    inbox: bytearray


class _Fragment(NamedTuple):
    context_id: int
    control: int
    length: int


class Lean:
    """Makes associations of those callers who ask for storage and verification alone."""

    def __init__(
        self, policy: Policy, supported: Sequence[PresentationContext], desk: Desk
    ) -> None:
        self._policy = policy
        self._openings = Openings(supported, policy.max_pdu_bytes)
        self._desk = desk
        self._idle: list[_Memory] = []
        self._baton = Baton()

    def association(self, connection: socket.socket, request: bytes) -> "LeanAssociation | None":
        """Return what serves this A-ASSOCIATE-RQ, or None where pynetdicom shall."""
        opening = self._openings.of(request)
        if opening is None:
            return None
        return LeanAssociation(
            connection,
            opening,
            policy=self._policy,
            desk=self._desk,
            memory=self._memory,
            baton=self._baton,
        )

    @contextmanager
    def _memory(self) -> Iterator["_Memory"]:
        """Lend memory, of an earlier association if there is any: fresh pages cost more."""
        try:
            memory = self._idle.pop()
        except IndexError:
            memory = _Memory(Sheet(), bytearray(PIECE_BYTES))
        yield memory
        memory.sheet.clear()
        if len(self._idle) < IDLE_MOST:
            self._idle.append(memory)


class LeanAssociation:
    """One association, from its request to its end, in the thread that calls ``serve``."""

    def __init__(
        self,
        connection: socket.socket,
        opening: Opening,
        *,
        policy: Policy,
        desk: Desk,
        memory: Callable[[], AbstractContextManager["_Memory"]],
        baton: Baton,
    ) -> None:
        self._connection = connection
        self._memory = memory
        self._opening = opening
        self._baton = baton
        self._policy = policy
        self._desk = desk
        self._stopping = Event()
        self._left = 0
        self._message_until: float | None = None

    def stop(self) -> None:
        """Have the association aborted by its own thread; an instance under way is answered."""
        self._stopping.set()
        with suppress(OSError):
            # Not the method of a TLS socket, which would take its session away from its reader.
            socket.socket.shutdown(self._connection, socket.SHUT_RD)

    def serve(self) -> None:
        """Negotiate, store and answer until the association ends; then the connection is closed."""
        try:
            self._connection.settimeout(self._policy.idle_timeout_s)
            self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            caller, port = self._caller()
            session = self._desk.enter(self, caller, port)
            if isinstance(session, Refusal):
                self._say(A_ASSOCIATE_RJ.pack(0x03, 4, *session.rejection.value))
            else:
                self._hold(session, caller)
        finally:
            self._close()

    def _hold(self, session: Session, caller: Caller) -> None:
        how = "broken"
        try:
            self._send(self._opening.acceptance)
            session.establish()
            self._desk.established(session, caller)
            with self._memory() as memory:
                how = self._converse(session, memory)
        except Gone:
            if self._stopping.is_set():
                how = "aborted"
                self._say(A_ABORT)
        finally:
            self._desk.leave(self)
            if how == "released":
                self._say(A_RELEASE_RP)
            if session.established:
                self._desk.ended(session, how)

    def _converse(self, session: Session, memory: "_Memory") -> str:
        """Answer one message after the other; return how it ended."""
        inbox = Inbox(self._connection, self._policy.idle_timeout_s, memory.inbox, self._baton)
        try:
            with self._baton.carried():
                while True:
                    self._message(inbox, session, memory.sheet)
        except _Released:
            return "released"
        except _Aborted:
            return "aborted"
        except (Malformed, Late) as fault:
            logger.warning("gave up %s: it %s", session.peer, fault)
        self._say(A_ABORT)
        return "aborted"

    def _message(self, inbox: Inbox, session: Session, sheet: Sheet) -> None:
        context_id, command_set = self._command_set(inbox)
        request = command.read(command_set)
        if request.command == C_ECHO_RQ:
            self._message_until = None
            status, comment = SUCCESS, ""
        else:
            self._desk.announced(request.sop_instance_uid)
            delivery = self._delivery(inbox, sheet, context_id, request)
            self._message_until = None
            with self._baton.laid_down():
                status, comment = self._desk.store(session, delivery)
            sheet.clear()
        self._answer(request, context_id, status, comment)

    def _command_set(self, inbox: Inbox) -> tuple[int, bytes]:
        """Return the next command set and the context that it came in."""
        pieces: list[bytes] = []
        size, context_id = 0, None
        while True:
            fragment = self._fragment(inbox)
            if not fragment.control & IS_COMMAND:
                raise Malformed("sent a data set before its command")
            self._message_until = self._message_until or (
                monotonic() + self._policy.message_timeout_s
            )
            context_id = self._same_context(fragment, context_id)
            size += fragment.length
            if size > COMMAND_BYTES:
                raise Malformed(f"sent a command of more than {COMMAND_BYTES} bytes")
            pieces += map(bytes, inbox.pieces(fragment.length))
            if fragment.control & IS_LAST:
                return context_id, b"".join(pieces)

    def _delivery(self, inbox: Inbox, sheet: Sheet, context_id: int, request: Request) -> Delivery:
        """Return what the request brings, in memory that the next one overwrites."""
        transfer_syntax_uid = self._opening.transfer_syntaxes[context_id]
        size = 0
        if request.has_data_set:
            sheet.add(
                file_head(
                    sop_class_uid=request.sop_class_uid,
                    sop_instance_uid=request.sop_instance_uid,
                    transfer_syntax_uid=transfer_syntax_uid,
                )
            )
            size = self._data_set(inbox, sheet, context_id)
        return Delivery(
            sop_class_uid=request.sop_class_uid,
            sop_instance_uid=request.sop_instance_uid,
            transfer_syntax_uid=transfer_syntax_uid,
            part10=sheet.content if request.has_data_set else None,
            sheet=sheet,
            is_too_long=size > self._policy.max_instance_bytes,
        )

    def _data_set(self, inbox: Inbox, sheet: Sheet, context_id: int) -> int:
        """Read the data set and return its size; one that is too long is not kept."""
        size = 0
        while True:
            fragment = self._fragment(inbox)
            if fragment.control & IS_COMMAND:
                raise Malformed("sent a command within a data set")
            self._same_context(fragment, context_id)
            size += fragment.length
            if size <= self._policy.max_instance_bytes:
                inbox.pour(fragment.length, sheet)
            else:
                sheet.clear()
                deque(inbox.pieces(fragment.length), maxlen=0)
            if fragment.control & IS_LAST:
                return size

    def _same_context(self, fragment: _Fragment, context_id: int | None) -> int:
        if fragment.context_id not in self._opening.transfer_syntaxes:
            raise Malformed("used a presentation context that was not accepted")
        if context_id not in {None, fragment.context_id}:
            raise Malformed("changed the presentation context within a message")
        return fragment.context_id

    def _fragment(self, inbox: Inbox) -> _Fragment:
        """Return the head of the next fragment, whose bytes follow in the inbox."""
        if self._left == 0:
            self._left = self._begin_pdu(inbox)
        if self._left < FRAGMENT.size:
            raise Malformed("sent a fragment without a header")
        length, context_id, control = FRAGMENT.unpack(inbox.exactly(FRAGMENT.size))
        if length < 2 or length + 4 > self._left:
            raise Malformed("sent a fragment longer than its PDU, or of no bytes")
        self._left -= length + 4
        return _Fragment(context_id, control, length - 2)

    def _begin_pdu(self, inbox: Inbox) -> int:
        """Return the length of the next P-DATA-TF."""
        inbox.begin()
        kind, length = PDU.unpack(inbox.exactly(HEADER_BYTES))
        if kind == RELEASE_RQ:
            raise _Released
        if kind == ABORT:
            raise _Aborted
        if kind != P_DATA_TF or length == 0:
            raise Malformed(f"sent a PDU of type {kind:#04x} and {length} bytes")
        if length > self._policy.max_pdu_bytes:
            raise Malformed(f"announced a PDU of {length} bytes")
        if self._message_until is not None and monotonic() > self._message_until:
            raise Malformed("takes too long for a message")
        inbox.begin()
        return int(length)

    def _answer(self, request: Request, context_id: int, status: int, comment: str) -> None:
        told = command.answer(request, status, comment)
        most = self._opening.longest_answer - FRAGMENT.size
        size = most if 0 < most < len(told) else len(told)
        pdus = []
        for at in range(0, len(told), size):
            piece = told[at : at + size]
            control = IS_COMMAND | (IS_LAST if at + size >= len(told) else 0)
            item = FRAGMENT.pack(len(piece) + 2, context_id, control) + piece
            pdus.append(PDU.pack(P_DATA_TF, len(item)) + item)
        said = b"".join(pdus)
        gone = self._sent_at_once(said)
        if gone < len(said):
            with self._baton.laid_down():
                self._send(said[gone:])

    def _send(self, pdu: bytes) -> None:
        try:
            self._connection.sendall(pdu)
        except OSError as error:
            raise Gone from error

    def _sent_at_once(self, pdu: bytes) -> int:
        try:
            return sent_at_once(self._connection, pdu)
        except OSError as error:
            raise Gone from error

    def _say(self, pdu: bytes) -> None:
        """Send a last word, which the peer need not hear."""
        with suppress(OSError):
            self._connection.settimeout(ABORT_S)
            self._connection.sendall(pdu)

    def _close(self) -> None:
        """Let the peer close first (PS3.8 9.2, Sta13), but not for ever; then close.

        What it sends meanwhile is dropped: were it left unread, our last word would be lost.
        """
        with suppress(OSError):
            if not self._drained(GRACE_S):
                socket.socket.shutdown(self._connection, socket.SHUT_WR)
                self._drained(ABORT_S)
        self._connection.close()

    def _drained(self, seconds: float) -> bool:
        """Say whether the peer closes within so many seconds."""
        until = monotonic() + seconds
        with suppress(TimeoutError):
            while (left := until - monotonic()) > 0:
                self._connection.settimeout(left)
                if not self._connection.recv(DRAINED_BYTES):
                    return True
        return False

    def _caller(self) -> tuple[Caller, int]:
        address, port = self._connection.getpeername()[:2]
        secured = self._connection if isinstance(self._connection, SSLSocket) else None
        caller = Caller(
            calling_ae_title=self._opening.calling_ae_title,
            called_ae_title=self._opening.called_ae_title,
            address=str(address),
            tls=secured is not None,
            certificate=None if secured is None else tls.shown(secured),
        )
        return caller, int(port)
