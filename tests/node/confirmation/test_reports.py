"""What a report of the destination changes, and what it does not."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy.exc import OperationalError

from node.net.commitment import Reference, Report
from tests.node.confirmation.confirming import (
    COMMITTED,
    HOUR,
    INVALID_ARGUMENT,
    OWED,
    SUCCESS,
    WAITING,
    all_of,
    failing,
    report_on,
    state,
)


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
