"""Accepts connections: each is secured and bounded in a thread of its own, so that none waits.

pynetdicom would make the TLS handshake in the thread that accepts: one silent caller would keep
everybody out.
"""

import logging
import socket
import ssl
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from socketserver import BaseServer
from threading import Lock, Thread
from time import monotonic, sleep
from typing import Any

from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.transport import RequestHandler, ThreadedAssociationServer
from typing_extensions import override

from node.net import opening
from node.net.deadline import Bounds, cut, replace_socket
from node.net.lean import Lean, LeanAssociation
from node.net.peers import normal
from node.net.tls import why

logger = logging.getLogger(__name__)

POLL_INTERVAL_S = 0.05
GOODBYE_S = 1.0
"""How long peers may take to hear that we stop."""
STRANGERS = 4
"""So many connections of one address may have no association, beside those that have one."""

SEND_BUFFER_BYTES = 65536
"""Answers are small: who reads none of them is noticed after some hundreds, not after megabytes."""

Client = tuple[Any, ...]
"""Address and port of a connection, and what else IPv6 has."""
TlsFailed = Callable[[str, str], None]
"""Hears the address of a peer whose handshake failed, and why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Door:
    """How connections are let in."""

    bounds: Bounds
    per_address: int
    tls: tuple[Callable[[], ssl.SSLContext], TlsFailed] | None = None
    """What gives the context for one connection."""
    lean: Lean | None = None
    """Serves those who ask for storage alone; None: pynetdicom serves all."""


class Server(ThreadedAssociationServer):
    """One port, served from the moment it is built until ``close``.

    Raises OSError where the address cannot be bound.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(
        self,
        ae: AE,
        address: tuple[str, int],
        *,
        handlers: list[evt.EventHandlerType],
        door: Door,
    ) -> None:
        self.bounds = door.bounds
        self._lean = door.lean
        self._served: set[LeanAssociation] = set()
        self._per_address = door.per_address + STRANGERS
        self._tls = door.tls
        self._without_association: dict[Client, socket.socket] = {}
        self._lock = Lock()
        super().__init__(
            ae,
            address,
            ae.ae_title,
            ae.supported_contexts,
            evt_handlers=handlers,
            request_handler=_Connection,
        )
        self._thread = Thread(
            target=self.serve_forever,
            kwargs={"poll_interval": POLL_INTERVAL_S},
            name=f"listener-{address[1]}",
            daemon=True,
        )
        self._thread.start()

    def close(self) -> None:
        """Accept nothing more, abort what is open and return when no thread of ours is left."""
        BaseServer.shutdown(self)
        associations = self._alive()
        for association in associations:
            if association.is_established:
                association.abort(block=False)
            else:
                cut(association)
        with self._lock:
            served = list(self._served)
        for one in served:
            one.stop()
        until = monotonic() + GOODBYE_S
        while self._is_busy(associations) and monotonic() < until:
            sleep(POLL_INTERVAL_S / 5)
        for association in associations:
            cut(association)
        if self._lean is not None:
            self._lean.close()
        with self._lock:
            left = list(self._without_association.values())
        for connection in left:
            _shut(connection, close=False)
        self.server_close()
        self._thread.join()

    def _is_busy(self, associations: list[Association]) -> bool:
        return bool(self._served) or any(one.dul.is_alive() for one in associations)

    @override
    def service_actions(self) -> None:
        """Leave the dead to the collector's own time.

        pynetdicom looks through the whole memory every sixty rounds, that is every three seconds or
        sixty connections; with what a node holds all its threads stand still for 0.1 s meanwhile.
        """

    @override
    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Say whether one more connection of this address is bearable; no word is lost on it."""
        address = normal(str(client_address[0]))
        # A connection is in both lists while it goes from one to the other.
        crowd = {(str(one.requestor.address), one.requestor.port) for one in self._alive()}
        with self._lock:
            crowd |= {client[:2] for client in self._without_association}
            same = sum(normal(host) == address for host, _ in crowd)
            if same < self._per_address:
                self._without_association[client_address] = request
                return True
        logger.warning("closed a connection of %s: %d are open", address, same)
        return False

    def _alive(self) -> list[Association]:
        """Return the associations whose connection is open; the thread of others may yet wait."""
        return [
            one
            for one in self.active_associations
            if one.dul.is_alive() or one.dul.ident is None  # or is about to start
        ]

    def secured(self, connection: socket.socket, client: Client) -> socket.socket | None:
        """Return the connection as the association may use it, or None where TLS fails."""
        if self._tls is None:
            return connection
        context, failed = self._tls
        try:
            # The handshake is made by itself, so that close() finds the socket and can end it.
            wrapped = context().wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
            with self._lock:
                self._without_association[client] = wrapped
            wrapped.settimeout(self.bounds.begin_s)
            wrapped.do_handshake()
        except OSError as error:
            failed(client[0], why(error))
            return None
        return wrapped

    def serve(self, connection: socket.socket, request: bytes) -> bool:
        """Serve an association for storage alone to its end; False where it asks for more."""
        association = None if self._lean is None else self._lean.association(connection, request)
        if association is None:
            return False
        with self._lock:
            self._served.add(association)
        try:
            association.serve()
        finally:
            with self._lock:
                self._served.remove(association)
        return True

    @property
    def reads_requests(self) -> bool:
        """Whether the A-ASSOCIATE-RQ is read before pynetdicom sees it."""
        return self._lean is not None

    def forget(self, client: Client) -> socket.socket | None:
        """Count a connection no longer: it has an association, or is to be closed."""
        with self._lock:
            return self._without_association.pop(client, None)

    @override
    def handle_error(self, request: object, client_address: object) -> None:
        """Log what failed with one connection; the others never notice."""
        logger.warning("lost a connection of %s: %s", client_address, sys.exception())


class _Connection(RequestHandler):
    """One connection, in the thread of its own that the server gives it."""

    server: Server

    @override
    def setup(self) -> None:
        self._bounds = self.server.bounds
        self._unread = b""

    @override
    def handle(self) -> None:
        handed_on = False
        self.request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        try:
            secured = self.server.secured(self.request, self.client_address)
            if secured is None:
                return
            self.request = secured
            if not self.server.reads_requests or self._reads_request():
                super().handle()
                handed_on = True
        finally:
            left = self.server.forget(self.client_address)
            if left is not None and not handed_on:
                _shut(left)

    def _reads_request(self) -> bool:
        """Read the A-ASSOCIATE-RQ; True where it is left to pynetdicom."""
        until = monotonic() + (self._bounds.begin_s or 0)
        self._unread = opening.receive(self.request, until)
        self._bounds = replace(self._bounds, begin_s=max(until - monotonic(), 0))
        return bool(self._unread) and not self.server.serve(self.request, self._unread)

    @override
    def _create_association(self) -> Association:
        association = super()._create_association()
        replace_socket(association, self._bounds, self.request, self._unread)
        return association


def _shut(connection: socket.socket, *, close: bool = True) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    if close:
        connection.close()
