"""Sets the options of the sockets below associations, and sends without waiting.

Nagle's algorithm on one side and delayed acknowledgements on the other cost 40 ms an instance.
"""

import contextlib
import socket
from ssl import SSLSocket

from pynetdicom import evt


def send_at_once(event: evt.Event) -> None:
    """Set TCP_NODELAY on a connection that has just opened (``evt.EVT_CONN_OPEN``)."""
    _set(event, socket.TCP_NODELAY)


def acknowledge_at_once(event: evt.Event) -> None:
    """Set TCP_QUICKACK, which the kernel forgets whenever data have come or gone.

    For ``evt.EVT_DATA_RECV`` and ``evt.EVT_DATA_SENT``: a sender without TCP_NODELAY waits for the
    acknowledgement of its last fragment.
    """
    if hasattr(socket, "TCP_QUICKACK"):
        _set(event, socket.TCP_QUICKACK)


def sent_at_once(connection: socket.socket, content: bytes) -> int:
    """Send what has room without waiting for the peer, and return how many bytes that is.

    Raises OSError where the connection is gone.
    """
    if isinstance(connection, SSLSocket):
        return 0
    try:
        return connection.send(content, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return 0


def _set(event: evt.Event, option: int) -> None:
    wrapper = event.assoc.dul.socket
    connection = None if wrapper is None else wrapper.socket
    if connection is not None:
        # The peer may be gone already; then there is nothing to speed up.
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, option, 1)
