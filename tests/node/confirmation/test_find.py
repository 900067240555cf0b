"""Where there is no report: C-FIND, or C-STORE alone, as the destination is configured."""

from datetime import timedelta

import pytest

from node.errors import PeerUnavailable
from tests.node.confirmation.confirming import (
    COMMITTED,
    FINAL,
    FOUND,
    HOUR,
    OWED,
    SUCCESS,
    WAITING,
    all_of,
    state,
)


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
