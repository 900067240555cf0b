"""What each attempt at a job took is remembered; each trace is taken once."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from db import attempts, deliveries, instances, jobs, studies
from db.deliveries import Evidence, Lease
from db.engine import reading, writing
from db.jobs import JobState, Outcome, Readiness
from db.results import Result

LEASE = timedelta(minutes=5)
STAGES = [{"name": "read", "start_s": 0.0, "seconds": 1.5, "broken": False}]


@pytest.fixture
def running(engine, instance, now):
    """Makes a job of a study that a worker has begun with."""

    def make(study="1.2.3"):
        with writing(engine) as connection:
            one = instance(f"{study}.1", study=study)
            instances.register(connection, one)
            studies.touch(connection, study, now=now)
            jobs.enqueue(
                connection,
                studies.find(connection, study),
                [one],
                bundle_digest="sha256:b",
                readiness=Readiness(why_ready="QUIET"),
                now=now,
            )
            job = jobs.claim(connection, worker="w", now=now, lease=LEASE)
            attempts.begin(connection, job, now=now)
        return job

    return make


@pytest.fixture
def end(engine, now):
    """Ends a job, with one result owed to these destinations."""

    def conclude(job, *destinations, state=JobState.DONE):
        made = Result(
            sop_instance_uid=f"9.{job.id}",
            job_id=job.id,
            kind="SR",
            sop_class_uid="1.2.840.10008.5.1.4.1.1.88.34",
            series_instance_uid="9",
            study_instance_uid=job.study_instance_uid,
            transfer_syntax_uid="1.2.840.10008.1.2.1",
            path="results/9.dcm",
            digest="sha256:" + "0" * 64,
        )
        outcome = Outcome(state=state, results=[made], destinations=destinations)
        with writing(engine) as connection:
            assert jobs.conclude(connection, job, outcome, now=now)
            attempts.end(connection, job, STAGES, now=now)

    return conclude


@pytest.fixture
def take(engine, now):
    """Takes a trace that is due at so many seconds after now."""

    def taken(after_s=0, wait_s=600, days=1):
        at = now + timedelta(seconds=after_s)
        with writing(engine) as connection:
            return attempts.take_untraced(
                connection,
                now=at,
                finished_before=at - timedelta(seconds=wait_s),
                begun_after=at - timedelta(days=days),
            )

    return taken


def tried(engine, job):
    with reading(engine) as connection:
        return attempts.of_job(connection, job.id)


def test_an_attempt_that_has_not_ended_has_no_stages(engine, running, now):
    job = running()

    (only,) = tried(engine, job)

    assert (only.attempt, only.began_at, only.ended_at, only.stages) == (1, now, None, ())


def test_an_attempt_keeps_its_stages(engine, running, end, now):
    job = running()
    end(job)

    (only,) = tried(engine, job)

    assert (only.ended_at, list(only.stages)) == (now, STAGES)


def test_every_attempt_has_a_row_until_an_operators_retry_counts_anew(engine, running, end, now):
    job = running()
    with writing(engine) as connection:
        jobs.postpone(connection, job, due_at=now, error="disk")
        attempts.end(connection, job, STAGES, now=now)
        again = jobs.claim(connection, worker="w", now=now, lease=LEASE)
        attempts.begin(connection, again, now=now)
    end(again, state=JobState.FAILED)
    assert [one.attempt for one in tried(engine, job)] == [1, 2]

    later = now + timedelta(hours=1)
    with writing(engine) as connection:
        jobs.retry(connection, job.study_instance_uid, now=later)
        anew = jobs.claim(connection, worker="w", now=later, lease=LEASE)
        attempts.begin(connection, anew, now=later)

    first = tried(engine, job)[0]
    assert (first.attempt, first.began_at, first.ended_at) == (1, later, None)


def test_a_trace_is_due_once_the_job_has_ended(running, end, take):
    job = running()
    assert take() is None
    end(job)

    assert take() == job.id
    assert take() is None


def test_a_trace_waits_for_the_deliveries_but_not_for_ever(engine, running, end, take, now):
    delivered, never = running("1.2.3"), running("1.2.4")
    end(delivered, "pacs")
    end(never, "pacs")
    assert take() is None
    with writing(engine) as connection:
        (one,) = deliveries.of_study(connection, "1.2.3")
        lease = Lease(node="n", now=now, until=now + LEASE)
        for held in deliveries.claim(connection, "pacs", one.state, lease=lease, limit=1):
            deliveries.sent(connection, held, now=now)
            deliveries.settle(connection, held, evidence=Evidence.FIND, now=now)

    assert take() == delivered.id
    assert take(after_s=599) is None
    assert take(after_s=601) == never.id


def test_what_was_begun_too_long_ago_is_left(running, end, take):
    end(running())

    assert take(after_s=86401) is None


def test_what_nobody_took_is_due_again(engine, running, end, take):
    job = running()
    end(job)
    take()
    with writing(engine) as connection:
        attempts.put_back(connection, job.id)

    assert take() == job.id


def test_no_trace_is_taken_twice_by_eight_threads(running, end, take):
    made = []
    for number in range(16):
        made.append(running(f"1.2.{number}"))
        end(made[-1])

    def work(_number):
        found = []
        while (job_id := take()) is not None:
            found.append(job_id)
        return found

    with ThreadPoolExecutor(8) as pool:
        shares = list(pool.map(work, range(8)))

    assert sorted(one for share in shares for one in share) == [job.id for job in made]
