"""Serves one association for storage and verification alone, with as little as that needs.

What pynetdicom's threads, queues and data sets cost is several times what storing itself costs.
What is negotiated, who is taken and what is stored is decided by the same code for both.
"""

import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from ssl import SSLSocket
from threading import Event
from time import monotonic
from typing import NamedTuple, Protocol

from pynetdicom.presentation import PresentationContext

from node.config import Listener as Policy
from node.net import tls
from node.net.conversation import Brought, Conversation, Delivery, Status, send
from node.net.deadline import ABORT_S
from node.net.inbox import PIECE_BYTES, Gone, Inbox
from node.net.opening import Opening, Openings
from node.net.peers import Caller, Refusal
from node.net.rounds import Rounds, alone
from node.net.session import Session
from node.sheet import Sheet

A_RELEASE_RP = bytes.fromhex("06 00 00000004 00000000")
A_ABORT = bytes.fromhex("07 00 00000004 00000200")  # PS3.8 9.3.8: by the service provider
A_ASSOCIATE_RJ = struct.Struct(">BxLxBBB")
IDLE_MOST = 2
"""So much memory of associations that have ended waits for the next one."""
GRACE_S = 0.2
DRAINED_BYTES = 65536


class Desk(Protocol):
    """Decides and keeps what associations bring; the same for all of them."""

    def enter(self, key: object, caller: Caller, port: int | None) -> Session | Refusal:
        """Take or refuse who calls."""

    def established(self, session: Session, caller: Caller) -> None:
        """Hear that the association was accepted."""

    def store(self, session: Session, delivery: Delivery) -> Status:
        """Return status and comment; Success once the instance is safe."""

    def store_together(self, brought: Brought) -> Sequence[Status | None]:
        """Store at once what is soon done; None stands for what ``store`` is to be asked for."""

    def leave(self, key: object) -> Session | None:
        """Count the association no longer."""

    def ended(self, session: Session, how: str) -> None:
        """Hear how it ended."""


class _Memory(NamedTuple):
    """What one association receives into."""

    sheet: Sheet
    inbox: bytearray


class Lean:
    """Makes associations of those callers who ask for storage and verification alone."""

    def __init__(
        self, policy: Policy, supported: Sequence[PresentationContext], desk: Desk
    ) -> None:
        self._policy = policy
        self._openings = Openings(supported, policy.max_pdu_bytes)
        self._desk = desk
        self._idle: list[_Memory] = []
        self._rounds = Rounds(desk.store_together, desk.store)

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
            rounds=self._rounds,
        )

    def close(self) -> None:
        """End the thread that reads, once all associations have ended."""
        self._rounds.close()

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
        rounds: Rounds,
    ) -> None:
        self._connection = connection
        self._memory = memory
        self._opening = opening
        self._rounds = rounds
        self._policy = policy
        self._desk = desk
        self._stopping = Event()

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
            send(self._connection, self._opening.acceptance)
            session.establish()
            self._desk.established(session, caller)
            with self._memory() as memory:
                how = self._converse(session, memory)
            if how == "given up":
                self._say(A_ABORT)
                how = "aborted"
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
        conversation = Conversation(
            self._connection,
            self._opening,
            session,
            policy=self._policy,
            inbox=Inbox(self._connection, self._policy.idle_timeout_s, memory.inbox),
            sheet=memory.sheet,
        )
        if isinstance(self._connection, SSLSocket):  # its bytes are not told of by the system
            return alone(conversation, self._desk.store)
        return self._rounds.serve(conversation)

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
