from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from db import deliveries, instances, jobs, studies
from db.deliveries import DeliveryState, Evidence, Lease
from db.engine import reading, writing
from db.jobs import JobState, Outcome, Readiness
from db.results import Result

MINUTE = timedelta(minutes=1)


@pytest.fixture
def owe(engine, instance, now):
    """Owes result objects of one study to the destinations."""

    def make(*uids, destinations=("pacs",)):
        with writing(engine) as connection:
            image = instance("1.1.1", study="1.1")
            instances.register(connection, image)
            studies.touch(connection, "1.1", now=now)
            study = studies.find(connection, "1.1")
            readiness = Readiness(why_ready="QUIET")
            digest = "sha256:b"
            jobs.enqueue(
                connection, study, [image], bundle_digest=digest, readiness=readiness, now=now
            )
            job = jobs.claim(connection, worker="w", now=now, lease=MINUTE)
            made = [result(job, uid) for uid in uids]
            outcome = Outcome(state=JobState.DONE, results=made, destinations=destinations)
            assert jobs.conclude(connection, job, outcome, now=now)

    return make


@pytest.fixture
def claim(engine, now):
    """Takes what is due in a state, as a node does."""

    def take(node="n", *, at=now, state=DeliveryState.OWED, limit=9, to="pacs"):
        lease = Lease(node=node, now=at, until=at + MINUTE)
        with writing(engine) as connection:
            return deliveries.claim(connection, to, state, lease=lease, limit=limit)

    return take


def result(job, uid):
    return Result(
        sop_instance_uid=uid,
        job_id=job.id,
        kind="SR",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.88.34",
        series_instance_uid="9",
        study_instance_uid=job.study_instance_uid,
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        path=f"results/{uid}.dcm",
        digest="sha256:" + "0" * 64,
    )


def only(engine):
    with reading(engine) as connection:
        (one,) = deliveries.of_study(connection, "1.1")
        return one


def test_no_delivery_is_claimed_twice_by_eight_threads(engine, owe, claim):
    owe(*(f"9.{number}" for number in range(40)))

    def work(node):
        claimed = []
        while taken := claim(node, limit=3):
            claimed += [one.id for one in taken]
        return claimed

    with ThreadPoolExecutor(8) as pool:
        shares = pool.map(work, [f"n{number}" for number in range(8)])
        claimed = Counter(delivery_id for share in shares for delivery_id in share)

    assert len(claimed) == 40
    assert set(claimed.values()) == {1}


def test_a_delivery_is_due_until_it_is_sent_and_keeps_its_last_error(engine, owe, claim, now):
    owe("9.1")
    later = now + timedelta(seconds=5)

    (owed,) = claim()
    with writing(engine) as connection:
        assert deliveries.postpone(connection, owed, due_at=later, error="refused")
    assert claim() == []
    (again,) = claim(at=later)
    assert (again.attempts, again.last_error) == (1, "refused")
    with writing(engine) as connection:
        assert deliveries.sent(connection, again, now=later)
        assert deliveries.due_destinations(connection, DeliveryState.OWED, now=later) == []

    sent = only(engine)
    assert (sent.state, sent.sent_at, sent.last_error) == (DeliveryState.SENT, later, None)
    assert not sent.delivered


def test_what_a_dead_node_held_is_free_when_its_lease_ends(engine, owe, claim, now):
    owe("9.1")
    (held,) = claim("dead")

    assert claim("other", at=now + MINUTE) == []
    (taken,) = claim("other", at=now + MINUTE * 1.1)

    assert taken.id == held.id
    with writing(engine) as connection:
        assert not deliveries.sent(connection, held, now=now)
        assert not deliveries.postpone(connection, held, due_at=now, error="late")
    assert only(engine).claimed_by == "other"


def test_a_node_that_lives_keeps_what_it_holds(engine, owe, claim, now):
    owe("9.1")
    claim("slow")

    with writing(engine) as connection:
        lease = Lease(node="slow", now=now + MINUTE, until=now + 2 * MINUTE)
        deliveries.renew(connection, ["pacs"], lease, state=DeliveryState.OWED)

    assert claim("other", at=now + 2 * MINUTE) == []


@pytest.mark.parametrize(
    ("evidence", "state"),
    [
        (Evidence.COMMITMENT, DeliveryState.COMMITTED),
        (Evidence.FIND, DeliveryState.COMMITTED),
        (Evidence.NONE, DeliveryState.SENT),
    ],
)
def test_evidence_ends_a_delivery_once(engine, owe, claim, now, evidence, state):
    owe("9.1")
    (owed,) = claim()
    with writing(engine) as connection:
        assert not deliveries.settle(connection, owed, evidence=evidence, now=now)
        deliveries.sent(connection, owed, now=now)
        assert deliveries.settle(connection, owed, evidence=evidence, now=now)
        assert not deliveries.settle(connection, owed, evidence=Evidence.NONE, now=now)
        assert not deliveries.reject(connection, owed, due_at=now, error="too late")

    over = only(engine)
    assert (over.state, over.evidence, over.delivered) == (state, evidence, True)
    assert claim(state=DeliveryState.SENT, at=now + MINUTE) == []


def test_what_the_destination_lost_is_owed_again(engine, owe, claim, now):
    owe("9.1")
    (owed,) = claim()
    with writing(engine) as connection:
        deliveries.sent(connection, owed, now=now)
        assert deliveries.reject(connection, owed, due_at=now, error="0x0112")

    (again,) = claim()
    assert (again.rejections, again.attempts, again.last_error) == (1, 1, "0x0112")
