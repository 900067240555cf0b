"""Who asks for storage commitment and who is asked, over real associations."""

import threading
from contextlib import contextmanager

from pydicom.dataset import Dataset
from pynetdicom import AE, evt

from node.config import Listener as Policy
from node.config import Peer
from node.net.commitment import (
    Commitment,
    Reference,
    Request,
)
from node.net.scp import Listener

PUSH_MODEL = "1.2.840.10008.1.20.1"
INSTANCE = "1.2.840.10008.1.20.1.1"
VERIFICATION = "1.2.840.10008.1.1"
SR = "1.2.840.10008.5.1.4.1.1.88.34"
REQUEST = Request(
    transaction_uid="2.25.77",
    references=tuple(
        Reference(sop_class_uid=SR, sop_instance_uid=f"2.25.{number}") for number in (1, 2)
    ),
)
ONE, TWO = REQUEST.references
WITHIN_S = 20


def do_nothing(*_):
    """Say nothing by itself."""


class Node:
    """Our listener, and what it was told and asked."""

    def __init__(self, port, *, receive=do_nothing):
        self.reports, self.requests = [], []
        self.answer = 0x0000
        self.told = threading.Event()
        self.listener = Listener(
            Policy(port=port),
            receive=receive,
            closed=do_nothing,
            commitment=Commitment(heard=self.hear, asked=self.be_asked),
        )
        self.peer = Peer(ae_title="PETCTNODE", host="127.0.0.1", port=port)

    def hear(self, report, ae_title):
        self.reports.append((report, ae_title))
        self.told.set()
        return self.answer

    def be_asked(self, request, ae_title, association):
        self.requests.append((request, ae_title, association))
        return self.answer

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()


class Pacs:
    """A PACS that takes requests and reports when, where and what a test tells it to."""

    def __init__(self, port, *, contexts=(PUSH_MODEL,)):
        self.peer = Peer(ae_title="PACS", host="127.0.0.1", port=port)
        self.asked = []
        self.answers = []
        self.answered = threading.Event()
        self.status = 0x0000
        self.after_asked = do_nothing
        self.at_once = do_nothing
        ae = AE(ae_title="PACS")
        for context in contexts:
            ae.add_supported_context(context, scu_role=True, scp_role=True)
        handlers = [
            (evt.EVT_N_ACTION, self._take),
            (evt.EVT_ESTABLISHED, self._established),
            (evt.EVT_PDU_SENT, self._sent),
        ]
        self._threads = []
        self._server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)

    def _established(self, event):
        self._begin(self.at_once, event.assoc)

    def _sent(self, _event):
        if self.asked:
            self.answered.set()

    def _take(self, event):
        asked = event.action_information
        self.asked.append((event.request, asked))
        self._begin(self.after_asked, event.assoc, asked)
        return self.status, None

    def _begin(self, what, *of):
        thread = threading.Thread(target=what, args=of)
        thread.start()
        self._threads.append(thread)

    def report_on(self, association, told, *, event_type=1):
        answer, _ = association.send_n_event_report(told, event_type, PUSH_MODEL, INSTANCE)
        self.answers.append(answer.get("Status"))

    def finish(self):
        for thread in self._threads:
            thread.join(WITHIN_S)

    def close(self):
        self.finish()
        self._server.shutdown()


def item(reference, **more):
    dataset = Dataset()
    dataset.ReferencedSOPClassUID = reference.sop_class_uid
    dataset.ReferencedSOPInstanceUID = reference.sop_instance_uid
    for keyword, value in more.items():
        setattr(dataset, keyword, value)
    return dataset


@contextmanager
def association_to(port, *, roles=(), handlers=(), contexts=(PUSH_MODEL,)):
    """An association that a PACS opens with our node."""
    ae = AE(ae_title="PACS")
    for context in contexts:
        ae.add_requested_context(context)
    association = ae.associate("127.0.0.1", port, ext_neg=list(roles), evt_handlers=list(handlers))
    assert association.is_established
    yield association
    if association.is_established:
        association.release()
