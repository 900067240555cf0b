"""When, how often and by whom a destination is asked."""

import threading
from datetime import timedelta

import pytest

from db import commitments, deliveries
from db.deliveries import DeliveryState
from db.engine import reading, writing
from tests.node.confirmation.confirming import (
    COMMITTED,
    HOUR,
    INVALID_ARGUMENT,
    SUCCESS,
    all_of,
    say_nothing,
    state,
)


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
    asked, answers = threading.Event(), threading.Event()

    def ask(_request, _heard):
        asked.set()
        answers.wait(20)

    pacs.on_ask = ask
    slow, other = node("slow"), node("other")

    for _ in range(400):  # a round may be over before it has begun, where the machine is busy
        slow.turn()
        if asked.wait(0.05):
            break
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
