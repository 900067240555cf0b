"""Finds out whether destinations keep what they were sent, and owes again what they do not."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from threading import Event
from typing import Protocol

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from db import commitments, deliveries
from db.commitments import CommitmentRequest
from db.deliveries import Delivery, DeliveryState, Evidence
from db.engine import reading, writing
from node.backoff import Backoff, DueAt
from node.config import Destination, Peer
from node.errors import PeerUnavailable
from node.lanes import Lanes
from node.leasing import Leasing
from node.net.association import NothingAccepted
from node.net.commitment import (
    INVALID_ARGUMENT,
    NOT_SUPPORTED,
    SUCCESS,
    Failure,
    Heard,
    Reference,
    Report,
    Request,
)
from node.net.find import Series

logger = logging.getLogger(__name__)

BATCH = 200  # instances a request
RESENDS_AT_ONCE = 2
"""So often an object that a destination lost is sent again at once; from then on with pauses."""
UNANSWERED = 3
"""So often a destination may be out of reach before C-FIND is tried in place of commitment."""
MISSES = 3
"""So often C-FIND may miss an object, as a PACS needs a moment, before it is sent again."""
DAY = timedelta(days=1)
REMEMBERED = timedelta(days=30)
"""For so long a request that is settled is known, so that a late report is no stranger's."""
UNHEARD_MOST = 1000
"""So many reports that the database could not take are remembered; the time-out is for more."""
NOT_PROCESSED = (0x0110, 0x0122, 0x0131, 0x0213)
"""Reasons that say nothing of the object: it is there as far as we know, so we ask again."""


class Network(Protocol):
    """What is asked of a destination; both raise PeerUnavailable where it gives no answer."""

    def ask(self, peer: Peer, request: Request, *, heard: Heard, answered: Event) -> int:
        """Ask for commitment; return the status. Raises NothingAccepted where there is none."""
        ...

    def find(self, peer: Peer, wanted: Mapping[Series, Sequence[str]]) -> set[str] | None:
        """Return which instances the destination finds; None where it cannot tell."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """How long to wait: for a report, and after each failure."""

    timeout: timedelta
    backoff: Backoff


class Confirmation:
    """What was sent, and what shows that it is kept.

    A request is stored before it is made: a crash at any moment leads at worst to a second request
    about the same instances, and the report on either is believed.
    """

    def __init__(
        self,
        engine: Engine,
        destinations: Mapping[str, Destination],
        *,
        node: str,
        network: Network,
        pace: Pace,
        new_uid: Callable[[], str],
    ) -> None:
        self._engine = engine
        self._destinations = destinations
        self._leasing = Leasing(node)
        self._network = network
        self._pace = pace
        self._new_uid = new_uid
        self._lanes = Lanes("commitment")
        self._lingering: dict[str, Event] = {}
        self._unheard: set[tuple[str, str]] = set()
        self._forgot_at: datetime | None = None

    def confirm(self, now: datetime) -> int:
        """Ask about what is due at each destination that is idle; return how much was settled.

        Reports that come later are heard by ``heard``. Call it from one thread.
        """
        self._forget(now)
        self._recall(now)
        with reading(self._engine) as connection:
            names = deliveries.due_destinations(connection, DeliveryState.SENT, now=now)
        renew = partial(deliveries.renew, state=DeliveryState.SENT)
        self._leasing.renew(self._engine, self._lanes.busy(), renew, now)
        return self._lanes.run(names, lambda name: self._confirm_with(name, now))

    def heard(self, report: Report, *, ae_title: str, now: datetime) -> int:
        """Take the report of an application entity; return the status to answer it with.

        It is believed where this entity was asked, for what is still open of its request: the same
        report again changes nothing. Where the database fails, the destination, which may report
        once and never again, is soon asked anew.
        """
        try:
            return self._hear(report, ae_title.strip(), now)
        except SQLAlchemyError:
            if len(self._unheard) < UNHEARD_MOST:
                self._unheard.add((report.transaction_uid, ae_title.strip()))
            raise

    def _hear(self, report: Report, ae_title: str, now: datetime) -> int:
        with writing(self._engine) as connection:
            request = commitments.find(connection, report.transaction_uid)
            if request is None or request.ae_title != ae_title:
                logger.warning(
                    "refused a report of %s: transaction %s was not asked of it",
                    ae_title,
                    report.transaction_uid,
                )
                return INVALID_ARGUMENT
            commitments.answered(connection, report.transaction_uid, now=now)
            self._apply(connection, report, now)
        lingering = self._lingering.get(report.transaction_uid)
        if lingering is not None:
            lingering.set()
        return SUCCESS

    def _recall(self, now: datetime) -> None:
        """Ask again, in this turn, about what was reported and could not be noted."""
        for uid, ae_title in list(self._unheard):
            with writing(self._engine) as connection:
                request = commitments.find(connection, uid)
                if request is not None and request.ae_title == ae_title:
                    if request.destination in self._lanes.busy():
                        continue  # it may be this request that is under way, and sets a time itself
                    commitments.hurry(connection, uid, due_at=now)
            self._unheard.discard((uid, ae_title))

    def close(self) -> None:
        """Ask nothing more; what is under way is finished first."""
        for lingering in list(self._lingering.values()):
            lingering.set()
        self._lanes.close()

    def _forget(self, now: datetime) -> None:
        """Once a day, forget the requests that were settled long ago."""
        if self._forgot_at is None or now - self._forgot_at > DAY:
            self._forgot_at = now
            with writing(self._engine) as connection:
                commitments.forget(connection, before=now - REMEMBERED)

    def _confirm_with(self, name: str, now: datetime) -> int:
        with writing(self._engine) as connection:
            claimed = deliveries.claim(
                connection, name, DeliveryState.SENT, lease=self._leasing.at(now), limit=BATCH
            )
        sent = sorted(claimed, key=lambda one: one.id)  # as reports go through them, too
        if not sent:  # another node was faster
            return 0
        destination = self._destinations.get(name)
        if destination is None:
            self._wait(sent, now, f"destination {name} is not configured any more")
            return 0
        if destination.commitment == "none":
            return self._settle(sent, Evidence.NONE, now)
        try:
            return self._inquire(destination, sent, now)
        except PeerUnavailable as error:
            self._wait(sent, now, str(error))
            return 0

    def _inquire(self, destination: Destination, sent: Sequence[Delivery], now: datetime) -> int:
        with reading(self._engine) as connection:
            asked = commitments.asked_about(connection, sent)
        again = [one for one in sent if one.id in asked or one.asks >= UNANSWERED]
        first = [one for one in sent if one not in again]
        settled = self._inquire_first(destination, first, now) if first else 0
        return settled + (self._inquire_again(destination, again, now) if again else 0)

    def _inquire_first(self, to: Destination, sent: Sequence[Delivery], now: datetime) -> int:
        if to.commitment == "find":
            return self._judge(to, sent, self._find(to, sent), now)
        try:
            return self._ask(to, sent, now)
        except NothingAccepted as refusal:
            if to.commitment == "required":
                self._wait(sent, now, str(refusal))
                return 0
            return self._judge(to, sent, self._find(to, sent), now)

    def _inquire_again(self, to: Destination, sent: Sequence[Delivery], now: datetime) -> int:
        """Look for what may be there by now, then ask about the rest."""
        if to.commitment != "auto":
            return self._inquire_first(to, sent, now)
        found = self._find(to, sent)
        there = [one for one in sent if one.sop_instance_uid in (found or ())]
        rest = [one for one in sent if one not in there]
        settled = self._settle(there, Evidence.FIND, now)
        if not rest:
            return settled
        try:
            return settled + self._ask(to, rest, now)
        except NothingAccepted:
            return settled + self._judge(to, rest, found, now)

    def _ask(self, to: Destination, sent: Sequence[Delivery], now: datetime) -> int:
        """Ask for commitment; raise NothingAccepted where the destination does not do that."""
        request = self._store(to, sent, now)
        uid = request.transaction_uid
        self._lingering[uid] = Event()
        try:
            status = self._network.ask(
                to,
                request,
                heard=lambda report: self.heard(report, ae_title=to.ae_title, now=now),
                answered=self._lingering[uid],
            )
        finally:
            del self._lingering[uid]
        with writing(self._engine) as connection:
            commitments.asked(connection, uid, now=now)
        if status in NOT_SUPPORTED:
            raise NothingAccepted(f"{to.ae_title} refuses N-ACTION: status 0x{status:04X}")
        if status != SUCCESS:
            self._wait(sent, now, f"{to.ae_title} answers N-ACTION with status 0x{status:04X}")
            return 0
        due_at = now + self._pace.timeout
        with writing(self._engine) as connection:
            waiting = [deliveries.wait(connection, one, due_at=due_at, error=None) for one in sent]
        return waiting.count(False)  # the report was faster

    def _store(self, to: Destination, sent: Sequence[Delivery], now: datetime) -> Request:
        request = Request(
            transaction_uid=self._new_uid(),
            references=tuple(
                Reference(sop_class_uid=one.sop_class_uid, sop_instance_uid=one.sop_instance_uid)
                for one in sent
            ),
        )
        with writing(self._engine) as connection:
            commitments.store(
                connection,
                CommitmentRequest(
                    transaction_uid=request.transaction_uid,
                    destination=sent[0].destination,
                    ae_title=to.ae_title.strip(),
                    created_at=now,
                ),
                sent,
            )
        return request

    def _find(self, to: Destination, sent: Sequence[Delivery]) -> set[str] | None:
        wanted: dict[Series, list[str]] = {}
        for one in sent:
            series = Series(
                study_instance_uid=one.study_instance_uid,
                series_instance_uid=one.series_instance_uid,
            )
            wanted.setdefault(series, []).append(one.sop_instance_uid)
        return self._network.find(to, wanted)

    def _judge(
        self, to: Destination, sent: Sequence[Delivery], found: set[str] | None, now: datetime
    ) -> int:
        """Settle by what C-FIND found alone; where it cannot tell, auto is content with C-STORE."""
        if found is None and to.commitment == "auto":
            return self._settle(sent, Evidence.NONE, now)
        if found is None:
            self._wait(sent, now, f"{to.ae_title} cannot be asked by C-FIND")
            return 0
        there = [one for one in sent if one.sop_instance_uid in found]
        self._miss([one for one in sent if one.sop_instance_uid not in found], now)
        return self._settle(there, Evidence.FIND, now)

    def _settle(self, sent: Sequence[Delivery], evidence: Evidence, now: datetime) -> int:
        with writing(self._engine) as connection:
            return sum(
                deliveries.settle(connection, one, evidence=evidence, now=now) for one in sent
            )

    def _wait(self, sent: Iterable[Delivery], now: datetime, error: str) -> None:
        due_at = self._pace.backoff.drawn(now)
        with writing(self._engine) as connection:
            for one in sent:
                self._wait_for(connection, one, due_at, error)

    def _wait_for(self, connection: Connection, one: Delivery, due_at: DueAt, error: str) -> None:
        noted = deliveries.wait(connection, one, due_at=due_at(one.asks + 1), error=error)
        if noted and error != one.commitment_error:
            _say(one, error)

    def _miss(self, sent: Iterable[Delivery], now: datetime) -> None:
        error = "C-FIND does not find it"
        due_at = self._pace.backoff.drawn(now)
        with writing(self._engine) as connection:
            for one in sent:
                if one.asks + 1 < MISSES:
                    self._wait_for(connection, one, due_at, error)
                else:
                    self._reject(connection, one, due_at, error)

    def _reject(self, connection: Connection, one: Delivery, due_at: DueAt, error: str) -> None:
        resend_at = due_at(one.rejections + 1 - RESENDS_AT_ONCE)
        if deliveries.reject(connection, one, due_at=resend_at, error=error):
            _say(one, f"{error}; it is sent again")

    def _apply(self, connection: Connection, report: Report, now: datetime) -> None:
        committed = {one.sop_instance_uid for one in report.committed}
        failed = {one.reference.sop_instance_uid: one for one in report.failed}
        due_at = self._pace.backoff.drawn(now)
        for delivery in commitments.open_items(connection, report.transaction_uid):
            uid = delivery.sop_instance_uid
            if uid in failed:  # also where the report names it twice: it is sent once too often
                self._apply_failure(connection, delivery, failed[uid], due_at)
            elif uid in committed:
                deliveries.settle(connection, delivery, evidence=Evidence.COMMITMENT, now=now)

    def _apply_failure(
        self, connection: Connection, delivery: Delivery, failure: Failure, due_at: DueAt
    ) -> None:
        if failure.reason in NOT_PROCESSED:
            self._wait_for(connection, delivery, due_at, failure.meaning)
        else:
            self._reject(connection, delivery, due_at, failure.meaning)


def _say(delivery: Delivery, what: str) -> None:
    logger.warning(
        "%s at %s: %s",
        delivery.sop_instance_uid,
        delivery.destination,
        what,
        extra={"study": delivery.study_instance_uid},
    )
