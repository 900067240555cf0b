"""A peer asks us to commit, and we report on its association or one of our own."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ImplicitVRLittleEndian
from pynetdicom import AE, evt

from node.config import Peer
from node.errors import PeerUnavailable
from node.net.commitment import (
    Failure,
    Reference,
    Report,
    report,
)
from tests.node.net.commitment.parties import (
    INSTANCE,
    ONE,
    PUSH_MODEL,
    REQUEST,
    SR,
    TWO,
    VERIFICATION,
    WITHIN_S,
    Node,
    association_to,
    item,
)

pytestmark = [
    pytest.mark.associations,
    # pynetdicom 3.0.4 leaves the socket of a refused connection to the garbage collector.
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]


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
