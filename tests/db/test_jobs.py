from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Thread

import pytest

from db import deliveries, instances, jobs, results, studies
from db.deliveries import DeliveryState
from db.engine import reading, writing
from db.jobs import JobState, Outcome, Readiness
from db.results import Result
from db.studies import StudyState

LEASE = timedelta(minutes=5)


@pytest.fixture
def enqueue(engine, instance, now):
    """Makes a job of a study with these instances."""

    def make(study, *uids, at=now, bundle="sha256:b"):
        with writing(engine) as connection:
            chosen = [instance(uid, study=study) for uid in uids]
            for one in chosen:
                instances.register(connection, one)
            studies.touch(connection, study, now=at)
            seen = studies.find(connection, study)
            return jobs.enqueue(
                connection,
                seen,
                chosen,
                bundle_digest=bundle,
                readiness=Readiness(why_ready="QUIET"),
                now=at,
            )

    return make


@pytest.fixture
def claim(engine, now):
    def take(worker="w", at=now):
        with writing(engine) as connection:
            return jobs.claim(connection, worker=worker, now=at, lease=LEASE)

    return take


def conclude(engine, job, now, **outcome):
    with writing(engine) as connection:
        return jobs.conclude(connection, job, Outcome(**outcome), now=now)


def result(job, uid="9.1"):
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


def test_no_job_is_claimed_twice_by_eight_threads(engine, enqueue, claim):
    for number in range(40):
        enqueue(f"1.2.{number}", f"1.2.{number}.1")

    def work(worker):
        claimed = []
        while (job := claim(worker)) is not None:
            claimed.append(job.id)
        return claimed

    with ThreadPoolExecutor(8) as pool:
        shares = pool.map(work, [f"w{number}" for number in range(8)])
        claimed = Counter(job_id for share in shares for job_id in share)

    assert len(claimed) == 40
    assert set(claimed.values()) == {1}


def test_the_longest_due_job_comes_first_and_none_before_it_is_due(enqueue, claim, now):
    late = enqueue("1.1", "1.1.1", at=now + timedelta(seconds=2))
    early = enqueue("1.2", "1.2.1", at=now + timedelta(seconds=1))

    assert claim(at=now) is None
    assert claim(at=now + timedelta(seconds=3)).id == early
    assert claim(at=now + timedelta(seconds=3)).id == late


def test_the_same_set_with_the_same_bundle_makes_no_second_job(enqueue):
    assert enqueue("1.1", "1.1.1") is not None
    assert enqueue("1.1", "1.1.1") is None
    assert enqueue("1.1", "1.1.1", bundle="sha256:c") is not None


def test_later_images_supersede_a_job_that_nobody_took(engine, enqueue, claim):
    enqueue("1.1", "1.1.1")
    newer = enqueue("1.1", "1.1.1", "1.1.2")

    assert claim().id == newer
    assert claim() is None
    with reading(engine) as connection:
        states = [job.state for job in jobs.of_study(connection, "1.1")]
        chosen = instances.of_job(connection, newer)
    assert states == [JobState.SUPERSEDED, JobState.RUNNING]
    assert [one.sop_instance_uid for one in chosen] == ["1.1.1", "1.1.2"]


def test_a_job_keeps_its_instances_when_more_come(engine, enqueue, claim):
    first = enqueue("1.1", "1.1.1")
    claim()
    enqueue("1.1", "1.1.1", "1.1.2")

    with reading(engine) as connection:
        chosen = instances.of_job(connection, first)
    assert [one.sop_instance_uid for one in chosen] == ["1.1.1"]


def test_two_jobs_of_one_study_run_one_after_the_other(engine, enqueue, claim, now):
    enqueue("1.1", "1.1.1")
    first = claim("a")
    enqueue("1.1", "1.1.1", "1.1.2")

    assert claim("b") is None
    conclude(engine, first, now, state=JobState.DONE)
    second = claim("b")

    with reading(engine) as connection:
        before = jobs.predecessors(connection, second)
    assert [one.id for one in before] == [first.id]


def test_a_job_of_a_dead_worker_goes_to_the_next_and_the_dead_one_changes_nothing(
    engine, enqueue, claim, now
):
    enqueue("1.1", "1.1.1")
    lost = claim("same name")
    later = now + LEASE + timedelta(seconds=1)
    taken = claim("same name", at=later)

    assert (lost.attempts, taken.attempts) == (1, 2)
    assert not conclude(engine, lost, later, state=JobState.DONE, results=[result(lost)])
    with writing(engine) as connection:
        assert not jobs.renew(connection, lost, now=later, lease=LEASE)
        assert jobs.renew(connection, taken, now=later, lease=LEASE)
        assert results.of_job(connection, lost.id) == []


def test_a_job_that_kills_its_workers_fails_visibly(engine, enqueue, claim, now):
    enqueue("1.1", "1.1.1")
    claim()
    later = now + LEASE + timedelta(seconds=1)

    with writing(engine) as connection:
        assert jobs.fail_abandoned(connection, now=now, attempts=1) == []
        assert jobs.fail_abandoned(connection, now=later, attempts=2) == []
        (failed,) = jobs.fail_abandoned(connection, now=later, attempts=1)

    assert "no worker came back" in failed.error
    with reading(engine) as connection:
        assert studies.find(connection, "1.1").state is StudyState.FAILED


REASON = {"code": "TIMEOUT", "meaning": "the analysis was stopped after 60 s"}


def take_back(engine, worker, now, *, attempts=3):
    with writing(engine) as connection:
        return jobs.take_back(
            connection,
            worker,
            reason=REASON,
            attempts=attempts,
            due_at=now + timedelta(seconds=10),
            now=now,
        )


def test_the_job_of_a_worker_that_is_gone_is_due_again_long_before_its_lease_ends(
    engine, enqueue, claim, now
):
    enqueue("1.1", "1.1.1")
    job = claim("gone")

    assert take_back(engine, "gone", now).id == job.id
    assert claim("next", at=now + timedelta(seconds=9)) is None
    again = claim("next", at=now + timedelta(seconds=10))
    assert (again.id, again.attempts, again.error) == (job.id, 2, REASON["meaning"])
    assert not conclude(engine, job, now, state=JobState.DONE)


def test_the_last_attempt_of_a_worker_that_is_gone_fails_with_its_reason(
    engine, enqueue, claim, now
):
    enqueue("1.1", "1.1.1")
    claim("gone")

    take_back(engine, "gone", now, attempts=1)

    with reading(engine) as connection:
        (job,) = jobs.of_study(connection, "1.1")
        study = studies.find(connection, "1.1")
    assert (job.state, job.reasons) == (JobState.FAILED, (REASON,))
    assert (study.state, study.reasons) == (StudyState.FAILED, (REASON,))


def test_a_worker_without_a_job_leaves_nothing_to_take_back(engine, enqueue, claim, now):
    enqueue("1.1", "1.1.1")
    conclude(engine, claim("done"), now, state=JobState.DONE)

    assert take_back(engine, "done", now) is None


def test_an_outcome_is_not_lost_on_a_study_that_is_queued_again_meanwhile(
    engine, enqueue, claim, instance, now
):
    """On PostgreSQL the one that ends waits for the one that queues, and sees what it made."""
    enqueue("1.1", "1.1.1")
    first = claim()
    ended = []
    with writing(engine) as connection:
        studies.touch(connection, "1.1", now=now)
        study = studies.find(connection, "1.1")
        studies.lock(connection, "1.1")
        studies.settle(connection, study, state=StudyState.QUEUED)
        thread = Thread(
            target=lambda: ended.append(conclude(engine, first, now, state=JobState.DONE))
        )
        thread.start()
        jobs.enqueue(
            connection,
            study,
            [instance("1.1.1", study="1.1")],
            bundle_digest="sha256:c",
            readiness=Readiness(why_ready="QUIET"),
            now=now,
        )
    thread.join()

    assert ended == [True]
    with reading(engine) as connection:
        assert studies.find(connection, "1.1").state is StudyState.QUEUED


def test_a_job_put_back_is_due_again_when_it_was_put_back_to(engine, enqueue, claim, now):
    enqueue("1.1", "1.1.1")
    later = now + timedelta(minutes=1)
    job = claim()
    with writing(engine) as connection:
        assert jobs.postpone(connection, job, due_at=later, error="no device")

    assert claim(at=now) is None
    assert claim(at=later).error == "no device"


def test_a_result_is_owed_to_every_destination_in_the_commit_that_ends_the_job(
    engine, enqueue, claim, now
):
    enqueue("1.1", "1.1.1")
    job = claim()
    made = result(job)

    conclude(
        engine,
        job,
        now,
        state=JobState.DONE,
        findings={"outcome": "analyzed"},
        results=[made],
        destinations=["pacs", "archive"],
    )

    with reading(engine) as connection:
        assert results.of_job(connection, job.id) == [made]
        assert instances.standing(connection, "9.1").is_ours
        assert instances.standing(connection, "9.2") is None
        assert deliveries.counts(connection) == {
            ("archive", DeliveryState.OWED, None): 1,
            ("pacs", DeliveryState.OWED, None): 1,
        }
        (done,) = jobs.of_study(connection, "1.1")
        assert (done.state, done.findings) == (JobState.DONE, {"outcome": "analyzed"})
        assert studies.find(connection, "1.1").state is StudyState.ANALYZED


def test_the_reasons_of_a_refusal_are_those_of_the_study(engine, enqueue, claim, now):
    enqueue("1.1", "1.1.1")
    reasons = ({"code": "NO_PET", "meaning": "there is no PET series"},)

    conclude(engine, claim(), now, state=JobState.REFUSED, reasons=reasons)

    with reading(engine) as connection:
        study = studies.find(connection, "1.1")
    assert (study.state, study.reasons) == (StudyState.REFUSED, reasons)


def test_a_refused_study_can_be_tried_again_by_hand(engine, enqueue, claim, now):
    enqueue("1.1", "1.1.1")
    first = claim()
    conclude(engine, first, now, state=JobState.REFUSED)

    with writing(engine) as connection:
        assert jobs.retry(connection, "1.1", now=now).id == first.id
        assert jobs.retry(connection, "1.1", now=now) is None  # it waits already
        assert jobs.retry(connection, "1.9", now=now) is None
        assert studies.find(connection, "1.1").state is StudyState.QUEUED
    assert claim().id == first.id


def test_the_outcome_of_an_earlier_job_is_not_that_of_the_study(engine, enqueue, claim, now):
    enqueue("1.1", "1.1.1")
    first = claim()
    enqueue("1.1", "1.1.1", "1.1.2")
    conclude(engine, first, now, state=JobState.DONE)

    with reading(engine) as connection:
        assert studies.find(connection, "1.1").state is not StudyState.ANALYZED


def test_a_job_does_not_end_as_waiting():
    with pytest.raises(ValueError, match="does not end"):
        Outcome(state=JobState.WAITING)
