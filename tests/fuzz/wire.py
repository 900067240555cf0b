"""The listener as a target: PDUs in memory through its own state machine, and over sockets."""

import queue
import socket
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.pdu import A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    AsynchronousOperationsWindowNegotiation,
    MaximumLengthNotification,
    SCP_SCU_RoleSelectionNegotiation,
    SOPClassExtendedNegotiation,
    UserIdentityNegotiation,
)
from pynetdicom.pdu_primitives import ImplementationClassUIDNotification as ClassUid
from pynetdicom.presentation import build_context

from node.config import Listener as Policy
from node.config import Peer
from node.dicom.headers import identify
from node.instance import Arrival
from node.net import scu
from node.net.commitment import Commitment
from node.net.scp import Listener
from node.net.server import Server
from tests.fuzz import seeds
from tests.fuzz.mutation import damaged
from tests.fuzz.target import Bear, Target

VERIFICATION = "1.2.840.10008.1.1"
PUSH_MODEL = "1.2.840.10008.1.20.1"
CT = "1.2.840.10008.5.1.4.1.1.2"
PROPOSED = (VERIFICATION, CT, PUSH_MODEL)
PROMISES = Commitment(heard=lambda _report, _title: 0, asked=lambda _request, *_of: 0)
ABORT = b"\x07\0\0\0\0\4\0\0\0\0"
RELEASE = b"\x05\0\0\0\0\4\0\0\0\0"
ECHO_EVERY = 50
THREADS_MOST = 40
DRAIN_S = 0.05


def pdu(kind: int, body: bytes, length: int | None = None) -> bytes:
    """Return one PDU, whose length may be a lie."""
    return bytes([kind, 0]) + struct.pack(">I", len(body) if length is None else length) + body


def pdv(control: int, fragment: bytes, *, context: int = 3, length: int | None = None) -> bytes:
    """Return one item of a P-DATA-TF."""
    stated = len(fragment) + 2 if length is None else length
    return struct.pack(">IBB", stated & 0xFFFFFFFF, context, control) + fragment


def command(field: int, uid: str = CT, *, with_data: bool, **more: bytes) -> bytes:
    """Return a command set in implicit VR little endian; ``more`` holds elements by their tag."""
    elements = {
        0x0002: uid.encode() + b"\0" * (len(uid) % 2),
        0x0100: struct.pack("<H", field),
        0x0110: b"\1\0",
        0x0700: b"\0\0",
        0x0800: b"\0\0" if with_data else b"\1\1",
        0x1000: b"1.2.3.3.2\0",
        **{int(tag, 16): value for tag, value in more.items()},
    }
    body = b"".join(struct.pack("<HHI", 0, t, len(v)) + v for t, v in sorted(elements.items()))
    return struct.pack("<HHII", 0, 0, 4, len(body)) + body


@cache
def request(*, plain: bool = False) -> bytes:
    """Return an A-ASSOCIATE-RQ with every kind of item in it, or with what storage needs."""
    asked = A_ASSOCIATE()
    asked.application_context_name = "1.2.840.10008.3.1.1.1"
    asked.calling_ae_title, asked.called_ae_title = "FUZZ", "PETCTNODE"
    longest, implementation = MaximumLengthNotification(), ClassUid()
    longest.maximum_length_received = 16384
    implementation.implementation_class_uid = AE().implementation_class_uid
    window, role = AsynchronousOperationsWindowNegotiation(), SCP_SCU_RoleSelectionNegotiation()
    window.maximum_number_operations_invoked = 3
    role.sop_class_uid, role.scu_role, role.scp_role = PUSH_MODEL, True, True
    extended, who = SOPClassExtendedNegotiation(), UserIdentityNegotiation()
    extended.sop_class_uid, extended.service_class_application_information = CT, b"\2\0\0\0\1\0"
    who.user_identity_type, who.primary_field, who.secondary_field = 2, b"user", b"word"
    more = [] if plain else [window, role, extended, who]
    asked.user_information = [longest, implementation, *more]
    contexts = [build_context(VERIFICATION), build_context(CT, "1.2.840.10008.1.2.1")]
    contexts += [] if plain else [build_context(PUSH_MODEL)]
    for number, context in enumerate(contexts):
        context.context_id = 2 * number + 1
    asked.presentation_context_definition_list = contexts
    made = A_ASSOCIATE_RQ()
    made.from_primitive(asked)
    return bytes(made.encode())


@cache
def conversations() -> dict[str, bytes]:
    """Return whole associations, each as the bytes that a peer sends."""
    echo = pdu(4, pdv(3, command(0x30, VERIFICATION, with_data=False), context=1))
    plane = seeds.split(seeds.images()["ct"])[1]
    store = pdu(4, pdv(3, command(0x01, with_data=True)))
    parts = [plane[at : at + 200] for at in range(0, len(plane), 200)]
    fragments = [pdu(4, pdv(0, part)) for part in parts[:-1]] + [pdu(4, pdv(2, parts[-1]))]
    together = pdu(4, pdv(3, command(0x01, with_data=True)) + pdv(2, plane))
    asked = {"0003": PUSH_MODEL.encode(), "1001": b"1.2.840.10008.1.20.1.1", "1008": b"\1\0"}
    commit = pdu(4, pdv(3, command(0x130, PUSH_MODEL, with_data=True, **asked), context=5))
    commit += pdu(4, pdv(2, plane[:80], context=5))
    event = {"1002": b"\2\0"}
    told = pdu(4, pdv(3, command(0x100, PUSH_MODEL, with_data=True, **event), context=5))
    told += pdu(4, pdv(2, plane[:80], context=5))
    cancel = pdu(4, pdv(3, command(0xFFF, with_data=False, **{"0120": b"\1\0"})))
    others = b"".join(
        pdu(4, pdv(3, command(field, with_data=False)))
        for field in (0x20, 0x10, 0x21, 0x8001, 0x8030, 0x110, 0x140, 0x150)
    )
    return {
        "echo": request() + echo * 5 + RELEASE,
        "store": request() + store + b"".join(fragments) + together * 3 + RELEASE,
        "commitment": request() + commit + told + RELEASE,
        "others": request() + cancel + others + ABORT,
        "refused": pdu(3, b"\0\1\1\1") + pdu(6, b"\0\0\0\0") + request() + request(),
        "accepted": b"\2" + request()[1:] + echo,
    }


@cache
def storing() -> dict[str, bytes]:
    """Return the conversations that storage and verification alone need."""
    every = conversations()
    return {
        name: request(plain=True) + every[name][len(request()) :]
        for name in ("echo", "store", "others")
    }


def split(stream: bytes) -> list[bytes]:
    """Return the PDUs of a stream as their lengths tell; what is left over comes last."""
    found, at = [], 0
    while at + 6 <= len(stream):
        end = at + 6 + int.from_bytes(stream[at + 2 : at + 6], "big")
        found.append(stream[at:end])
        at = end
    return found + ([stream[at:]] if at < len(stream) else [])


def changed(stream: bytes, chance: Random) -> bytes:
    """Damage a conversation: one PDU or several, their order, their lengths, its end."""
    parts = split(stream)
    for _ in range(chance.choice((1, 1, 2, 3))):
        # The request goes first: without one nothing else is looked at.
        first = 0 if chance.random() < 0.25 else min(1, len(parts) - 1)
        at = chance.randrange(first, len(parts))
        parts[at : at + 1] = chance.choice(_CHANGES)(parts[at], parts, chance)
        if not parts:
            return b""
    return b"".join(parts)[: chance.choice((None, None, None, chance.randint(1, len(stream))))]


Parts = Sequence[bytes]


def _whole(part: bytes, _parts: Parts, chance: Random) -> Parts:
    """Damage what a PDU holds, and state its length as it is then."""
    body = damaged(part[6:], chance)
    return [pdu(part[0] if part else 4, body)]


def _items(part: bytes, _parts: Parts, chance: Random) -> Parts:
    """Damage the value of one PDV alone, so that the command or data set in it is wrong."""
    if len(part) < 12:
        return [damaged(part, chance)]
    fragment = damaged(part[12:], chance)
    context = part[10] if chance.random() < 0.8 else chance.choice((0, 1, 2, 7, 255))
    control = part[11] if chance.random() < 0.8 else chance.randrange(256)
    lie = None if chance.random() < 0.8 else chance.choice((0, 1, 2, 2**31, 2**32 - 1, len(part)))
    return [pdu(4, pdv(control, fragment, context=context, length=lie))]


def _lie(part: bytes, _parts: Parts, chance: Random) -> Parts:
    lengths = (0, 1, 4, len(part), 2**16, 2**20, 2**31, 2**32 - 1)
    return [pdu(part[0] if part else 4, part[6:], chance.choice(lengths))]


def _kind(part: bytes, _parts: Parts, chance: Random) -> Parts:
    return [bytes([chance.randrange(10)]) + part[1:]]


def _again(part: bytes, parts: Parts, chance: Random) -> Parts:
    return [part, chance.choice(parts), part]


def _gone(_part: bytes, _parts: Parts, _chance: Random) -> Parts:
    return []


def _mixed(part: bytes, parts: Parts, chance: Random) -> Parts:
    """Put another PDU between two halves of a message."""
    other = chance.choice(parts)
    body = part[6:]
    return [pdu(4, body[: len(body) // 2]), other, pdu(4, body[len(body) // 2 :])]


def _end(part: bytes, _parts: Parts, chance: Random) -> Parts:
    return [part, chance.choice((ABORT, RELEASE, pdu(7, b""), pdu(5, b"\0" * 9)))]


_CHANGES = (_whole, _whole, _items, _items, _items, _lie, _kind, _again, _gone, _mixed, _end)


def _receive(arrival: Arrival) -> None:
    """Take what can be identified, as the intake does before it stores anything."""
    identify(arrival.part10)


class _Line(socket.socket):
    """A connection whose peer has said all that it will say, without a network."""

    def __init__(self, stream: bytes) -> None:
        super().__init__()
        self._left = memoryview(stream)

    @property
    def said(self) -> int:
        """How many bytes are still to be read."""
        return len(self._left)

    @property
    def is_closed(self) -> bool:
        return self.fileno() == -1

    def recv_into(self, into: memoryview) -> int:
        part, self._left = self._left[: len(into)], self._left[len(into) :]
        into[: len(part)] = part
        return len(part)

    def recv(self, most: int) -> bytes:
        part, self._left = self._left[:most], self._left[most:]
        return bytes(part)

    def send(self, data: bytes) -> int:
        return len(data)

    def getpeername(self) -> tuple[str, int]:
        return "127.0.0.1", 1

    def sendall(self, _data: bytes) -> None: ...
    def settimeout(self, _seconds: float) -> None: ...
    def shutdown(self, _how: int) -> None: ...
    def setsockopt(self, *_option: int) -> None: ...


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class _Closed:
    """Counts how often the end of each association was told."""

    def __init__(self) -> None:
        self.told: dict[str, int] = {}

    def __call__(self, association: str) -> None:
        self.told[association] = self.told.get(association, 0) + 1


@contextmanager
def _in_memory(*, fast: bool) -> Iterator[Bear]:
    """Take PDUs as the listener's threads of an association do, in one thread and at once."""
    closed = _Closed()
    policy = Policy(port=_free_port(), max_pdu_bytes=16384, max_instance_bytes=1_000_000, fast=fast)
    with Listener(policy, receive=_receive, closed=closed, commitment=PROMISES) as listener:
        # No public name leads to an association that has no connection.
        (server,) = listener._servers
        sessions = listener._sessions
        # What is proposed is all that an association needs a copy of.
        server.contexts = [one for one in server.contexts if str(one.abstract_syntax) in PROPOSED]

        def bear(stream: bytes) -> int:
            line = _Line(stream)
            try:
                _taken(server, line, fast=fast)
                assert not sessions._open, "the association is still counted"
                assert line.is_closed, "the connection is still open"
                assert all(times == 1 for times in closed.told.values()), "an end was told twice"
            finally:
                line.close()
                closed.told.clear()
            return len(split(stream[: len(stream) - line.said])) or 1

        yield bear


def _taken(server: Server, line: _Line, *, fast: bool) -> None:
    """Do what the thread of a new connection does."""
    handler: Any = object.__new__(server.RequestHandlerClass)
    handler.request, handler.client_address, handler.server = line, ("127.0.0.1", 1), server
    handler.setup()
    if fast and not handler._reads_request():
        line.close()  # as whoever called us does
        return
    association: Association = handler._create_association()
    evt.trigger(association, evt.EVT_CONN_OPEN, {"address": ("127.0.0.1", 1)})
    _converse(association, line)


def _converse(association: Association, line: _Line) -> None:
    """Run one association of pynetdicom to its end."""
    dul = association.dul
    association._started_dul = True
    # To wait for the other thread, which is this one, would only take time.
    abort = association._abort_blocking
    association._abort_blocking = lambda _block=True: abort(block=False)
    _settle(association)
    while not dul._kill_thread and dul.socket is not None:
        if not line.said and dul.state_machine.current_state == "Sta13":
            dul.event_queue.put("Evt18")  # the ARTIM timer
        else:
            dul._read_pdu_data()
        _settle(association)
        _serve(association)
        _settle(association)
    association.kill()


def _settle(association: Association) -> None:
    """Do what the thread of the upper layer does with what it has."""
    dul = association.dul
    while not dul._kill_thread:
        dul._process_recv_primitive()
        try:
            event = dul.event_queue.get(block=False)
        except queue.Empty:
            return
        dul.state_machine.do_action(event)


def _serve(association: Association) -> None:
    """Do what the thread of the association does with what has come."""
    if association.requestor.primitive is None:
        primitive = association.dul.receive_pdu(wait=False)
        if primitive is None:
            return
        association.requestor.primitive = primitive
        evt.trigger(association, evt.EVT_REQUESTED, {})
        if not association.is_aborted and not association.is_rejected:
            association.acse.negotiate_association()
        return
    while association.is_established:
        context, message = association.dimse.get_msg(block=False)
        if message is None:
            break
        association._serve_request(message, context)
    if association.is_established and association.acse.is_release_requested():
        association.acse.send_release(is_response=True)
        association.is_established = False
        evt.trigger(association, evt.EVT_RELEASED, {})


@contextmanager
def _over_sockets(_folder: Path) -> Iterator[Bear]:
    """Send each conversation to a listener; every so often see that others are served."""
    died: list[str] = []
    before, threading.excepthook = threading.excepthook, lambda args: died.append(repr(args))
    policy = Policy(
        port=_free_port(),
        handshake_timeout_s=1,
        idle_timeout_s=1,
        message_timeout_s=2,
        max_pdu_bytes=16384,
        max_instance_bytes=1_000_000,
    )
    sent = 0
    try:
        with Listener(policy, receive=_receive, closed=_Closed(), commitment=PROMISES) as listener:

            def bear(stream: bytes) -> int:
                nonlocal sent
                _say(policy.port, stream)
                sent += 1
                assert not died, died[0]
                if sent % ECHO_EVERY == 0:
                    _is_well(policy, listener)
                return len(split(stream))

            yield bear
            _is_well(policy, listener)
            assert not died, died[0]
    finally:
        threading.excepthook = before


def _say(port: int, stream: bytes) -> None:
    """Send a conversation and leave; who closes first is left to chance and the listener."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    with connection, suppress(OSError):
        connection.sendall(stream)
        connection.settimeout(DRAIN_S)
        while connection.recv(65536):
            pass


def _is_well(policy: Policy, listener: Listener) -> None:
    """Wait until nothing is left of those who went, then see that a new peer is answered."""
    until = time.monotonic() + 30
    while listener._sessions._open or threading.active_count() > THREADS_MOST:
        assert time.monotonic() < until, "associations are left over"
        time.sleep(0.01)
    peer = Peer(ae_title=policy.ae_title, host="127.0.0.1", port=policy.port)
    scu.echo(peer, calling_ae_title="WELL", timeout_s=10)
    assert len(list(Path("/proc/self/fd").iterdir())) < 200, "descriptors are left open"


TARGETS = (
    Target(
        name="pdus",
        unit="PDUs through pynetdicom's decoders and state machine and our handlers, in memory",
        seeds=conversations,
        change=changed,
        open=lambda _folder: _in_memory(fast=False),
        share=0.08,
    ),
    Target(
        name="lean",
        unit="PDUs through the listener's own code for storage, in memory",
        seeds=storing,
        change=changed,
        open=lambda _folder: _in_memory(fast=True),
        share=0.61,
    ),
    Target(
        name="listener",
        unit="PDUs sent to a listening node over loopback",
        seeds=conversations,
        change=changed,
        open=_over_sockets,
        share=0.008,
    ),
)
