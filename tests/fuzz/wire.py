"""The listener as a target: PDUs in memory through its own state machine, and over sockets."""

import queue
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pynetdicom import evt
from pynetdicom.association import Association

from node.config import Listener as Policy
from node.config import Peer
from node.dicom.headers import identify
from node.instance import Arrival
from node.net import scu
from node.net.commitment import Commitment
from node.net.scp import Listener
from node.net.server import Server
from tests.fuzz.conversation import (
    PROPOSED,
    changed,
    conversations,
    split,
    storing,
)
from tests.fuzz.target import Bear, Target

PROMISES = Commitment(heard=lambda _report, _title: 0, asked=lambda _request, *_of: 0)
ECHO_EVERY = 50
THREADS_MOST = 40
DRAIN_S = 0.05


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
