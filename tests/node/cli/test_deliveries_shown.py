"""What an operator sees of results on their way, and of requests that are open."""

import io
import json
from datetime import timedelta

import pytest
from rich.console import Console

from db import commitments, deliveries, pledges
from db.commitments import CommitmentRequest
from db.deliveries import DeliveryState, Evidence, Lease
from db.engine import writing
from db.pledges import PledgeState, Wish
from node.cli import explain, operate


@pytest.fixture
def shown(settings_of, engine):
    """Runs a command against the database; returns what it printed."""
    settings = settings_of(database={"url": engine.url.render_as_string(hide_password=False)})

    def run(command, *arguments, **options):
        text = io.StringIO()
        console = Console(file=text, width=400, highlight=False)
        assert command(*arguments, settings, console, **options) == 0
        return text.getvalue()

    return run


@pytest.fixture
def four_ways(engine, owe, clock):
    """One result is owed, one sent and asked about, one committed, one final without evidence."""
    owe("2.25.1", "2.25.2", "2.25.3", "2.25.4")
    lease = Lease(node="n", now=clock.now, until=clock.now + timedelta(minutes=1))
    later = clock.now + timedelta(hours=1)
    with writing(engine) as connection:
        owed, *others = deliveries.claim(
            connection, "pacs", DeliveryState.OWED, lease=lease, limit=4
        )
        deliveries.postpone(connection, owed, due_at=later, error="PACS is down")
        for one in others:
            deliveries.sent(connection, one, now=clock.now)
        waiting, committed, final = deliveries.claim(
            connection, "pacs", DeliveryState.SENT, lease=lease, limit=4
        )
        request = CommitmentRequest(
            transaction_uid="2.25.77", destination="pacs", ae_title="PACS", created_at=clock.now
        )
        commitments.store(connection, request, [waiting, committed])
        deliveries.wait(connection, waiting, due_at=later, error="commitment failed: 0x0110")
        deliveries.settle(connection, committed, evidence=Evidence.COMMITMENT, now=clock.now)
        deliveries.settle(connection, final, evidence=Evidence.NONE, now=clock.now)


@pytest.fixture
def asked(engine, clock):
    """A peer asked us twice; one request is open, one was given up."""
    lease = Lease(node="n", now=clock.now, until=clock.now)
    with writing(engine) as connection:
        for transaction in ("2.25.5", "2.25.6"):
            wish = Wish(
                calling_ae_title="ARCHIVE",
                transaction_uid=transaction,
                association="a",
                instances=[("1.2", "1.2.3")],
            )
            pledges.take_down(connection, wish, duplicate=0x0131, lease=lease)
        first = pledges.claim(connection, "ARCHIVE", lease=lease)
        pledges.end(connection, first, PledgeState.ABANDONED, now=clock.now, error="unknown")


@pytest.mark.usefixtures("four_ways", "asked")
def test_status_counts_as_delivered_only_what_nothing_more_can_be_known_of(shown):
    printed = shown(operate.status, limit=10, as_json=False)

    assert "2 of 4, 1 sent" in printed
    assert "pacs: PACS is down" in printed
    assert "pacs: commitment failed: 0x0110" in printed
    assert "pacs has not committed to 1 objects that it was asked about, the first time" in printed
    assert "ARCHIVE asked us to commit: 1 requests abandoned" in printed
    assert "ARCHIVE asked us to commit: 1 requests asked" in printed


@pytest.mark.usefixtures("four_ways", "asked")
def test_status_tells_a_monitor_the_same(shown, clock):
    told = json.loads(shown(operate.status, limit=10, as_json=True))

    (study,) = told["studies"]
    assert (study["owed"], study["sent"], study["delivered"]) == (4, 1, 2)
    counted = {(one["state"], one["evidence"]): one["objects"] for one in told["deliveries"]}
    assert counted == {
        ("owed", None): 1,
        ("sent", None): 1,
        ("sent", "none"): 1,
        ("committed", "commitment"): 1,
    }
    (open_,) = told["unanswered"]
    assert open_ == {"destination": "pacs", "objects": 1, "oldest_at": clock.now.isoformat()}
    assert {one["state"] for one in told["pledges"]} == {"asked", "abandoned"}


@pytest.mark.usefixtures("four_ways")
def test_explain_tells_of_each_result_how_far_it_has_come(shown):
    printed = shown(explain.explain, "1.2.3")

    lines = [line.strip() for line in printed.splitlines() if " to pacs: " in line]
    assert lines == [
        "2.25.1 to pacs: owed, 1 attempts, next 13:00:00: PACS is down",
        "2.25.2 to pacs: sent, asked 1 times, next 13:00:00: commitment failed: 0x0110",
        "2.25.3 to pacs: committed, as its report says at 12:00:00",
        "2.25.4 to pacs: sent, delivered as far as it can tell",
    ]
