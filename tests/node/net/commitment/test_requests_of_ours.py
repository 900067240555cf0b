"""We ask a peer to commit, and hear its report on any association."""

import threading
import time

import pytest
from pydicom.dataset import Dataset
from pynetdicom import build_role

from node.errors import PeerUnavailable
from node.net.association import NothingAccepted
from node.net.commitment import (
    Failure,
    Linger,
    Report,
    ask,
    is_offered,
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
    association_to,
    item,
)

pytestmark = [
    pytest.mark.associations,
    # pynetdicom 3.0.4 leaves the socket of a refused connection to the garbage collector.
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]


def event_information(*, committed=(ONE, TWO), failed=(), transaction_uid="2.25.77"):
    told = Dataset()
    told.TransactionUID = transaction_uid
    told.ReferencedSOPSequence = [item(one) for one in committed]
    if failed:
        told.FailedSOPSequence = [item(one, FailureReason=0x0112) for one in failed]
    return told


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
