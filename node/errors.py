"""What can go wrong outside the arrays, and what each means for the caller.

* NodeError
  - Refused              say no to the peer; each carries the DIMSE status to answer with
    . NotUnderstood      0xC000  the bytes are no instance that we can file
    . OutOfResources     0xA700  no room, or the disk fails
    . Conflicting        0xC001  the UID is known with other bytes
  - TlsUnusable          a certificate, key or list of authorities cannot be used
  - UnusableStudy        this study will never yield a result; carries the coded reason
  - Temporary            try the same thing again later
    . PeerUnavailable    no association, or it broke
"""

from inference.findings import Reason


class NodeError(Exception):
    """Root of everything that the node raises about the world."""


class Refused(NodeError):
    """An instance is not taken; ``status`` is the DIMSE status that the peer gets."""

    status = 0xC000


class NotUnderstood(Refused):
    """The bytes are not an instance that can be filed (PS3.4 table B.2-1: Cannot understand)."""

    status = 0xC000


class Conflicting(Refused):
    """The SOP Instance UID is stored already with other bytes; the new ones lie in quarantine."""

    status = 0xC001


class OutOfResources(Refused):
    """No room or no working disk (PS3.4 table B.2-1: Refused: Out of resources)."""

    status = 0xA700


class TlsUnusable(NodeError):
    """A file that TLS needs is absent, unreadable or does not fit; the message names it."""


class UnusableStudy(NodeError):
    """The study cannot be analysed; ``reason`` says why, in a code and in words."""

    def __init__(self, code: str, meaning: str) -> None:
        super().__init__(f"{code}: {meaning}")
        self.reason = Reason(code=code, meaning=meaning)


class Temporary(NodeError):
    """The same call may succeed later."""


class PeerUnavailable(Temporary):
    """A peer did not take the association, or it broke."""
