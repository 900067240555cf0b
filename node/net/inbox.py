"""Reads what one peer sends in large pieces, and in time."""

import socket
import struct
from collections.abc import Generator
from contextlib import suppress
from ssl import SSLSocket
from time import monotonic
from typing import TypeAlias, TypeVar

from node.sheet import Sheet

PIECE_BYTES = 256 * 1024
HEADS_BYTES = 512
"""A command and the heads round it are received with little of what follows: that has its place,
and would have to be copied there.
"""
FOLLOWING_BYTES = 12
"""A whole fragment is followed by the head of the next PDU and that of its first fragment."""
SILENT = "was silent, or did not end its PDU in time"
QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)
TIMEVAL = struct.Struct("ll")  # seconds and microseconds
TURN_RECEIVES = 16
"""After so many a peer that sends faster than we read lets others have their turn."""
LEAST_US = 1
"""Nothing at all would mean for ever."""


class Gone(Exception):
    """The peer has closed, or the connection broke."""


class Late(Exception):
    """The peer did not send in time; the message says so."""


Outcome = TypeVar("Outcome")
Waits: TypeAlias = Generator[None, None, Outcome]
"""Stops wherever nothing is here, until there may be something."""


class Inbox:
    """The bytes of one peer, in the order in which they came.

    ``timeout_s`` bounds the time from ``begin`` on: a byte now and then is as late as none. Whoever
    goes on with what waits sees to it that a peer that sends nothing at all is late, too; of a TLS
    socket nothing waits, and every read is bounded by itself.
    """

    def __init__(self, connection: socket.socket, timeout_s: float, memory: bytearray) -> None:
        self._connection = connection
        self._scatters = not isinstance(connection, SSLSocket)
        self._view = memoryview(memory)
        self._timeout_s = timeout_s
        self.until = monotonic() + timeout_s
        self._start = self._end = 0
        self._is_dry = True
        self._receives = 0
        wait_at_most(connection, timeout_s)

    def begin(self) -> None:
        """Begin to read something that has to be whole in time."""
        self.until = monotonic() + self._timeout_s

    def at_hand(self, count: int) -> bytes:
        """Return the next so many bytes, or nothing where not all are here."""
        return bytes(self._take(count)) if self._end - self._start >= count else b""

    def exactly(self, count: int) -> Waits[bytes]:
        """Return the next so many bytes, at most as many as the inbox is large."""
        most = max(count, HEADS_BYTES) if self._scatters else PIECE_BYTES
        while self._end - self._start < count:
            yield from self._fill(count, most)
        return bytes(self._take(count))

    def skip(self, count: int) -> Waits[None]:
        """Drop the next so many bytes."""
        while count:
            if self._start == self._end:
                yield from self._fill(1)
            count -= len(self._take(min(count, self._end - self._start)))

    def pour(self, count: int, sheet: Sheet) -> Waits[None]:
        """Put the next so many bytes on a sheet, those that are yet to come at once."""
        while count:
            here = min(count, self._end - self._start)
            if here:
                sheet.add(self._take(here))
            elif self._scatters:
                self._start = 0
                into = [sheet.room(count), self._view[:FOLLOWING_BYTES]]
                come = yield from self._receive(into, count + FOLLOWING_BYTES)
                here = min(count, come)
                sheet.took(here)
                self._end = come - here
            else:
                yield from self._fill(1)
            count -= here

    def _take(self, count: int) -> memoryview:
        start = self._start
        self._start += count
        return self._view[start : start + count]

    def _fill(self, wanted: int, most: int = PIECE_BYTES) -> Waits[None]:
        """Wait for more, so much at most; what is here moves where ``wanted`` has no room else."""
        if self._start == self._end:
            self._start = self._end = 0
        elif self._start + wanted > len(self._view):
            rest = bytes(self._view[self._start : self._end])
            self._view[: len(rest)] = rest
            self._start, self._end = 0, len(rest)
        into = self._view[self._end : self._end + most]
        self._end += yield from self._receive([into], len(into))

    def _receive(self, into: list[memoryview], room: int) -> Waits[int]:
        """Wait for bytes, fill one after the other with them, and return how many came."""
        if self._scatters:
            if self._is_dry:
                self._acknowledge()
                yield
            while (count := self._what_is_here(into)) is None:
                yield
        else:
            count = self._what_comes(into[0])
        if count == 0:
            raise Gone
        self._receives += 1
        self._is_dry = count < room or self._receives % TURN_RECEIVES == 0
        if monotonic() > self.until:
            raise Late(SILENT)
        return count

    def _what_is_here(self, into: list[memoryview]) -> int | None:
        """Take what has come; None where that is nothing."""
        try:
            return self._connection.recvmsg_into(into, 0, socket.MSG_DONTWAIT)[0]
        except BlockingIOError:
            return None
        except OSError as error:
            raise Gone from error

    def _what_comes(self, into: memoryview) -> int:
        """Wait for what comes by TLS."""
        try:
            count = self._connection.recv_into(into)
        except TimeoutError:
            raise Late(SILENT) from None
        except OSError as error:
            raise Gone from error
        self._acknowledge()
        return count

    def _acknowledge(self) -> None:
        """Acknowledge at once: a sender without TCP_NODELAY waits for it before its next bytes."""
        if QUICKACK is not None:
            with suppress(OSError):
                self._connection.setsockopt(socket.IPPROTO_TCP, QUICKACK, 1)


def wait_at_most(connection: socket.socket, seconds: float) -> None:
    """Bound every wait for the peer: to send, and by TLS to receive; else that never waits.

    Where the kernel can keep the time (TLS wants it of Python), a call is one system call, not two:
    BlockingIOError then says what TimeoutError says else.
    """
    if isinstance(connection, SSLSocket):
        connection.settimeout(seconds)
        return
    whole = int(seconds)
    microseconds = int((seconds - whole) * 1e6)
    bound = TIMEVAL.pack(whole, microseconds if whole else max(microseconds, LEAST_US))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, bound)
    connection.settimeout(None)
