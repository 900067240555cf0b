"""Brings syslog lines to a collector: by UDP (RFC 5426), TCP (RFC 6587) or TLS (RFC 5425)."""

import select
import socket
from contextlib import suppress

from node.access import Remote
from node.errors import TlsUnusable
from node.net import tls

TIMEOUT_S = 10.0
DATAGRAM_BYTES = 65000
"""RFC 5426 3.2: longer lines do not fit a datagram of IPv4."""


class Syslog:
    """A collector, connected when there is something to say; for one thread."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        self._connection: socket.socket | None = None

    def send(self, line: bytes) -> None:
        """Send one line, over a new connection where the last has gone; raise OSError."""
        if self._remote.transport == "udp":
            self._datagram(line)
            return
        try:
            if self._connection is None or _has_ended(self._connection):
                self.close()
                self._connection = self._connected()
            # RFC 5425 4.3: MSG-LEN SP SYSLOG-MSG
            self._connection.sendall(b"%d %s" % (len(line), line))
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Give the connection back."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(OSError):
                connection.close()

    def _datagram(self, line: bytes) -> None:
        host, port = self._remote.host, self._remote.port
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[
            0
        ]
        with socket.socket(family, kind, protocol) as datagrams:
            datagrams.sendto(line[:DATAGRAM_BYTES], address)

    def _connected(self) -> socket.socket:
        plain = socket.create_connection((self._remote.host, self._remote.port), TIMEOUT_S)
        if self._remote.tls is None:
            return plain
        try:
            context = tls.calling(self._remote.tls)
            return context.wrap_socket(plain, server_hostname=self._remote.host)
        except TlsUnusable as unusable:
            plain.close()
            raise OSError(str(unusable)) from unusable
        except OSError as error:
            plain.close()
            raise OSError(f"TLS: {tls.why(error)}") from error


def _has_ended(connection: socket.socket) -> bool:
    """Tell whether the collector has closed: it never says anything else."""
    readable = select.poll()
    readable.register(connection, select.POLLIN)
    if not readable.poll(0):
        return False
    try:
        connection.settimeout(0)
        return connection.recv(1) == b""
    except (BlockingIOError, TimeoutError):
        return False
    except OSError as error:
        # What TLS says between the lines (a ticket) is no end.
        return type(error).__name__ not in {"SSLWantReadError", "SSLWantWriteError"}
    finally:
        connection.settimeout(TIMEOUT_S)
