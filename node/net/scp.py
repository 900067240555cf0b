"""The listener: answers C-ECHO, storage commitment, and C-STORE once the instance is safe."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from ssl import SSLSocket
from threading import Lock
from time import monotonic, sleep
from types import TracebackType
from typing import Self

from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu import P_DATA_TF
from pynetdicom.pdu_primitives import A_ASSOCIATE
from typing_extensions import override

from node import audit
from node.audit import Record, ignore
from node.config import Listener as Policy
from node.errors import NotUnderstood, OutOfResources, Refused
from node.implementation import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from node.instance import Arrival
from node.net import commitment as push_model
from node.net import syntaxes, tls
from node.net.command import ERROR_COMMENT_LENGTH
from node.net.commitment import Commitment, Report
from node.net.conversation import SUCCESS, Brought, Delivery, Status
from node.net.deadline import Bounds
from node.net.lean import Desk, Lean
from node.net.part10 import part10
from node.net.peers import Caller, Refusal, crowded, refusal
from node.net.server import Door, Server
from node.net.session import Session
from node.net.wire import acknowledge_at_once, send_at_once

logger = logging.getLogger(__name__)

PROCESSING_FAILURE = 0x0110  # PS3.7 C.5.21
NO_LIMIT = 1 << 30
REPORT_WITHIN_S = 30
"""A peer that sends for so long after it asked gets its report on another association."""

Receive = Callable[[Arrival], None]
"""Makes an instance safe; raises Refused where it cannot."""
ReceiveTogether = Callable[[Sequence[Arrival]], Sequence[bool]]
"""Makes those safe that are soon made safe, and says which; the others are for ``Receive``."""
Closed = Callable[[str], None]
"""Hears that an association brings nothing more: released, aborted or broken."""


class Listener:
    """Our application entity, accepting associations from the moment it is built.

    Raises OSError where the address cannot be bound.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        receive: Receive,
        closed: Closed,
        commitment: Commitment | None = None,
        record: Record = ignore,
        receive_together: ReceiveTogether = lambda arrivals: [False] * len(arrivals),
    ) -> None:
        sessions = _Sessions(policy, receive, closed, commitment, record, receive_together)
        self._sessions = sessions
        ae = AE(ae_title=policy.ae_title)
        supported = [*syntaxes.accepted(), *([push_model.accepted()] if commitment else [])]
        ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
        ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
        ae.supported_contexts = supported
        ae.maximum_associations = NO_LIMIT  # ours counts what is open, not who has yet to speak
        ae.maximum_pdu_size = policy.max_pdu_bytes
        ae.acse_timeout = policy.handshake_timeout_s
        ae.network_timeout = policy.idle_timeout_s
        self._servers: list[Server] = []
        for port, context in _ports(policy):
            server = Server(
                ae,
                (policy.host, port),
                handlers=sessions.handlers(),
                door=Door(
                    bounds=Bounds(
                        begin_s=policy.handshake_timeout_s,
                        pdu_s=policy.idle_timeout_s,
                        pdu_bytes=policy.max_pdu_bytes,
                    ),
                    per_address=policy.max_associations_per_address,
                    tls=None if context is None else (context, sessions.tls_failed),
                    lean=Lean(policy, supported, sessions) if policy.fast else None,
                ),
            )
            self._servers.append(server)
            how = "" if context is None else " with TLS"
            logger.info("listening as %s on %s:%d%s", policy.ae_title, policy.host, port, how)

    def report(self, association: str, told: Report) -> int | None:
        """Report on an association that is still open; None where it is not, or without an answer.

        It is done when the peer waits: nothing came for half a second.
        """
        return self._sessions.report(association, told)

    def close(self) -> None:
        """Accept nothing more and abort what is open; what was answered with Success is safe."""
        for server in self._servers:
            server.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _ports(policy: Policy) -> Iterator[tuple[int, tls.Accepting | None]]:
    if policy.tls is None or policy.tls.port is not None:
        yield policy.port, None
    if policy.tls is not None:
        yield policy.tls.port or policy.port, tls.Accepting(policy.tls)


class _Sessions(Desk):
    """The associations that are open, each with its identity and the message that it brings."""

    def __init__(
        self,
        policy: Policy,
        receive: Receive,
        closed: Closed,
        commitment: Commitment | None,
        record: Record,
        receive_together: ReceiveTogether,
    ) -> None:
        self._policy = policy
        self._receive_together = receive_together
        self._commitment = commitment
        self._receive = receive
        self._closed = closed
        self._record = record
        self._open: dict[object, Session] = {}
        self._lock = Lock()

    def handlers(self) -> list[evt.EventHandlerType]:
        return [
            (evt.EVT_CONN_OPEN, send_at_once),
            (evt.EVT_DATA_RECV, acknowledge_at_once),
            (evt.EVT_DATA_SENT, acknowledge_at_once),
            (evt.EVT_PDU_RECV, self._on_pdu),
            (evt.EVT_REQUESTED, self._on_requested),
            (evt.EVT_ESTABLISHED, self._on_established),
            (evt.EVT_DIMSE_RECV, self._on_message),
            (evt.EVT_DIMSE_SENT, self._on_answer),
            (evt.EVT_C_STORE, self._on_store),
            (evt.EVT_N_ACTION, self._on_action),
            (evt.EVT_N_EVENT_REPORT, self._on_report),
            (evt.EVT_RELEASED, self._on_released),
            (evt.EVT_ABORTED, self._on_aborted),
            (evt.EVT_CONN_CLOSE, self._on_broken),
        ]

    def tls_failed(self, address: str, why: str) -> None:
        logger.warning("no TLS with %s: %s", address, why)
        self._record(audit.connection_refused(address, why))

    @override
    def enter(self, key: object, caller: Caller, port: int | None) -> Session | Refusal:
        reason = refusal(self._policy, caller)
        session = Session(caller.address, port, caller.calling_ae_title)
        if reason is None:
            with self._lock:
                here = [one.address for one in self._open.values()]
                reason = crowded(self._policy, caller.address, here)
                if reason is None:
                    self._open[key] = session
                    return session
        who = (caller.calling_ae_title, caller.address)
        logger.warning("rejected an association of %s at %s: %s", *who, reason.why)
        self._record(audit.association_rejected(_participant(caller), reason.why))
        return reason

    @override
    def established(self, session: Session, caller: Caller) -> None:
        self._record(audit.association_opened(_participant(caller)))
        logger.debug("association %s opened by %s", session.identity, session.calling_ae_title)

    def _on_requested(self, event: evt.Event) -> None:
        """Take or reject who calls, before anything is negotiated."""
        association = event.assoc
        if not isinstance(association.requestor.primitive, A_ASSOCIATE):
            association.is_aborted = True  # it ended before it was asked for; else we negotiated
            return
        entered = self.enter(association, _caller(association), association.requestor.port)
        if isinstance(entered, Refusal):
            association.acse.send_reject(*entered.rejection.value)
            association.kill()

    def _on_established(self, event: evt.Event) -> None:
        session = self._open.get(event.assoc)
        if session is not None:
            session.establish(event.assoc)
            self.established(session, _caller(event.assoc))

    def _on_pdu(self, event: evt.Event) -> None:
        session = self._open.get(event.assoc)
        if session is None or not isinstance(event.pdu, P_DATA_TF):
            return
        session.bound(event.pdu, self._policy.max_instance_bytes)
        excess = session.excess(self._policy.message_timeout_s, self._policy.max_instance_bytes)
        if excess is not None:
            logger.warning("gave up %s: %s", session.peer, excess)
            event.assoc.abort(block=False)

    def _on_message(self, event: evt.Event) -> None:
        session = self._open.get(event.assoc)
        if session is not None:
            session.message_came()

    def _on_answer(self, event: evt.Event) -> None:
        session = self._open.get(event.assoc)
        if session is not None:
            session.message_went()

    @override
    def store(self, session: Session | None, delivery: Delivery) -> tuple[int, str]:
        """Keep an instance; Success means it is safe on disk, and nothing less."""
        try:
            self._receive(self._arrival(session, delivery))
        except Refused as refusal:
            logger.warning("refused an instance with status 0x%04X: %s", refusal.status, refusal)
            return refusal.status, str(refusal)
        except Exception:  # a bug of ours must cost the peer one status, not the association
            logger.exception("could not take an instance")
            return PROCESSING_FAILURE, "the node failed; its log says why"
        return SUCCESS, ""

    @override
    def store_together(self, brought: Brought) -> Sequence[Status | None]:
        """Keep what needs nothing but the journal; Success means the same."""
        told: list[Status | None] = [None] * len(brought)
        arrivals: dict[int, Arrival] = {}
        for at, (session, delivery) in enumerate(brought):
            with suppress(Refused):  # store() says why
                arrivals[at] = self._arrival(session, delivery)
        safe = self._receive_together(list(arrivals.values()))
        for at, is_safe in zip(arrivals, safe, strict=True):
            told[at] = (SUCCESS, "") if is_safe else None
        return told

    def _on_store(self, event: evt.Event) -> Dataset:
        request = event.request
        assert isinstance(request, C_STORE)
        sop_class_uid = str(request.AffectedSOPClassUID)
        sop_instance_uid = str(request.AffectedSOPInstanceUID)
        transfer_syntax_uid = str(event.context.transfer_syntax)
        file, size = None, 0
        if request.DataSet is not None:
            data_set = event.encoded_dataset(include_meta=False)
            size = len(data_set)
            file = part10(
                data_set,
                sop_class_uid=sop_class_uid,
                sop_instance_uid=sop_instance_uid,
                transfer_syntax_uid=transfer_syntax_uid,
            )
        delivery = Delivery(
            sop_class_uid=sop_class_uid,
            sop_instance_uid=sop_instance_uid,
            transfer_syntax_uid=transfer_syntax_uid,
            part10=file,
            is_too_long=size > self._policy.max_instance_bytes,
        )
        return _status(*self.store(self._open.get(event.assoc), delivery))

    def _on_action(self, event: evt.Event) -> tuple[int, None]:
        """Answer one N-ACTION: Success means that the request is written down."""
        session, service = self._open.get(event.assoc), self._commitment
        if session is None or service is None:
            return PROCESSING_FAILURE, None
        of = (session.calling_ae_title, session.identity)
        return push_model.answer_request(event, lambda asked: service.asked(asked, *of)), None

    def _on_report(self, event: evt.Event) -> tuple[int, None]:
        session, service = self._open.get(event.assoc), self._commitment
        if session is None or service is None:
            return PROCESSING_FAILURE, None
        title = session.calling_ae_title
        return push_model.answer_report(event, lambda told: service.heard(told, title)), None

    def report(self, association: str, told: Report) -> int | None:
        end = monotonic() + REPORT_WITHIN_S
        while monotonic() < end:
            with self._lock:
                found = [
                    key
                    for key, one in self._open.items()
                    if one.identity == association and isinstance(key, Association)
                ]
                quiet = [a for a in found if self._open[a].quiet_s() > push_model.SETTLED_S]
            if not found:
                return None
            if quiet:
                return push_model.report_over(quiet[0], told)
            sleep(push_model.POLL_S)
        return None

    def _arrival(self, session: Session | None, delivery: Delivery) -> Arrival:
        if session is None:
            raise Refused("the association ended before its last instance was taken")
        if delivery.is_too_long:
            raise OutOfResources(f"the instance exceeds {self._policy.max_instance_bytes} bytes")
        if delivery.part10 is None:
            raise NotUnderstood("the request has no data set")
        return Arrival(
            part10=delivery.part10,
            sop_class_uid=delivery.sop_class_uid,
            sop_instance_uid=delivery.sop_instance_uid,
            transfer_syntax_uid=delivery.transfer_syntax_uid,
            calling_ae_title=session.calling_ae_title,
            peer=session.peer,
            association=session.identity,
            sheet=delivery.sheet,
        )

    def _on_released(self, event: evt.Event) -> None:
        self._end(event.assoc, "released")

    def _on_aborted(self, event: evt.Event) -> None:
        self._end(event.assoc, "aborted")

    def _on_broken(self, event: evt.Event) -> None:
        self._end(event.assoc, "broken")

    def _end(self, association: Association, how: str) -> None:
        session = self.leave(association)
        if session is not None and session.established:
            self.ended(session, how)

    @override
    def leave(self, key: object) -> Session | None:
        with self._lock:
            return self._open.pop(key, None)

    @override
    def ended(self, session: Session, how: str) -> None:
        level = logging.DEBUG if how == "released" else logging.WARNING
        logger.log(
            level, "association %s of %s %s", session.identity, session.calling_ae_title, how
        )
        self._closed(session.identity)


def _caller(association: Association) -> Caller:
    request = _request(association)
    wrapper = association.dul.socket
    connection = None if wrapper is None else wrapper.socket
    secured = connection if isinstance(connection, SSLSocket) else None
    return Caller(
        calling_ae_title=_title(association),
        called_ae_title=str(request.called_ae_title).strip(),
        address=str(association.requestor.address),
        tls=secured is not None,
        certificate=None if secured is None else tls.shown(secured),
    )


def _title(association: Association) -> str:
    return str(_request(association).calling_ae_title).strip()


def _request(association: Association) -> A_ASSOCIATE:
    request = association.requestor.primitive
    assert request is not None, "no association is asked about before its request has come"
    return request


def _participant(caller: Caller) -> audit.Participant:
    return audit.peer(caller.calling_ae_title, caller.address)


def _status(status: int, comment: str) -> Dataset:
    answer = Dataset()
    answer.Status = status
    if comment:
        answer.ErrorComment = comment[:ERROR_COMMENT_LENGTH]
    return answer
