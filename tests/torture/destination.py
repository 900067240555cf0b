"""A PACS that answers as its script says, and remembers what it keeps and what it has told."""

import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.pdu import P_DATA_TF
from pynetdicom.presentation import StoragePresentationContexts
from pynetdicom.transport import ThreadedAssociationServer

from node.net.commitment import PUSH_MODEL
from node.net.find import STUDY_ROOT_FIND

AE_TITLE = "TORTURED"
SUCCESS = 0x0000

Store = int | Literal["abort, not kept", "abort, kept"]
"""A status, or the end of the association before an answer."""


@dataclass(kw_only=True)
class Script:
    """How the PACS answers; the functions may look at the PACS."""

    store: Callable[[str], Store] = lambda _: SUCCESS
    """The answer to C-STORE of a SOP Instance UID."""
    breaks: Callable[[], bool] = lambda: False
    """Whether it aborts before the data set that just comes is whole."""
    asked: Callable[[str, Sequence[tuple[str, str]]], int] | None = None
    """The answer to a request for commitment: transaction, then class and instance of each."""
    finds: bool = False
    """Whether it takes C-FIND."""


@dataclass
class Destination:
    """One application entity on loopback, up from ``open`` to ``close``."""

    port: int
    script: Script
    kept: dict[str, str] = field(default_factory=dict)
    """The digest of each data set that it keeps."""
    offers: Counter[str] = field(default_factory=Counter)
    taken: Counter[str] = field(default_factory=Counter)
    """How often each was answered as taken."""
    _server: ThreadedAssociationServer | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def open(self) -> None:
        """Take associations from now on."""
        if self._server is not None:
            return
        ae = AE(ae_title=AE_TITLE)
        ae.supported_contexts = StoragePresentationContexts
        handlers: list[evt.EventHandlerType] = [
            (evt.EVT_C_STORE, self._on_store),
            (evt.EVT_PDU_RECV, self._on_pdu),
        ]
        if self.script.asked is not None:
            ae.add_supported_context(PUSH_MODEL)
            handlers.append((evt.EVT_N_ACTION, self._on_request))
        if self.script.finds:
            ae.add_supported_context(STUDY_ROOT_FIND)
            handlers.append((evt.EVT_C_FIND, self._on_find))
        server = ae.start_server(("127.0.0.1", self.port), block=False, evt_handlers=handlers)
        assert isinstance(server, ThreadedAssociationServer)
        self._server = server

    def close(self) -> None:
        """Be down: what is open breaks, and who calls is refused."""
        if self._server is not None:
            self._server.shutdown()
            self._server = None

    def lose(self, sop_instance_uid: str) -> None:
        """Forget an instance after it was answered as taken."""
        with self._lock:
            del self.kept[sop_instance_uid]

    def _on_pdu(self, event: evt.Event) -> None:
        if isinstance(event.pdu, P_DATA_TF) and _has_more_to_come(event.pdu):
            with self._lock:
                breaks = self.script.breaks()
            if breaks:
                event.assoc.abort(block=False)

    def _on_store(self, event: evt.Event) -> int:
        uid = str(event.request.AffectedSOPInstanceUID)
        data_set = event.encoded_dataset(include_meta=False)
        with self._lock:
            self.offers[uid] += 1
            answer = self.script.store(uid)
            if answer in {SUCCESS, "abort, kept"} or _is_warning(answer):
                self.kept[uid] = hashlib.sha256(data_set).hexdigest()
            if isinstance(answer, int):
                self.taken[uid] += answer == SUCCESS or _is_warning(answer)
                return answer
        event.assoc.abort()
        return SUCCESS  # nobody hears it

    def _on_request(self, event: evt.Event) -> tuple[int, None]:
        assert self.script.asked is not None
        told = event.action_information
        named = [
            (str(item.ReferencedSOPClassUID), str(item.ReferencedSOPInstanceUID))
            for item in told.ReferencedSOPSequence
        ]
        return self.script.asked(str(told.TransactionUID), named), None

    def _on_find(self, event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        query = event.identifier
        wanted = query.SOPInstanceUID
        with self._lock:
            held = set(self.kept)
        for uid in [wanted] if isinstance(wanted, str) else wanted:
            if uid in held:
                found = Dataset()
                found.QueryRetrieveLevel = "IMAGE"
                found.SOPInstanceUID = uid
                yield 0xFF00, found


def _has_more_to_come(pdu: P_DATA_TF) -> bool:
    """Whether it brings the beginning of a data set (PS3.8 E.2: neither a command nor the last)."""
    last = pdu.presentation_data_value_items[-1]
    return last.presentation_data_value[0] & 0b11 == 0


def _is_warning(answer: Store) -> bool:
    return isinstance(answer, int) and answer & 0xF000 == 0xB000
