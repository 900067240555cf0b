"""The listener: answers C-ECHO, and C-STORE with Success once the instance is safe."""

import logging
from collections.abc import Callable
from socketserver import BaseServer
from threading import Lock, Thread
from types import TracebackType
from typing import Self
from uuid import uuid4

from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu import P_DATA_TF
from pynetdicom.transport import ThreadedAssociationServer
from typing_extensions import override

from node.config import Listener as Policy
from node.errors import NotUnderstood, OutOfResources, Refused
from node.implementation import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from node.instance import Arrival
from node.net import syntaxes
from node.net.part10 import part10
from node.net.wire import acknowledge_at_once, send_at_once

logger = logging.getLogger(__name__)

SUCCESS = 0x0000
PROCESSING_FAILURE = 0x0110  # PS3.7 C.5.21
POLL_INTERVAL_S = 0.05
ERROR_COMMENT_LENGTH = 64  # PS3.7 C.5: Error Comment has VR LO

Receive = Callable[[Arrival], None]
"""Makes an instance safe; raises Refused where it cannot."""
Closed = Callable[[str], None]
"""Hears that an association brings nothing more: released, aborted or broken."""


class Listener:
    """Our application entity, accepting associations from the moment it is built.

    Raises OSError where the address cannot be bound.
    """

    def __init__(self, policy: Policy, *, receive: Receive, closed: Closed) -> None:
        self._sessions = _Sessions(policy, receive, closed)
        ae = AE(ae_title=policy.ae_title)
        ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
        ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
        ae.supported_contexts = syntaxes.accepted()
        ae.require_calling_aet = list(policy.calling_ae_titles)
        ae.require_called_aet = policy.require_called_ae_title
        ae.maximum_associations = policy.max_associations
        ae.maximum_pdu_size = policy.max_pdu_bytes
        ae.network_timeout = policy.idle_timeout_s
        server = ae.make_server(
            (policy.host, policy.port),
            evt_handlers=self._sessions.handlers(),
            server_class=_Server,
        )
        assert isinstance(server, _Server)
        self._server = server
        self._thread = Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": POLL_INTERVAL_S},
            name="listener",
            daemon=True,
        )
        self._thread.start()
        logger.info("listening as %s on %s:%d", policy.ae_title, policy.host, policy.port)

    def close(self) -> None:
        """Accept nothing more and abort what is open; what was answered with Success is safe."""
        self._server.shutdown()
        for association in self._server.active_associations:
            association.abort()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class _Server(ThreadedAssociationServer):
    """pynetdicom's server, run by a thread of ours: its own takes half a second to stop."""

    @override
    def shutdown(self) -> None:
        BaseServer.shutdown(self)
        self.server_close()


class _Sessions:
    """The associations that are open, each with its identity and the message that it brings."""

    def __init__(self, policy: Policy, receive: Receive, closed: Closed) -> None:
        self._max_instance_bytes = policy.max_instance_bytes
        self._receive = receive
        self._closed = closed
        self._open: dict[Association, _Session] = {}
        self._lock = Lock()

    def handlers(self) -> list[evt.EventHandlerType]:
        return [
            (evt.EVT_CONN_OPEN, send_at_once),
            (evt.EVT_DATA_RECV, acknowledge_at_once),
            (evt.EVT_DATA_SENT, acknowledge_at_once),
            (evt.EVT_PDU_RECV, self._on_pdu),
            (evt.EVT_ESTABLISHED, self._on_established),
            (evt.EVT_C_STORE, self._on_store),
            (evt.EVT_REJECTED, _on_rejected),
            (evt.EVT_RELEASED, self._on_released),
            (evt.EVT_ABORTED, self._on_aborted),
            (evt.EVT_CONN_CLOSE, self._on_broken),
        ]

    def _on_established(self, event: evt.Event) -> None:
        session = _Session(event.assoc)
        with self._lock:
            self._open[event.assoc] = session
        logger.debug("association %s opened by %s", session.association, session.calling_ae_title)

    def _on_pdu(self, event: evt.Event) -> None:
        session = self._open.get(event.assoc)
        if session is not None and isinstance(event.pdu, P_DATA_TF):
            session.bound(event.pdu, self._max_instance_bytes)

    def _on_store(self, event: evt.Event) -> Dataset | int:
        """Answer one C-STORE: Success means the instance is safe on disk, and nothing less."""
        try:
            self._receive(self._arrival(event))
        except Refused as refusal:
            logger.warning("refused an instance with status 0x%04X: %s", refusal.status, refusal)
            return _status(refusal.status, str(refusal))
        except Exception:  # a bug of ours must cost the peer one status, not the association
            logger.exception("could not take an instance")
            return _status(PROCESSING_FAILURE, "the node failed; its log says why")
        return SUCCESS

    def _arrival(self, event: evt.Event) -> Arrival:
        session = self._open.get(event.assoc)
        if session is None:
            raise Refused("the association ended before its last instance was taken")
        request = event.request
        assert isinstance(request, C_STORE)
        if request.DataSet is None:
            raise NotUnderstood("the request has no data set")
        data_set = event.encoded_dataset(include_meta=False)
        if len(data_set) > self._max_instance_bytes:
            raise OutOfResources(f"the instance exceeds {self._max_instance_bytes} bytes")
        sop_class_uid = str(request.AffectedSOPClassUID)
        sop_instance_uid = str(request.AffectedSOPInstanceUID)
        transfer_syntax_uid = str(event.context.transfer_syntax)
        return Arrival(
            part10=part10(
                data_set,
                sop_class_uid=sop_class_uid,
                sop_instance_uid=sop_instance_uid,
                transfer_syntax_uid=transfer_syntax_uid,
            ),
            sop_class_uid=sop_class_uid,
            sop_instance_uid=sop_instance_uid,
            transfer_syntax_uid=transfer_syntax_uid,
            calling_ae_title=session.calling_ae_title,
            peer=session.peer,
            association=session.association,
        )

    def _on_released(self, event: evt.Event) -> None:
        self._end(event.assoc, "released")

    def _on_aborted(self, event: evt.Event) -> None:
        self._end(event.assoc, "aborted")

    def _on_broken(self, event: evt.Event) -> None:
        self._end(event.assoc, "broken")

    def _end(self, association: Association, how: str) -> None:
        with self._lock:
            session = self._open.pop(association, None)
        if session is None:
            return
        level = logging.DEBUG if how == "released" else logging.WARNING
        logger.log(
            level, "association %s of %s %s", session.association, session.calling_ae_title, how
        )
        self._closed(session.association)


class _Session:
    """One association: who sends, and how much of the present message has come."""

    def __init__(self, association: Association) -> None:
        requestor = association.requestor
        self.association = uuid4().hex
        self.calling_ae_title = str(requestor.ae_title).strip()
        self.peer = f"{requestor.address}:{requestor.port}"
        self._data_set_bytes = 0

    def bound(self, pdu: P_DATA_TF, limit: int) -> None:
        """Drop what comes of a data set beyond ``limit``, so that no peer can fill the memory.

        The fragment that crosses the limit stays: the data set is seen to be too long, and the
        peer gets its answer.
        """
        for item in pdu.presentation_data_value_items:
            fragment = item.presentation_data_value or b"\x00"
            if fragment[0] & 1:  # PS3.8 E.2: a command fragment, which a new message begins with
                self._data_set_bytes = 0
            elif self._data_set_bytes > limit:
                item.presentation_data_value = fragment[:1]
            else:
                self._data_set_bytes += len(fragment) - 1


def _on_rejected(event: evt.Event) -> None:
    requestor = event.assoc.requestor
    logger.warning(
        "rejected an association of %s at %s", str(requestor.ae_title).strip(), requestor.address
    )


def _status(status: int, comment: str) -> Dataset:
    answer = Dataset()
    answer.Status = status
    answer.ErrorComment = comment[:ERROR_COMMENT_LENGTH]
    return answer
