"""Opens associations with peers, each with what is about to be asked on it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import A_ASSOCIATE, SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import PresentationContext

from node.config import Peer
from node.errors import PeerUnavailable, TlsUnusable
from node.implementation import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from node.net import tls
from node.net.deadline import Bounds, CallingEntity, close
from node.net.wire import acknowledge_at_once, send_at_once

MAX_PDU_BYTES = 16382
"""What we ask peers to keep to; pynetdicom's default."""

REJECTED = (0x01, 0x02)  # PS3.8 9.3.4: for good, for now


class NothingAccepted(PeerUnavailable):
    """The peer took the association and none of what was proposed."""


@contextmanager
def associate(
    peer: Peer,
    *,
    calling_ae_title: str,
    contexts: Sequence[PresentationContext],
    timeout_s: float,
    roles: Sequence[SCP_SCU_RoleSelectionNegotiation] = (),
    handlers: Sequence[evt.EventHandlerType] = (),
) -> Iterator[Association]:
    """Open an association for the length of the block; raise PeerUnavailable where it fails.

    ``timeout_s`` bounds the connection, the negotiation and each answer, one by one. ``roles`` are
    proposed where we are not the SCU; ``handlers`` answer what the peer asks on its side.
    """
    ae = CallingEntity(
        calling_ae_title,
        Bounds(begin_s=None, pdu_s=timeout_s, pdu_bytes=MAX_PDU_BYTES),
    )
    ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    ae.connection_timeout = timeout_s
    ae.acse_timeout = timeout_s
    ae.dimse_timeout = timeout_s
    ae.network_timeout = timeout_s
    try:
        protection = None if peer.tls is None else tls.calling(peer.tls)
        association = ae.associate(
            peer.host,
            peer.port,
            contexts=list(contexts),
            ae_title=peer.ae_title,
            max_pdu=MAX_PDU_BYTES,
            evt_handlers=[
                (evt.EVT_CONN_OPEN, send_at_once),
                (evt.EVT_DATA_RECV, acknowledge_at_once),
                (evt.EVT_DATA_SENT, acknowledge_at_once),
                *handlers,
            ],
            ext_neg=list(roles),
            tls_args=None if protection is None else (protection, peer.host),
        )
    except TlsUnusable as error:
        raise PeerUnavailable(f"{_address(peer)}: {error}") from error
    except OSError as error:
        raise PeerUnavailable(f"{_address(peer)}: {error.strerror or error}") from error
    _leave_answers(association)
    if not association.is_established:
        close(association)  # pynetdicom leaves it to the garbage collector
    if association.rejected_contexts and not association.accepted_contexts:
        raise NothingAccepted(f"{_address(peer)}: no presentation context accepted")
    if not association.is_established:
        failure = None if protection is None else protection.failure
        raise PeerUnavailable(f"{_address(peer)}: {failure or _why(association)}")
    try:
        yield association
    finally:
        if association.is_established:
            association.release()


def _leave_answers(association: Association) -> None:
    """Keep pynetdicom's reactor from taking the answer that one of its ``send_*`` methods awaits.

    The reactor says that it is paused just before it looks whether it is to be: a request sent at
    that moment has its answer taken off the queue, as if the peer had said nothing.
    """
    dimse = association.dimse
    take = dimse.get_msg

    def get_msg(block: bool = False) -> Any:  # noqa: ANN401, FBT001, FBT002  pynetdicom's own signature
        context_id, message = take(block)
        is_answer = getattr(message, "MessageIDBeingRespondedTo", None) is not None
        # Cleared from before a request is sent until its answer is there.
        if block or not is_answer or association._reactor_checkpoint.is_set():
            return context_id, message
        waiting = dimse.msg_queue
        with waiting.mutex:
            waiting.queue.appendleft((context_id, message))
            waiting.not_empty.notify()
        return None, None

    dimse.get_msg = get_msg  # type: ignore[method-assign]  # pynetdicom offers no other way


def _address(peer: Peer) -> str:
    return f"{peer.ae_title} at {peer.host}:{peer.port}"


def _why(association: Association) -> str:
    answer = association.acceptor.primitive
    if not association.is_rejected:
        # A rejection that comes at once finds pynetdicom still waiting to be connected: unread.
        answer = association.dul.receive_pdu(wait=False)
    if isinstance(answer, A_ASSOCIATE) and answer.result in REJECTED:
        return f"association rejected: {answer.reason_str}"
    return "association rejected" if association.is_rejected else "no association"
