"""Asks peers whether they keep what they were sent, as one application entity of ours."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Event

from node.config import Peer
from node.net import commitment, find
from node.net.commitment import Heard, Linger, Request
from node.net.find import Series


@dataclass(frozen=True, kw_only=True, slots=True)
class Inquiry:
    """How we ask: under which AE title, and how long we wait."""

    calling_ae_title: str
    wait_s: float
    """So long an association stays open for the report."""
    timeout_s: float

    def ask(self, peer: Peer, request: Request, *, heard: Heard, answered: Event) -> int:
        """Ask for commitment; return the status of the answer, as ``commitment.ask`` does."""
        return commitment.ask(
            peer,
            request,
            calling_ae_title=self.calling_ae_title,
            heard=heard,
            linger=Linger(wait_s=self.wait_s, answered=answered),
            timeout_s=self.timeout_s,
        )

    def find(self, peer: Peer, wanted: Mapping[Series, Sequence[str]]) -> set[str] | None:
        """Return which instances the peer finds, as ``find.find_instances`` does."""
        return find.find_instances(
            peer, wanted, calling_ae_title=self.calling_ae_title, timeout_s=self.timeout_s
        )
