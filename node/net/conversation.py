"""Talks with one peer about storage and verification, message after message (PS3.7 9.3, PS3.8 9.3).

Written as steps: whoever goes through them waits for the peer's bytes, has instances kept and does
what may take long, in a thread of the association's own or in one for many.
"""

import logging
import socket
import struct
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import NamedTuple, TypeAlias, TypeVar

from node.config import Listener as Policy
from node.net import command
from node.net.command import C_ECHO_RQ, Malformed, Request
from node.net.deadline import HEADER_BYTES
from node.net.inbox import Gone, Inbox, Late
from node.net.opening import Opening
from node.net.part10 import file_head
from node.net.session import COMMAND_BYTES, Session
from node.net.wire import sent_at_once
from node.sheet import Sheet

logger = logging.getLogger(__name__)

SUCCESS = 0x0000
P_DATA_TF, RELEASE_RQ, ABORT = 0x04, 0x05, 0x07
PDU = struct.Struct(">BxL")
FRAGMENT = struct.Struct(">LBB")  # PS3.8 9.3.5.1 and E.2: length, context, control
IS_COMMAND, IS_LAST = 1, 2


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


Status: TypeAlias = tuple[int, str]
"""Of a response: Status and Error Comment."""
Brought: TypeAlias = Sequence[tuple[Session, Delivery]]
"""What several associations bring at once."""
Work: TypeAlias = Callable[[], Status | None]
"""What may take long; raises Gone where the peer has gone."""
Asked: TypeAlias = Delivery | Work | None
"""What a step waits for: the status of an instance, the end of some work, or bytes of the peer."""
Outcome = TypeVar("Outcome")
Steps: TypeAlias = Generator[Asked, Status | None, Outcome]


class _Released(Exception):
    """The peer asked for the release."""


class _Aborted(Exception):
    """The peer aborted."""


class _Fragment(NamedTuple):
    context_id: int
    control: int
    length: int


class Conversation:
    """What is said on one association between its acceptance and its end."""

    def __init__(
        self,
        connection: socket.socket,
        opening: Opening,
        session: Session,
        *,
        policy: Policy,
        inbox: Inbox,
        sheet: Sheet,
    ) -> None:
        self.connection = connection
        self.session = session
        self._opening = opening
        self._policy = policy
        self._inbox = inbox
        self._sheet = sheet
        self._left = 0
        self._message_until: float | None = None

    @property
    def until(self) -> float:
        """When what is waited for is late, by the monotonic clock."""
        return self._inbox.until

    def steps(self) -> Steps[str]:
        """Answer one message after the other; return how it ended.

        Raises Gone where the peer has gone, and lets ``Late`` be thrown in while bytes are awaited.
        """
        try:
            while True:
                yield from self._message()
        except _Released:
            return "released"
        except _Aborted:
            return "aborted"
        except (Malformed, Late) as fault:
            logger.warning("gave up %s: it %s", self.session.peer, fault)
        return "given up"

    def _message(self) -> Steps[None]:
        context_id, command_set = yield from self._command_set()
        request = command.read(command_set)
        if request.command == C_ECHO_RQ:
            self._message_until = None
            status: Status | None = (SUCCESS, "")
        else:
            delivery = yield from self._delivery(context_id, request)
            self._message_until = None
            status = yield delivery
            self._sheet.clear()
        assert status is not None, "a delivery is answered with its status"
        yield from self._answer(request, context_id, *status)

    def _command_set(self) -> Steps[tuple[int, bytes]]:
        """Return the next command set and the context that it came in."""
        pieces: list[bytes] = []
        size, context_id = 0, None
        while True:
            fragment = yield from self._fragment()
            if not fragment.control & IS_COMMAND:
                raise Malformed("sent a data set before its command")
            self._message_until = self._message_until or (
                monotonic() + self._policy.message_timeout_s
            )
            context_id = self._same_context(fragment, context_id)
            size += fragment.length
            if size > COMMAND_BYTES:
                raise Malformed(f"sent a command of more than {COMMAND_BYTES} bytes")
            pieces.append((yield from self._inbox.exactly(fragment.length)))
            if fragment.control & IS_LAST:
                return context_id, b"".join(pieces)

    def _delivery(self, context_id: int, request: Request) -> Steps[Delivery]:
        """Return what the request brings, in memory that the next one overwrites."""
        sheet = self._sheet
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
            size = yield from self._data_set(context_id)
        return Delivery(
            sop_class_uid=request.sop_class_uid,
            sop_instance_uid=request.sop_instance_uid,
            transfer_syntax_uid=transfer_syntax_uid,
            part10=sheet.content if request.has_data_set else None,
            sheet=sheet,
            is_too_long=size > self._policy.max_instance_bytes,
        )

    def _data_set(self, context_id: int) -> Steps[int]:
        """Read the data set and return its size; one that is too long is not kept."""
        size = 0
        while True:
            fragment = yield from self._fragment()
            if fragment.control & IS_COMMAND:
                raise Malformed("sent a command within a data set")
            self._same_context(fragment, context_id)
            size += fragment.length
            if size <= self._policy.max_instance_bytes:
                yield from self._inbox.pour(fragment.length, self._sheet)
            else:
                self._sheet.clear()
                yield from self._inbox.skip(fragment.length)
            if fragment.control & IS_LAST:
                return size

    def _same_context(self, fragment: _Fragment, context_id: int | None) -> int:
        if fragment.context_id not in self._opening.transfer_syntaxes:
            raise Malformed("used a presentation context that was not accepted")
        if context_id not in {None, fragment.context_id}:
            raise Malformed("changed the presentation context within a message")
        return fragment.context_id

    def _fragment(self) -> Steps[_Fragment]:
        """Return the head of the next fragment, whose bytes follow in the inbox."""
        if self._left == 0:
            self._left = yield from self._begin_pdu()
        if self._left < FRAGMENT.size:
            raise Malformed("sent a fragment without a header")
        head = self._inbox.at_hand(FRAGMENT.size) or (yield from self._inbox.exactly(FRAGMENT.size))
        length, context_id, control = FRAGMENT.unpack(head)
        if length < 2 or length + 4 > self._left:
            raise Malformed("sent a fragment longer than its PDU, or of no bytes")
        self._left -= length + 4
        return _Fragment(context_id, control, length - 2)

    def _begin_pdu(self) -> Steps[int]:
        """Return the length of the next P-DATA-TF."""
        self._inbox.begin()
        head = self._inbox.at_hand(HEADER_BYTES) or (yield from self._inbox.exactly(HEADER_BYTES))
        kind, length = PDU.unpack(head)
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
        self._inbox.begin()
        return int(length)

    def _answer(self, request: Request, context_id: int, status: int, comment: str) -> Steps[None]:
        said = b"".join(self._response(request, context_id, status, comment))
        try:
            gone = sent_at_once(self.connection, said)
        except OSError as error:
            raise Gone from error
        if gone < len(said):
            yield lambda: send(self.connection, said[gone:])

    def _response(
        self, request: Request, context_id: int, status: int, comment: str
    ) -> Iterator[bytes]:
        """Yield the PDUs of a response, none longer than the peer takes."""
        told = command.answer(request, status, comment)
        most = self._opening.longest_answer - FRAGMENT.size
        size = most if 0 < most < len(told) else len(told)
        for at in range(0, len(told), size):
            piece = told[at : at + size]
            control = IS_COMMAND | (IS_LAST if at + size >= len(told) else 0)
            item = FRAGMENT.pack(len(piece) + 2, context_id, control) + piece
            yield PDU.pack(P_DATA_TF, len(item)) + item


def send(connection: socket.socket, pdu: bytes) -> None:
    """Send all of it; raise Gone where the peer has gone."""
    try:
        connection.sendall(pdu)
    except OSError as error:
        raise Gone from error
