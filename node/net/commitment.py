"""Speaks storage commitment (PS3.4 annex J), in the role of who asks and of who is asked."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from threading import Event
from time import monotonic
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import build_role, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import N_ACTION, N_EVENT_REPORT
from pynetdicom.presentation import PresentationContext, build_context

from node.config import Peer
from node.errors import PeerUnavailable
from node.net.association import NothingAccepted, associate

logger = logging.getLogger(__name__)

PUSH_MODEL = UID("1.2.840.10008.1.20.1")
PUSH_MODEL_INSTANCE = UID("1.2.840.10008.1.20.1.1")  # PS3.4 J.3.5: the one instance of the class
REQUEST_COMMITMENT = 1  # PS3.4 table J.3-1: Action Type ID
ALL_COMMITTED, FAILURES_EXIST = 1, 2  # PS3.4 table J.3-2: Event Type ID
MAX_BYTES = 1 << 24
"""A longer request or report is refused; this one names a hundred thousand instances."""
POLL_S = 0.05
SETTLED_S = 0.5
"""An association on which nothing came for so long has a peer that waits for us."""

# PS3.7 annex C
SUCCESS = 0x0000
PROCESSING_FAILURE = 0x0110
NO_SUCH_INSTANCE = 0x0112
NO_SUCH_EVENT_TYPE = 0x0113
INVALID_ARGUMENT = 0x0115
NO_SUCH_ACTION = 0x0123
RESOURCE_LIMITATION = 0x0213
NOT_SUPPORTED = (0x0118, 0x0122, NO_SUCH_ACTION, 0x0211)

# PS3.3 C.14.1.1: Failure Reason (0008,1197)
FAILURE_REASONS = {
    0x0110: "processing failure",
    0x0112: "no such object instance",
    0x0119: "class / instance conflict",
    0x0122: "referenced SOP class not supported",
    0x0131: "duplicate transaction UID",
    0x0213: "resource limitation",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """One instance, as requests and reports name it."""

    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """Asks who gets it to commit to these instances."""

    transaction_uid: str
    references: tuple[Reference, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """An instance that is not committed, and why (Failure Reason)."""

    reference: Reference
    reason: int

    @property
    def meaning(self) -> str:
        """The reason as a person reads it."""
        words = FAILURE_REASONS.get(self.reason, "a reason of its own")
        return f"commitment failed: 0x{self.reason:04X} {words}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What became of a request, instance by instance."""

    transaction_uid: str
    committed: tuple[Reference, ...]
    failed: tuple[Failure, ...]


class NotCommitment(Exception):
    """A message cannot be taken as storage commitment; ``status`` is the answer to it."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


Heard = Callable[[Report], int]
"""Takes a report and returns the status to answer it with."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Commitment:
    """What the listener does when a peer speaks of commitment; both return a status to answer.

    ``heard`` gets a report and the AE title that makes it; ``asked`` a request, the AE title and
    the association that it came on.
    """

    heard: Callable[[Report, str], int]
    asked: Callable[[Request, str, str], int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Linger:
    """How long the association stays open for the report; ``answered`` ends the waiting."""

    wait_s: float
    answered: Event


def ask(
    peer: Peer,
    request: Request,
    *,
    calling_ae_title: str,
    heard: Heard,
    linger: Linger,
    timeout_s: float = 30,
) -> int:
    """Ask the peer to commit to the instances; return the status of its answer.

    Reports that come on the association, of this request or of an earlier one, are heard. Raises
    NothingAccepted where the peer has no storage commitment, PeerUnavailable where it gives no
    answer.
    """

    def on_report(event: evt.Event) -> tuple[int, None]:
        return answer_report(event, heard), None

    with associate(
        peer,
        calling_ae_title=calling_ae_title,
        contexts=[build_context(PUSH_MODEL)],
        timeout_s=timeout_s,
        handlers=[(evt.EVT_N_EVENT_REPORT, on_report)],
    ) as association:
        answer, _ = association.send_n_action(
            _action_information(request), REQUEST_COMMITMENT, PUSH_MODEL, PUSH_MODEL_INSTANCE
        )
        if "Status" not in answer:
            raise PeerUnavailable(f"{peer.ae_title} gave no answer to N-ACTION")
        status = int(answer.Status)
        if status == SUCCESS:
            _wait(association, linger)
        return status


def is_offered(peer: Peer, *, calling_ae_title: str, timeout_s: float = 10) -> bool:
    """Whether the peer takes requests for commitment; raise PeerUnavailable without an answer."""
    try:
        with associate(
            peer,
            calling_ae_title=calling_ae_title,
            contexts=[build_context(PUSH_MODEL)],
            timeout_s=timeout_s,
        ):
            return True
    except NothingAccepted:
        return False


def report(peer: Peer, told: Report, *, calling_ae_title: str, timeout_s: float = 30) -> int:
    """Report to the peer on an association of our own; return the status of its answer.

    We propose the role of SCP for ourselves (PS3.4 J.3.3.1). Raises PeerUnavailable where there is
    no answer.
    """
    with associate(
        peer,
        calling_ae_title=calling_ae_title,
        contexts=[build_context(PUSH_MODEL)],
        timeout_s=timeout_s,
        roles=[build_role(PUSH_MODEL, scp_role=True)],
    ) as association:
        status = report_over(association, told)
        if status is None:
            raise PeerUnavailable(f"{peer.ae_title} gave no answer to N-EVENT-REPORT")
        return status


def report_over(association: Association, told: Report) -> int | None:
    """Report on an association that is open; return the status of the answer, None without one."""
    try:
        with _serving_meanwhile(association):
            answer, _ = association.send_n_event_report(
                _event_information(told),
                FAILURES_EXIST if told.failed else ALL_COMMITTED,
                PUSH_MODEL,
                PUSH_MODEL_INSTANCE,
            )
    except (RuntimeError, ValueError):  # it ended in this moment, or never had the context
        return None
    return int(answer.Status) if "Status" in answer else None


@contextmanager
def _serving_meanwhile(association: Association) -> Iterator[None]:
    """Serve what the peer asks of us before it answers what we asked.

    pynetdicom would take it for the answer, and abort the association.
    """
    provider = association.dimse
    get = provider.get_msg

    def get_answer(block: bool = False) -> Any:  # noqa: ANN401, FBT001, FBT002  as pynetdicom has it
        context_id, message = get(block)
        while block and context_id and message and message.MessageIDBeingRespondedTo is None:
            association._serve_request(message, context_id)
            context_id, message = get(block)
        return context_id, message

    provider.get_msg = get_answer  # type: ignore[method-assign]  # pynetdicom has no hook for it
    try:
        yield
    finally:
        provider.get_msg = get  # type: ignore[method-assign]  # back to what it was


def accepted() -> PresentationContext:
    """Return the context that the listener accepts: peers may ask us, and may report to us."""
    context = build_context(PUSH_MODEL)
    context.scu_role = True
    context.scp_role = True
    return context


def answer_request(event: evt.Event, asked: Callable[[Request], int]) -> int:
    """Return the status to answer an N-ACTION with, after it was taken down."""
    return _answer("request", lambda: asked(_requested(event)))


def answer_report(event: evt.Event, heard: Heard) -> int:
    """Return the status to answer an N-EVENT-REPORT with, after it was heard."""
    return _answer("report", lambda: heard(_reported(event)))


def _answer(what: str, take: Callable[[], int]) -> int:
    try:
        return take()
    except NotCommitment as refusal:
        logger.warning("refused a %s with status 0x%04X: %s", what, refusal.status, refusal)
        return refusal.status
    except Exception:  # a bug of ours must cost the peer one status, not the association
        logger.exception("could not take a %s", what)
        return PROCESSING_FAILURE


def _requested(event: evt.Event) -> Request:
    message = event.request
    assert isinstance(message, N_ACTION)
    if message.RequestedSOPInstanceUID != PUSH_MODEL_INSTANCE:
        raise NotCommitment(NO_SUCH_INSTANCE, "not the well-known instance of the Push Model")
    if message.ActionTypeID != REQUEST_COMMITMENT:
        raise NotCommitment(NO_SUCH_ACTION, f"action type {message.ActionTypeID}")
    asked = _decoded(message.ActionInformation, lambda: event.action_information)
    references = _references(asked, "ReferencedSOPSequence")
    if not references:
        raise NotCommitment(INVALID_ARGUMENT, "the request names no instance")
    return Request(transaction_uid=_text(asked, "TransactionUID"), references=references)


def _reported(event: evt.Event) -> Report:
    message = event.request
    assert isinstance(message, N_EVENT_REPORT)
    if message.AffectedSOPInstanceUID != PUSH_MODEL_INSTANCE:
        raise NotCommitment(NO_SUCH_INSTANCE, "not the well-known instance of the Push Model")
    if message.EventTypeID not in {ALL_COMMITTED, FAILURES_EXIST}:
        raise NotCommitment(NO_SUCH_EVENT_TYPE, f"event type {message.EventTypeID}")
    told = _decoded(message.EventInformation, lambda: event.event_information)
    return Report(
        transaction_uid=_text(told, "TransactionUID"),
        committed=_references(told, "ReferencedSOPSequence"),
        failed=_failures(told),
    )


def _decoded(encoded: BytesIO | None, read: Callable[[], Dataset]) -> Dataset:
    """Decode what a peer sent to the last element, so that what is broken shows here."""
    if encoded is None:
        raise NotCommitment(INVALID_ARGUMENT, "there is no data set")
    if encoded.getbuffer().nbytes > MAX_BYTES:
        raise NotCommitment(RESOURCE_LIMITATION, f"the data set exceeds {MAX_BYTES} bytes")
    try:
        decoded = read()
        decoded.walk(lambda _dataset, element: element.value)
    except Exception as error:  # pydicom raises whatever its reader stumbles over
        kind = type(error).__name__
        raise NotCommitment(INVALID_ARGUMENT, f"the data set cannot be read: {kind}") from error
    return decoded


def _references(asked: Dataset, keyword: str) -> tuple[Reference, ...]:
    return tuple(_reference(item) for item in asked.get(keyword) or ())


def _failures(told: Dataset) -> tuple[Failure, ...]:
    return tuple(
        Failure(reference=_reference(item), reason=_reason(item))
        for item in told.get("FailedSOPSequence") or ()
    )


def _reference(item: Dataset) -> Reference:
    return Reference(
        sop_class_uid=_text(item, "ReferencedSOPClassUID"),
        sop_instance_uid=_text(item, "ReferencedSOPInstanceUID"),
    )


def _reason(item: Dataset) -> int:
    """Return the Failure Reason; a peer that leaves it out failed to process the instance."""
    reason = item.get("FailureReason")
    return reason if isinstance(reason, int) else PROCESSING_FAILURE


def _text(dataset: Dataset, keyword: str) -> str:
    value = dataset.get(keyword)
    if not isinstance(value, str) or not 0 < len(value) <= 64:
        raise NotCommitment(INVALID_ARGUMENT, f"{keyword} is absent or no UID")
    return str(value)


def _action_information(request: Request) -> Dataset:
    information = Dataset()
    information.TransactionUID = request.transaction_uid
    information.ReferencedSOPSequence = _items(request.references)
    return information


def _event_information(told: Report) -> Dataset:
    information = Dataset()
    information.TransactionUID = told.transaction_uid
    if told.committed:
        information.ReferencedSOPSequence = _items(told.committed)
    if told.failed:
        information.FailedSOPSequence = _items([one.reference for one in told.failed])
        for item, failure in zip(information.FailedSOPSequence, told.failed, strict=True):
            item.FailureReason = failure.reason
    return information


def _items(references: Sequence[Reference]) -> list[Dataset]:
    items = []
    for reference in references:
        item = Dataset()
        item.ReferencedSOPClassUID = reference.sop_class_uid
        item.ReferencedSOPInstanceUID = reference.sop_instance_uid
        items.append(item)
    return items


def _wait(association: Association, linger: Linger) -> None:
    end = monotonic() + linger.wait_s
    while association.is_established and monotonic() < end:
        if linger.answered.wait(POLL_S):
            return
