import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ImplicitVRLittleEndian
from pynetdicom import AE, build_role, evt

from node.config import Listener as Policy
from node.config import Peer
from node.errors import PeerUnavailable
from node.net.association import NothingAccepted
from node.net.commitment import (
    Commitment,
    Failure,
    Linger,
    Reference,
    Report,
    Request,
    ask,
    is_offered,
    report,
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

pytestmark = [
    pytest.mark.associations,
    # pynetdicom 3.0.4 leaves the socket of a refused connection to the garbage collector.
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]


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


@pytest.fixture
def node(free_ports):
    with Node(free_ports()) as one:
        yield one


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


@pytest.fixture
def pacs(free_ports):
    with ExitStack() as stack:

        def start(**of):
            one = Pacs(free_ports(), **of)
            stack.callback(one.close)
            return one

        yield start


def event_information(*, committed=(ONE, TWO), failed=(), transaction_uid="2.25.77"):
    told = Dataset()
    told.TransactionUID = transaction_uid
    told.ReferencedSOPSequence = [item(one) for one in committed]
    if failed:
        told.FailedSOPSequence = [item(one, FailureReason=0x0112) for one in failed]
    return told


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


def put(pacs, heard=lambda _report: 0x0000, *, wait_s=0.0, answered=None, timeout_s=5):
    linger = Linger(wait_s=wait_s, answered=answered or threading.Event())
    return ask(
        pacs.peer,
        REQUEST,
        calling_ae_title="PETCTNODE",
        heard=heard,
        linger=linger,
        timeout_s=timeout_s,
    )


def test_a_request_names_the_well_known_instance_and_exactly_what_was_sent(pacs):
    archive = pacs()

    assert put(archive) == 0x0000

    ((request, asked),) = archive.asked
    assert request.RequestedSOPClassUID == PUSH_MODEL
    assert request.RequestedSOPInstanceUID == INSTANCE
    assert request.ActionTypeID == 1
    assert asked.TransactionUID == "2.25.77"
    named = [
        (one.ReferencedSOPClassUID, one.ReferencedSOPInstanceUID)
        for one in asked.ReferencedSOPSequence
    ]
    assert named == [(SR, "2.25.1"), (SR, "2.25.2")]


def test_a_report_on_the_same_association_is_heard_and_ends_the_waiting(pacs):
    archive = pacs()
    archive.after_asked = lambda association, _asked: archive.report_on(
        association, event_information(committed=[ONE], failed=[TWO]), event_type=2
    )
    heard, answered = [], threading.Event()

    def hear(told):
        heard.append(told)
        answered.set()
        return 0x0000

    begun = time.monotonic()
    assert put(archive, hear, wait_s=WITHIN_S, answered=answered) == 0x0000

    assert time.monotonic() - begun < WITHIN_S
    failure = Failure(reference=TWO, reason=0x0112)
    assert heard == [Report(transaction_uid="2.25.77", committed=(ONE,), failed=(failure,))]
    assert failure.meaning == "commitment failed: 0x0112 no such object instance"
    archive.finish()
    assert archive.answers == [0x0000]


def test_a_report_on_an_earlier_request_is_heard_on_a_later_association_of_ours(pacs):
    archive = pacs()
    archive.after_asked = lambda association, _asked: archive.report_on(
        association, event_information(transaction_uid="2.25.76")
    )
    heard, answered = [], threading.Event()

    def hear(told):
        heard.append(told.transaction_uid)
        answered.set()
        return 0x0000

    put(archive, hear, wait_s=WITHIN_S, answered=answered)

    assert heard == ["2.25.76"]


@pytest.mark.parametrize("roles", [[build_role(PUSH_MODEL, scp_role=True)], []])
def test_a_report_on_a_new_association_to_our_listener_is_heard(node, roles):
    """A PACS proposes the role of SCP for itself; one that forgets to is heard, too."""
    with association_to(node.peer.port, roles=roles) as association:
        answer, _ = association.send_n_event_report(event_information(), 1, PUSH_MODEL, INSTANCE)
        accepted = [(one.scu_role, one.scp_role) for one in association.accepted_contexts]

    assert answer.Status == 0x0000
    assert accepted
    expected = Report(transaction_uid="2.25.77", committed=(ONE, TWO), failed=())
    assert node.reports == [(expected, "PACS")]


def without(keyword):
    told = event_information()
    delattr(told, keyword)
    return told


def no_uid():
    told = event_information()
    told.ReferencedSOPSequence = [Dataset()]
    return told


@pytest.mark.parametrize(
    ("told", "event_type", "instance", "status"),
    [
        (event_information(), 3, INSTANCE, 0x0113),
        (event_information(), 1, "1.2.3", 0x0112),
        (without("TransactionUID"), 1, INSTANCE, 0x0115),
        (no_uid(), 1, INSTANCE, 0x0115),
        (None, 1, INSTANCE, 0x0115),
    ],
)
def test_a_report_that_is_none_is_refused_with_its_status(node, told, event_type, instance, status):
    with association_to(node.peer.port) as association:
        answer, _ = association.send_n_event_report(told, event_type, PUSH_MODEL, instance)
        again, _ = association.send_n_event_report(event_information(), 1, PUSH_MODEL, INSTANCE)

    assert (answer.Status, again.Status) == (status, 0x0000)
    assert len(node.reports) == 1


def test_what_the_use_case_answers_goes_to_the_peer(node):
    node.answer = 0x0115

    with association_to(node.peer.port) as association:
        answer, _ = association.send_n_event_report(event_information(), 1, PUSH_MODEL, INSTANCE)

    assert answer.Status == 0x0115


def test_a_failure_of_ours_costs_the_peer_one_status_and_not_the_association(node, caplog):
    node.reports = None

    with association_to(node.peer.port) as association:
        for _ in range(2):
            answer, _ = association.send_n_event_report(
                event_information(), 1, PUSH_MODEL, INSTANCE
            )
            assert answer.Status == 0x0110

    assert "could not take a report" in caplog.text


def test_a_peer_without_commitment_accepts_nothing(pacs):
    with pytest.raises(NothingAccepted):
        put(pacs(contexts=(VERIFICATION,)))


@pytest.mark.parametrize(("context", "offered"), [(PUSH_MODEL, True), (VERIFICATION, False)])
def test_whether_a_peer_commits_is_known_before_anything_is_sent(pacs, context, offered):
    archive = pacs(contexts=(context,))

    assert is_offered(archive.peer, calling_ae_title="PETCTNODE") is offered
    assert archive.asked == []


def test_the_status_of_a_refusal_comes_back_at_once(pacs):
    archive = pacs()
    archive.status = 0x0110

    begun = time.monotonic()
    assert put(archive, wait_s=WITHIN_S) == 0x0110
    assert time.monotonic() - begun < WITHIN_S


def test_a_peer_that_does_not_answer_is_unavailable(pacs):
    archive = pacs()
    archive.at_once = lambda association: association.abort()

    with pytest.raises(PeerUnavailable):
        put(archive, timeout_s=2)


def test_a_peer_that_ends_the_association_ends_the_waiting(pacs):
    archive = pacs()

    def answer_then_abort(association, _asked):
        archive.answered.wait(WITHIN_S)
        association.abort()

    archive.after_asked = answer_then_abort
    begun = time.monotonic()
    put(archive, wait_s=WITHIN_S, timeout_s=5)
    assert time.monotonic() - begun < WITHIN_S


def action_information(references=(ONE, TWO), transaction_uid="2.25.77"):
    asked = Dataset()
    asked.TransactionUID = transaction_uid
    asked.ReferencedSOPSequence = [item(one) for one in references]
    return asked


def test_a_request_of_a_peer_is_taken_down_with_its_association(node):
    with association_to(node.peer.port) as association:
        answer, _ = association.send_n_action(action_information(), 1, PUSH_MODEL, INSTANCE)

    assert answer.Status == 0x0000
    ((request, ae_title, identity),) = node.requests
    assert (request, ae_title) == (REQUEST, "PACS")
    assert identity


@pytest.mark.parametrize(
    ("asked", "action_type", "instance", "status"),
    [
        (action_information(), 2, INSTANCE, 0x0123),
        (action_information(), 1, "1.2.3", 0x0112),
        (action_information(references=[]), 1, INSTANCE, 0x0115),
        (action_information(transaction_uid=""), 1, INSTANCE, 0x0115),
        (None, 1, INSTANCE, 0x0115),
    ],
)
def test_a_request_that_is_none_is_refused_with_its_status(
    node, asked, action_type, instance, status
):
    with association_to(node.peer.port) as association:
        answer, _ = association.send_n_action(asked, action_type, PUSH_MODEL, instance)

    assert answer.Status == status
    assert node.requests == []


def test_a_request_beyond_all_measure_is_refused_and_not_kept_in_memory(node, monkeypatch):
    monkeypatch.setattr("node.net.commitment.MAX_BYTES", 10_000)
    monkeypatch.setattr("node.net.session.MAX_BYTES", 10_000)
    many = [Reference(sop_class_uid=SR, sop_instance_uid=f"2.25.{n}") for n in range(1000)]

    with association_to(node.peer.port) as association:
        answer, _ = association.send_n_action(action_information(many), 1, PUSH_MODEL, INSTANCE)
        again, _ = association.send_n_action(action_information(), 1, PUSH_MODEL, INSTANCE)

    assert (answer.Status, again.Status) == (0x0213, 0x0000)
    assert [request for request, _, _ in node.requests] == [REQUEST]


REPORT = Report(
    transaction_uid="2.25.77", committed=(ONE,), failed=(Failure(reference=TWO, reason=0x0119),)
)


class Told:
    """What a peer hears of us."""

    def __init__(self, status=0x0000):
        self.reports = []
        self._status = status

    def __call__(self, event):
        self.reports.append((event.request.EventTypeID, event.event_information))
        return self._status, None


def test_we_report_on_the_association_that_was_asked_on(node):
    told = Told()
    handlers = [(evt.EVT_N_EVENT_REPORT, told)]

    with association_to(node.peer.port, handlers=handlers) as association:
        association.send_n_action(action_information(), 1, PUSH_MODEL, INSTANCE)
        ((_, _, identity),) = node.requests
        assert node.listener.report(identity, REPORT) == 0x0000

    ((event_type, information),) = told.reports
    assert event_type == 2
    assert information.TransactionUID == "2.25.77"
    assert information.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == "2.25.1"
    (failed,) = information.FailedSOPSequence
    assert (failed.ReferencedSOPInstanceUID, failed.FailureReason) == ("2.25.2", 0x0119)


def test_a_peer_may_go_on_sending_while_we_report(free_port):
    """It stores an instance after our report came, and answers the report after that."""
    came, stored, taken = threading.Event(), threading.Event(), []

    def tell(_event):
        came.set()
        stored.wait(WITHIN_S)
        return 0x0000, None

    handlers = [(evt.EVT_N_EVENT_REPORT, tell)]
    with (
        Node(free_port, receive=taken.append) as node,
        association_to(free_port, handlers=handlers, contexts=(PUSH_MODEL, SR)) as association,
        ThreadPoolExecutor(1) as pool,
    ):
        association.send_n_action(action_information(), 1, PUSH_MODEL, INSTANCE)
        ((_, _, identity),) = node.requests
        told = pool.submit(node.listener.report, identity, REPORT)
        assert came.wait(WITHIN_S)
        answer = association.send_c_store(structured_report())
        stored.set()
        assert told.result(WITHIN_S) == 0x0000
        assert association.is_established

    assert answer.Status == 0x0000
    assert [one.sop_instance_uid for one in taken] == ["2.25.1"]


def structured_report():
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = SR, "2.25.1"
    return dataset


def test_an_association_that_has_ended_carries_no_report(node):
    with association_to(node.peer.port) as association:
        association.send_n_action(action_information(), 1, PUSH_MODEL, INSTANCE)
    ((_, _, identity),) = node.requests

    assert node.listener.report(identity, REPORT) is None
    assert node.listener.report("another", REPORT) is None


@pytest.mark.parametrize("accepts", [{"scu_role": False, "scp_role": True}, {}])
def test_we_report_on_an_association_of_our_own_as_scp(free_port, accepts):
    """A peer that knows nothing of roles gets its report, too."""
    told = Told()
    roles = []
    ae = AE(ae_title="PACS")
    ae.add_supported_context(PUSH_MODEL, **accepts)
    handlers = [
        (evt.EVT_N_EVENT_REPORT, told),
        (evt.EVT_REQUESTED, lambda event: roles.append(event.assoc.requestor.role_selection)),
    ]
    server = ae.start_server(("127.0.0.1", free_port), block=False, evt_handlers=handlers)
    peer = Peer(ae_title="PACS", host="127.0.0.1", port=free_port)
    everything = Report(transaction_uid="2.25.77", committed=(ONE, TWO), failed=())

    status = report(peer, everything, calling_ae_title="PETCTNODE", timeout_s=5)
    server.shutdown()

    assert status == 0x0000
    assert (roles[0][PUSH_MODEL].scu_role, roles[0][PUSH_MODEL].scp_role) == (False, True)
    ((event_type, information),) = told.reports
    assert event_type == 1
    assert "FailedSOPSequence" not in information


def test_a_peer_that_takes_no_report_is_unavailable(pacs):
    with pytest.raises(PeerUnavailable):
        report(pacs(contexts=(VERIFICATION,)).peer, REPORT, calling_ae_title="PETCTNODE")
