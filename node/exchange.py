"""Builds what passes between the node and its destinations: what it sends, asks and is asked."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import uuid4

from sqlalchemy import Engine

from node.audit import Record, ignore
from node.backoff import Backoff
from node.commitment import Confirmation, Pace
from node.config import Peer, Settings
from node.delivery import Outbox
from node.instance import Outgoing
from node.net.commitment import Commitment, Report, Request, report
from node.net.inquiry import Inquiry
from node.net.scu import Sent, send
from node.pledges import Channels, Pledges
from node.store import Store
from node.transmission import transmission

Clock = Callable[[], datetime]
ReportOver = Callable[[str, Report], int | None]
"""Reports on an association that a peer opened; None where it is not open any more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Exchange:
    """What sends, what makes sure that it is kept, and what makes sure for others."""

    outbox: Outbox
    confirmation: Confirmation
    pledges: Pledges
    clock: Clock
    settle: Callable[[], None]

    @property
    def commitment(self) -> Commitment:
        """What the listener does when a peer speaks of commitment."""
        return Commitment(heard=self._heard, asked=self._asked)

    def tasks(self) -> Mapping[str, Callable[[], object]]:
        """Return what is to be done again and again, by name."""
        return {
            "delivery": lambda: self.outbox.deliver(self.clock()),
            "commitment": lambda: self.confirmation.confirm(self.clock()),
            "pledges": lambda: self.pledges.keep(self.clock()),
        }

    def close(self) -> None:
        """Begin nothing more; what is under way is finished first."""
        self.outbox.close()
        self.confirmation.close()
        self.pledges.close()

    def _heard(self, told: Report, ae_title: str) -> int:
        return self.confirmation.heard(told, ae_title=ae_title, now=self.clock())

    def _asked(self, request: Request, ae_title: str, association: str) -> int:
        self.settle()  # what was answered with Success may wait for the row that is looked for
        return self.pledges.asked(
            request, ae_title=ae_title, association=association, now=self.clock()
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Host:
    """What the running node lends: name, clock, associations, chance and audit trail."""

    node: str
    """Its name among all that share the database."""
    clock: Clock
    report_over: ReportOver
    chance: Callable[[], float]
    """Gives a number from 0 up to 1; it spreads what is tried again."""
    record: Record = ignore
    settle: Callable[[], None] = lambda: None
    """Waits until what was received so far is in the database."""


def build_exchange(settings: Settings, engine: Engine, store: Store, host: Host) -> Exchange:
    """Build it for one node."""
    return Exchange(
        outbox=build_outbox(settings, engine, store, host),
        confirmation=build_confirmation(settings, engine, host),
        pledges=build_pledges(settings, engine, store, host),
        clock=host.clock,
        settle=host.settle,
    )


def build_outbox(settings: Settings, engine: Engine, store: Store, host: Host) -> Outbox:
    """Build what brings results to their destinations."""

    def deliver(peer: Peer, objects: Sequence[Outgoing]) -> list[Sent]:
        with transmission(peer, objects, host.record) as answers:
            sent = send(
                peer,
                objects,
                calling_ae_title=settings.listener.ae_title,
                timeout_s=settings.delivery.timeout_s,
            )
            answers.extend(sent)
        return sent

    return Outbox(
        engine,
        store,
        settings.destinations,
        node=host.node,
        send=deliver,
        backoff=_backoff(settings, host),
    )


def build_confirmation(settings: Settings, engine: Engine, host: Host) -> Confirmation:
    """Build what finds out whether destinations keep what they were sent."""
    return Confirmation(
        engine,
        settings.destinations,
        node=host.node,
        network=Inquiry(
            calling_ae_title=settings.listener.ae_title,
            wait_s=settings.delivery.commitment_wait_s,
            timeout_s=settings.delivery.timeout_s,
        ),
        pace=Pace(
            timeout=timedelta(seconds=settings.delivery.commitment_timeout_s),
            backoff=_backoff(settings, host),
        ),
        new_uid=_new_uid,
    )


def build_pledges(settings: Settings, engine: Engine, store: Store, host: Host) -> Pledges:
    """Build what commits to the instances that peers ask about."""

    def report_to(peer: Peer, told: Report) -> int:
        return report(
            peer,
            told,
            calling_ae_title=settings.listener.ae_title,
            timeout_s=settings.delivery.timeout_s,
        )

    known = (*settings.destinations.values(), *settings.assembly.sources.values())
    return Pledges(
        engine,
        store,
        {peer.ae_title.strip(): peer for peer in known},
        node=host.node,
        channels=Channels(over=host.report_over, to=report_to),
        backoff=_backoff(settings, host),
    )


def _backoff(settings: Settings, host: Host) -> Backoff:
    return Backoff(
        first=timedelta(seconds=settings.delivery.retry_first_s),
        longest=timedelta(seconds=settings.delivery.retry_longest_s),
        chance=host.chance,
    )


def _new_uid() -> str:
    """Make a UID from a random UUID (PS3.5 B.2)."""
    return f"2.25.{uuid4().int}"
