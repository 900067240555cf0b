import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from itertools import count

import pytest
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from db import commitments, deliveries
from db.deliveries import DeliveryState, Evidence
from db.engine import reading, writing
from node.backoff import Backoff
from node.commitment import Confirmation, Pace
from node.config import Destination
from node.delivery import Outbox
from node.errors import PeerUnavailable
from node.net.association import NothingAccepted
from node.net.commitment import Failure, Reference, Report
from node.net.scu import Sent
from tests.postgresql import BOTH

BACKOFF = Backoff(first=timedelta(seconds=5), longest=timedelta(seconds=600))
HOUR = 3600
SUCCESS, INVALID_ARGUMENT, NO_SUCH_INSTANCE = 0x0000, 0x0115, 0x0112


def say_nothing(_request, _heard):
    """Report nothing now."""


class Pacs:
    """Takes everything, and then says and finds what a test tells it to."""

    def __init__(self):
        self.kept = []
        self.requests = []
        self.finds = 0
        self.status = SUCCESS
        self.on_ask = say_nothing
        self.has_commitment = True
        self.has_find = False

    def send(self, _peer, objects):
        self.kept += [one.sop_instance_uid for one in objects]
        return [Sent(sop_instance_uid=one.sop_instance_uid, status=SUCCESS) for one in objects]

    def ask(self, peer, request, *, heard, answered):
        assert not answered.is_set()
        if not self.has_commitment:
            raise NothingAccepted(f"{peer.ae_title}: no presentation context accepted")
        self.requests.append(request)
        self.on_ask(request, heard)
        return self.status

    def find(self, _peer, wanted):
        self.finds += 1
        if not self.has_find:
            return None
        return {uid for uids in wanted.values() for uid in uids if uid in self.kept}


@pytest.fixture(params=BOTH)
def database(request):
    return request.param


@pytest.fixture
def pacs():
    return Pacs()


@pytest.fixture
def node(engine, store, pacs, clock):
    """Starts a node that delivers to the PACS; what it does is done when its ``turn`` is over."""
    started = []
    numbers = count()

    class Node:
        def __init__(self, name="node", *, commitment="auto", network=pacs):
            to = Destination(ae_title="PACS", host="h", port=104, commitment=commitment)
            self.outbox = Outbox(
                engine, store, {"pacs": to}, node=name, send=network.send, backoff=BACKOFF
            )
            self.confirmation = Confirmation(
                engine,
                {"pacs": to},
                node=name,
                network=network,
                pace=Pace(timeout=timedelta(seconds=HOUR), backoff=BACKOFF),
                new_uid=lambda: f"2.25.7{next(numbers)}",
            )
            started.append(self)

        def turn(self, seconds=0):
            now = clock.forward(seconds)
            self.outbox.deliver(now)
            return self.confirmation.confirm(now)

        def hear(self, report, ae_title="PACS"):
            return self.confirmation.heard(report, ae_title=ae_title, now=clock.now)

    yield Node
    for one in started:
        one.outbox.close()
        one.confirmation.close()


@pytest.fixture
def standing(engine):
    """Tells where the deliveries of the study stand, by SOP Instance UID."""

    def now():
        with reading(engine) as connection:
            found = deliveries.of_study(connection, "1.2.3")
        return {one.sop_instance_uid: one for one in found}

    return now


def all_of(request):
    return report_on(request, committed=request.references)


def report_on(request, committed=(), failed=(), reason=NO_SUCH_INSTANCE):
    return Report(
        transaction_uid=request.transaction_uid,
        committed=tuple(committed),
        failed=tuple(Failure(reference=one, reason=reason) for one in failed),
    )


def state(delivery):
    return delivery.state, delivery.evidence


@contextmanager
def failing(engine):
    """Let every statement fail, as where the disk is full."""

    def fail(*_):
        raise OperationalError("no statement", None, Exception("the disk is full"))

    event.listen(engine, "before_cursor_execute", fail)
    try:
        yield
    finally:
        event.remove(engine, "before_cursor_execute", fail)


COMMITTED = (DeliveryState.COMMITTED, Evidence.COMMITMENT)
FOUND = (DeliveryState.COMMITTED, Evidence.FIND)
FINAL = (DeliveryState.SENT, Evidence.NONE)
WAITING = (DeliveryState.SENT, None)
OWED = (DeliveryState.OWED, None)


def test_sent_is_not_delivered_until_the_pacs_commits(node, pacs, owe, standing):
    owe("2.25.1", "2.25.2")
    here = node()

    here.turn()
    assert {state(one) for one in standing().values()} == {WAITING}
    assert not any(one.delivered for one in standing().values())
    (request,) = pacs.requests
    assert {one.sop_instance_uid for one in request.references} == {"2.25.1", "2.25.2"}

    assert here.hear(all_of(request)) == SUCCESS
    assert {state(one) for one in standing().values()} == {COMMITTED}
    assert all(one.delivered for one in standing().values())
    assert here.turn(2 * HOUR) == 0
    assert len(pacs.requests) == 1


def test_a_report_on_the_same_association_is_heard_at_once(node, pacs, owe, standing):
    owe("2.25.1")
    pacs.on_ask = lambda request, heard: heard(all_of(request))

    assert node().turn() == 1

    assert state(standing()["2.25.1"]) == COMMITTED


def test_the_same_report_again_changes_nothing(node, pacs, owe, standing):
    owe("2.25.1", "2.25.2")
    here = node()
    here.turn()
    (request,) = pacs.requests
    one, two = request.references
    report = report_on(request, committed=[one], failed=[two])
    here.hear(report)
    after = standing()

    assert here.hear(report) == SUCCESS
    assert here.hear(all_of(request)) == SUCCESS

    assert standing() == after


def test_reports_that_come_at_once_never_wait_for_each_other_for_ever(node, pacs, owe, standing):
    """Eight reports on forty instances, each in another order."""
    owe(*(f"2.25.{number}" for number in range(1, 41)))
    here = node()
    here.turn()
    (request,) = pacs.requests
    turned = [
        report_on(request, committed=[*request.references[n:], *request.references[:n]])
        for n in range(0, 40, 5)
    ]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(here.hear, turned))

    assert answers == [SUCCESS] * 8
    assert {state(one) for one in standing().values()} == {COMMITTED}


def test_a_report_on_a_part_leaves_the_rest_open(node, pacs, owe, standing):
    owe("2.25.1", "2.25.2")
    here = node()
    here.turn()
    (request,) = pacs.requests

    here.hear(report_on(request, committed=request.references[:1]))
    assert sorted(state(one) for one in standing().values()) == sorted(
        [COMMITTED, WAITING], key=str
    )

    here.hear(report_on(request, committed=request.references[1:]))
    assert {state(one) for one in standing().values()} == {COMMITTED}


@pytest.mark.parametrize("stranger", ["unknown transaction", "another AE title"])
def test_a_report_of_a_stranger_is_refused_and_changes_nothing(
    node, pacs, owe, standing, stranger, caplog
):
    owe("2.25.1")
    here = node()
    here.turn()
    report = all_of(pacs.requests[0])
    before = standing()

    if stranger == "another AE title":
        status = here.hear(report, ae_title="OTHER")
    else:
        status = here.hear(Report(transaction_uid="2.25.9", committed=report.committed, failed=()))

    assert status == INVALID_ARGUMENT
    assert standing() == before
    assert "refused a report" in caplog.text


def test_a_report_says_nothing_of_instances_that_were_not_asked_about(node, pacs, owe, standing):
    owe("2.25.1")
    here = node()
    here.turn()
    other = Reference(sop_class_uid="1.2", sop_instance_uid="2.25.8")

    assert here.hear(report_on(pacs.requests[0], committed=[other])) == SUCCESS

    assert state(standing()["2.25.1"]) == WAITING


def test_what_the_pacs_lost_is_sent_again_at_once_and_then_with_pauses(
    node, pacs, owe, standing, caplog
):
    """Twice at once, then after 5, 10 and 20 s."""
    owe("2.25.1")
    pacs.on_ask = lambda request, heard: heard(report_on(request, failed=request.references))
    here = node()

    pauses = [0]
    for _ in range(5):
        here.turn(pauses[-1])
        lost = standing()["2.25.1"]
        assert state(lost) == OWED
        pauses.append((lost.due_at - lost.sent_at).total_seconds())

    assert pauses[1:] == [0, 0, 5, 10, 20]
    assert pacs.kept == ["2.25.1"] * 5
    assert standing()["2.25.1"].last_error == "commitment failed: 0x0112 no such object instance"
    assert "it is sent again" in caplog.text


@pytest.mark.parametrize("reason", [0x0110, 0x0122, 0x0131, 0x0213])
def test_what_the_pacs_could_not_process_is_asked_about_again_and_not_sent(
    node, pacs, owe, standing, reason
):
    owe("2.25.1")
    pacs.on_ask = lambda request, heard: heard(
        report_on(request, failed=request.references, reason=reason)
    )
    here = node(commitment="required")

    here.turn()
    waiting = standing()["2.25.1"]
    assert state(waiting) == WAITING
    assert f"0x{reason:04X}" in waiting.commitment_error
    here.turn(4)
    assert len(pacs.requests) == 1
    here.turn(1)

    first, second = pacs.requests
    assert first.transaction_uid != second.transaction_uid
    assert pacs.kept == ["2.25.1"]


def test_a_pacs_that_never_reports_is_asked_again_after_the_time_out(node, pacs, owe, standing):
    owe("2.25.1")
    here = node()

    here.turn()
    here.turn(HOUR - 1)
    assert len(pacs.requests) == 1
    here.turn(1)
    assert len(pacs.requests) == 2
    assert state(standing()["2.25.1"]) == WAITING

    # The late answer to the first request is as good as one to the second.
    here.hear(all_of(pacs.requests[0]))
    assert state(standing()["2.25.1"]) == COMMITTED


def test_a_report_that_the_database_could_not_take_is_asked_for_again_at_once(
    node, pacs, owe, standing, engine
):
    owe("2.25.1", "2.25.2")
    here = node()
    here.turn()
    (request,) = pacs.requests
    with failing(engine), pytest.raises(OperationalError):
        here.hear(all_of(request))

    here.turn(1)

    assert len(pacs.requests) == 2
    here.hear(all_of(pacs.requests[1]))
    assert {state(one) for one in standing().values()} == {COMMITTED}
    # It is asked for once.
    here.turn(1)
    assert len(pacs.requests) == 2


def test_so_is_one_that_came_while_the_request_was_under_way(node, pacs, owe, standing, engine):
    def report_in_vain(request, heard):
        with failing(engine), pytest.raises(OperationalError):
            heard(all_of(request))

    owe("2.25.1")
    pacs.on_ask = report_in_vain
    here = node()
    here.turn()
    pacs.on_ask = lambda request, heard: heard(all_of(request))

    here.turn(1)

    assert state(standing()["2.25.1"]) == COMMITTED


def test_reports_of_strangers_that_the_database_could_not_take_are_forgotten(
    node, pacs, owe, engine
):
    owe("2.25.1")
    here = node()
    here.turn()
    (request,) = pacs.requests
    strange = replace(all_of(request), transaction_uid="2.25.999")
    with failing(engine), pytest.raises(OperationalError):
        here.hear(strange)
    with failing(engine), pytest.raises(OperationalError):
        here.hear(all_of(request), ae_title="OTHER")

    here.turn(1)

    assert len(pacs.requests) == 1


def test_without_a_report_c_find_is_the_fall_back(node, pacs, owe, standing):
    owe("2.25.1", "2.25.2")
    pacs.has_find = True
    here = node()
    here.turn()
    pacs.kept.remove("2.25.2")

    here.turn(HOUR)

    assert state(standing()["2.25.1"]) == FOUND
    assert state(standing()["2.25.2"]) == WAITING
    (about,) = pacs.requests[1].references
    assert about.sop_instance_uid == "2.25.2"


def test_required_is_not_content_with_c_find(node, pacs, owe, standing):
    owe("2.25.1")
    pacs.has_find = True
    here = node(commitment="required")
    here.turn()
    here.turn(HOUR)
    pacs.has_commitment = False
    here.turn(HOUR)

    assert pacs.finds == 0
    assert state(standing()["2.25.1"]) == WAITING
    assert "no presentation context accepted" in standing()["2.25.1"].commitment_error


@pytest.mark.parametrize("how", ["no context", 0x0122, 0x0211])
@pytest.mark.parametrize("end", [FOUND, FINAL])
def test_a_pacs_without_commitment_is_asked_by_c_find_if_it_can_be(
    node, pacs, owe, standing, how, end
):
    owe("2.25.1")
    pacs.has_find = end is FOUND
    pacs.has_commitment = how != "no context"
    pacs.status = SUCCESS if how == "no context" else how

    assert node().turn() == 1

    assert state(standing()["2.25.1"]) == end
    assert standing()["2.25.1"].delivered


def test_find_does_not_ask_for_commitment(node, pacs, owe, standing):
    owe("2.25.1")
    pacs.has_find = True

    assert node(commitment="find").turn() == 1

    assert pacs.requests == []
    assert state(standing()["2.25.1"]) == FOUND


def test_find_waits_for_a_pacs_that_cannot_be_asked(node, pacs, owe, standing):
    owe("2.25.1")

    assert node(commitment="find").turn() == 0

    assert state(standing()["2.25.1"]) == WAITING
    assert "C-FIND" in standing()["2.25.1"].commitment_error


def test_none_is_content_with_the_answer_to_c_store(node, pacs, owe, standing):
    owe("2.25.1")

    assert node(commitment="none").turn() == 1

    assert (pacs.requests, pacs.finds) == ([], 0)
    assert state(standing()["2.25.1"]) == FINAL


def test_what_c_find_misses_three_times_is_sent_again(node, pacs, owe, standing):
    """Asked at 0, 5 and 15 s: a PACS needs a moment for its index."""
    owe("2.25.1")
    pacs.has_find = True
    here = node(commitment="find")
    here.outbox.deliver(standing()["2.25.1"].due_at)
    pacs.kept.clear()

    for seconds in (0, 5):
        here.turn(seconds)
        assert state(standing()["2.25.1"]) == WAITING
    here.turn(10)
    assert state(standing()["2.25.1"]) == OWED
    here.turn()

    assert pacs.kept == ["2.25.1"]
    assert state(standing()["2.25.1"]) == FOUND


def test_a_pacs_that_is_down_is_asked_again_with_pauses(node, pacs, owe, standing):
    owe("2.25.1")
    here = node()

    def is_down(_request, _heard):
        raise PeerUnavailable("PACS is down")

    pacs.on_ask = is_down
    here.turn()
    waiting = standing()["2.25.1"]
    assert (state(waiting), waiting.commitment_error) == (WAITING, "PACS is down")
    assert waiting.due_at - waiting.sent_at == timedelta(seconds=5)

    pacs.on_ask = lambda request, heard: heard(all_of(request))
    here.turn(5)
    assert state(standing()["2.25.1"]) == COMMITTED
    assert standing()["2.25.1"].commitment_error is None


def test_a_pacs_that_was_down_for_a_moment_is_asked_for_more_than_c_find(node, pacs, owe, standing):
    owe("2.25.1")
    pacs.has_find = True
    here = node()

    def is_down(_request, _heard):
        raise PeerUnavailable("PACS is down")

    pacs.on_ask = is_down
    here.turn()
    pacs.on_ask = lambda request, heard: heard(all_of(request))
    here.turn(5)

    assert pacs.finds == 0
    assert state(standing()["2.25.1"]) == COMMITTED


def test_a_pacs_that_never_answers_a_request_is_asked_by_c_find_the_fourth_time(
    node, pacs, owe, standing
):
    """At 0, 5, 15 and 35 s."""
    owe("2.25.1")
    pacs.has_find = True
    here = node()

    def hangs(_request, _heard):
        raise PeerUnavailable("PACS gave no answer to N-ACTION")

    pacs.on_ask = hangs
    for seconds in (0, 5, 10):
        here.turn(seconds)
        assert pacs.finds == 0
    here.turn(20)

    assert state(standing()["2.25.1"]) == FOUND


def test_a_pacs_that_refuses_requests_is_asked_by_c_find_the_second_time(node, pacs, owe, standing):
    owe("2.25.1")
    pacs.has_find = True
    pacs.status = 0x0110
    here = node()
    here.turn()
    assert state(standing()["2.25.1"]) == WAITING

    here.turn(5)

    assert state(standing()["2.25.1"]) == FOUND


def test_the_spaces_around_an_ae_title_mean_nothing(node, pacs, owe, standing):
    """PS3.5 6.2: leading and trailing spaces of VR AE are not significant."""
    owe("2.25.1")
    here = node()
    here.turn()

    assert here.hear(all_of(pacs.requests[0]), ae_title="PACS ") == SUCCESS


def test_a_request_that_is_refused_is_made_again_with_pauses(node, pacs, owe, standing):
    owe("2.25.1")
    pacs.status = 0x0110
    here = node()

    here.turn()
    assert "status 0x0110" in standing()["2.25.1"].commitment_error
    pacs.status = SUCCESS
    here.turn(5)

    assert len(pacs.requests) == 2


@pytest.mark.parametrize("moment", ["before it is asked", "after it was asked"])
def test_a_node_that_dies_while_asking_asks_again_and_believes_both_reports(
    node, pacs, owe, standing, moment
):
    owe("2.25.1")

    def die(request, _heard):
        if moment == "before it is asked":
            pacs.requests.remove(request)
        raise KeyboardInterrupt

    pacs.on_ask = die
    with pytest.raises(KeyboardInterrupt):
        node("first").turn()
    pacs.on_ask = say_nothing
    second = node("second")

    second.turn()
    assert len(pacs.requests) == (moment == "after it was asked"), "its lease holds"
    second.turn(31)
    assert len(pacs.requests) == 1 + (moment == "after it was asked")

    second.hear(all_of(pacs.requests[0]))
    assert state(standing()["2.25.1"]) == COMMITTED


def test_two_nodes_never_ask_about_the_same_object_at_the_same_time(node, pacs, owe, standing):
    owe("2.25.1")
    one, other = node("one"), node("other")
    one.outbox.deliver(standing()["2.25.1"].due_at)
    asked_by_other = []

    def meanwhile(_request, _heard):
        if not asked_by_other:
            asked_by_other.append(other.turn())

    pacs.on_ask = meanwhile
    one.turn()

    assert asked_by_other == [0]
    assert len(pacs.requests) == 1


def test_a_pacs_that_is_slow_to_answer_does_not_lose_its_place(
    node, pacs, owe, standing, monkeypatch
):
    """The claim outlives the lease for as long as the node that holds it works."""
    monkeypatch.setattr("node.lanes.ROUND_S", 0.05)
    owe("2.25.1")
    answers = threading.Event()
    pacs.on_ask = lambda _request, _heard: answers.wait(20)
    slow, other = node("slow"), node("other")

    slow.turn()
    for _ in range(5):
        slow.turn(20)
        other.turn()
    answers.set()

    assert len(pacs.requests) == 1


def test_what_is_not_answered_is_counted_with_the_time_of_the_oldest(
    node, pacs, owe, engine, clock
):
    owe("2.25.1", "2.25.2")
    begun = clock.now
    here = node()
    here.turn()
    here.turn(HOUR)

    with reading(engine) as connection:
        (open_,) = commitments.unanswered(connection)
    assert (open_.destination, open_.objects, open_.oldest_at) == ("pacs", 2, begun)

    here.hear(all_of(pacs.requests[1]))
    with reading(engine) as connection:
        assert commitments.unanswered(connection) == []


def test_what_was_settled_long_ago_is_forgotten_and_what_is_open_is_not(node, pacs, owe, clock):
    owe("2.25.1")
    here = node()
    here.turn()
    (request,) = pacs.requests
    month = timedelta(days=31).total_seconds()

    here.confirmation.confirm(clock.forward(month))
    assert here.hear(all_of(request)) == SUCCESS
    here.confirmation.confirm(clock.forward(month))

    assert here.hear(all_of(request)) == INVALID_ARGUMENT


def test_a_destination_that_is_not_configured_any_more_is_said(node, pacs, owe, standing, engine):
    owe("2.25.1", destinations=("gone",))
    lease = deliveries.Lease(
        node="n", now=standing()["2.25.1"].due_at, until=standing()["2.25.1"].due_at
    )
    with writing(engine) as connection:
        (owed,) = deliveries.claim(connection, "gone", DeliveryState.OWED, lease=lease, limit=1)
        deliveries.sent(connection, owed, now=lease.now)

    node().turn()

    assert "not configured" in standing()["2.25.1"].commitment_error
