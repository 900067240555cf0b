"""Retention deletes what is delivered and old, and nothing that anybody still needs."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime

import pytest

from db import instances, jobs, retention, studies
from db.engine import reading, writing
from db.jobs import JobState
from node.assembly import Assembler
from node.census import Census
from node.dicom.headers import identify
from node.errors import Conflicting, OutOfResources
from node.intake import Intake
from node.net import scu
from node.room import Quota
from node.store import Store
from tests.node.house import DAY, House, Killed
from tests.node.waiting import PATIENCE
from tests.postgresql import BOTH

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
OLD = 86400 * 31


@pytest.fixture(params=BOTH)
def database(request):
    return request.param


@pytest.fixture
def house(engine, store, intake, arrival, clock):
    return House(engine, store, intake, arrival, clock)


def test_without_rules_nothing_is_ever_deleted(house):
    house.delivered("1.2")
    house.clock.forward(100 * OLD)

    assert house.retain() == []
    assert (house.files(), house.files("results")) == (2, 1)


def test_the_images_of_a_delivered_study_go_when_they_are_old_and_their_rows_stay(house):
    house.delivered("1.2", "1.2.1", "1.2.2")
    house.clock.forward(30 * 86400)
    assert house.retain(instances=30 * DAY) == []

    house.clock.forward(1)
    assert house.retain(instances=30 * DAY) == [("1.2", "instances")]

    assert (house.files(), house.files("results")) == (0, 1)
    assert not house.is_here("1.2.1")
    ((study, count, why),) = house.told
    assert (study, count) == ("1.2", 2)
    assert why == "its results were delivered, and nothing has come since 2026-03-01"
    with reading(house.engine) as connection:
        assert studies.find(connection, "1.2").deleted_at == house.clock.now


@pytest.mark.parametrize(
    "step",
    ["receiving", "waiting", "running", "owed", "sent", "nobody is owed"],
)
def test_what_is_under_way_or_undelivered_stays_however_old(house, step):
    house.receive("1.2")
    if step != "receiving":
        house.queue("1.2")
    if step not in {"receiving", "waiting"}:
        job = house.claim()
        if step != "running":
            house.end(job, destinations=() if step == "nobody is owed" else ("pacs",))
    if step == "sent":
        house.send()
    house.clock.forward(OLD)

    gone = house.retain(
        instances=DAY, results=DAY, failed=DAY, store_bytes_max=0, free_bytes_min=2**62
    )

    assert gone == []
    assert house.files() == 2


def test_an_image_that_came_late_keeps_the_study(house):
    house.delivered("1.2")
    house.receive("1.2", "1.2.9")
    house.clock.forward(OLD)

    assert house.retain(instances=DAY) == []


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.REFUSED])
def test_what_failed_or_was_refused_has_a_time_of_its_own(house, state):
    house.receive("1.2")
    house.queue("1.2")
    house.end(house.claim(), state, results=0)
    house.clock.forward(OLD)

    assert house.retain(instances=DAY, store_bytes_max=0) == []
    assert house.retain(failed=DAY) == [("1.2", "instances")]


def test_a_failed_study_whose_images_were_deleted_is_not_tried_again(house):
    house.receive("1.2")
    house.queue("1.2")
    house.end(house.claim(), JobState.FAILED, results=0)
    house.clock.forward(OLD)
    house.retain(failed=DAY)

    with writing(house.engine) as connection:
        assert jobs.retry(connection, "1.2", now=house.clock.now) is None
    house.receive("1.2")
    with writing(house.engine) as connection:
        assert jobs.retry(connection, "1.2", now=house.clock.now) is not None


def test_a_refusal_that_is_not_delivered_keeps_its_study(house):
    house.receive("1.2")
    house.queue("1.2")
    house.end(house.claim(), JobState.REFUSED)
    house.clock.forward(OLD)

    assert house.retain(failed=DAY) == []
    house.deliver()
    house.clock.forward(OLD)
    assert house.retain(failed=DAY) == [("1.2", "instances")]


def test_results_go_by_their_own_rule_and_the_images_stay(house):
    house.delivered("1.2")
    house.clock.forward(OLD)

    assert house.retain(results=DAY) == [("1.2", "results")]
    assert (house.files(), house.files("results")) == (2, 0)
    assert house.retain(results=DAY) == []


def test_for_room_the_longest_delivered_go_first_and_no_more_than_needed(house):
    for study in ("1.5", "1.3", "1.4"):
        house.delivered(study)
        house.clock.forward(60)
    with reading(house.engine) as connection:
        held = retention.stored_bytes(connection)

    assert house.retain(store_bytes_max=held - 1) == [("1.5", "instances")]
    with reading(house.engine) as connection:
        assert retention.stored_bytes(connection) < held
    assert house.retain(store_bytes_max=held - 1) == []
    assert house.retain(free_bytes_min=2**62) == [("1.3", "instances"), ("1.4", "instances")]


def test_what_we_committed_to_stays_until_its_own_time_is_over(house):
    house.delivered("1.2", "1.2.1", "1.2.2")
    with writing(house.engine) as connection:
        kept = retention.pledge(connection, {"1.2.1", "1.9.9"}, now=house.clock.now)
    house.clock.forward(OLD)

    assert kept == {"1.2.1"}
    assert house.retain(instances=DAY, store_bytes_max=0) == []
    assert house.retain(instances=DAY, pledged=32 * DAY) == []
    assert house.retain(instances=DAY, pledged=30 * DAY) == [("1.2", "instances")]


def test_nothing_that_is_deleted_is_committed_to(house):
    house.delivered("1.2", "1.2.1")
    house.clock.forward(OLD)
    house.retain(instances=DAY)

    with writing(house.engine) as connection:
        assert retention.pledge(connection, ["1.2.1"], now=house.clock.now) == set()


def test_quarantine_goes_by_its_own_rule_and_the_same_bytes_are_kept_anew(house):
    house.receive("1.2", "1.2.1")
    other = house.arrival("1.2.1", study="1.2", comment="other")
    with pytest.raises(Conflicting):
        house.intake.receive(other)
    house.clock.forward(OLD)

    assert house.retain(quarantine=DAY) == [("1.2", "quarantine")]
    assert (house.files("quarantine"), house.files()) == (0, 1)

    with pytest.raises(Conflicting):
        house.intake.receive(other)
    assert house.files("quarantine") == 1


@pytest.mark.parametrize("where", ["before the files", "between the files", "after the files"])
def test_a_deletion_that_is_cut_off_is_finished_by_the_next_run(house, monkeypatch, where):
    house.delivered("1.2")
    house.clock.forward(OLD)
    remove = house.store.remove

    def cut_off(paths):
        remove(paths[: {"before the files": 0, "between the files": 1}.get(where, 99)])
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(house.store, "remove", cut_off)
        with pytest.raises(Killed):
            house.retain(instances=DAY)
    assert house.told == []

    assert house.retain() == []

    assert house.files() == 0
    assert house.told == [("1.2", 2, "a deletion that a stop of the node had cut off")]
    with reading(house.engine) as connection:
        assert retention.marked(connection, limit=9) == []


def test_a_file_that_the_disk_does_not_let_go_stays_marked(house, monkeypatch):
    house.delivered("1.2")
    house.clock.forward(OLD)

    with monkeypatch.context() as patch:
        remove = house.store.remove
        patch.setattr(house.store, "remove", lambda paths: remove(paths[:1]))
        house.retain(instances=DAY)
    with reading(house.engine) as connection:
        assert len(retention.marked(connection, limit=9)) == 1

    house.retain()
    assert house.files() == 0


def test_a_deleted_study_that_comes_again_makes_no_second_result(house, engine, clock):
    assembler = Assembler(
        engine, Census({}, None), PATIENCE, bundle_digest="sha256:b", listening_since=LONG_AGO
    )
    house.receive("1.2", "1.2.1", "1.2.2")
    house.intake.receive(house.arrival("1.2.3", study="1.2", modality="PT"))
    assembler.assemble(clock.forward(300))
    house.end(house.claim())
    house.deliver()
    clock.forward(OLD)
    house.retain(instances=DAY)

    house.receive("1.2", "1.2.1")
    house.intake.receive(house.arrival("1.2.3", study="1.2", modality="PT"))
    assert assembler.assemble(clock.forward(300)) == [], "half of it"
    house.receive("1.2", "1.2.2")
    assert assembler.assemble(clock.forward(300)) == [], "all of it"

    with reading(engine) as connection:
        study = studies.find(connection, "1.2")
    assert (study.state, study.unsettled, study.reasons) == ("analyzed", False, ())
    clock.forward(OLD)
    assert house.retain(instances=DAY) == [("1.2", "instances")]
    assembler.close()


def test_new_images_of_a_deleted_study_wait_for_the_others(house, engine, clock):
    assembler = Assembler(
        engine, Census({}, None), PATIENCE, bundle_digest="sha256:b", listening_since=LONG_AGO
    )
    house.receive("1.2", "1.2.1")
    house.intake.receive(house.arrival("1.2.3", study="1.2", modality="PT"))
    assembler.assemble(clock.forward(300))
    house.end(house.claim())
    house.deliver()
    clock.forward(OLD)
    house.retain(instances=DAY)

    house.receive("1.2", "1.2.9")
    assert assembler.assemble(clock.forward(7200)) == []
    with reading(engine) as connection:
        study = studies.find(connection, "1.2")
    assert (study.state, [one["code"] for one in study.reasons]) == ("analyzed", ["IMAGES_DELETED"])

    house.receive("1.2", "1.2.1")
    house.intake.receive(house.arrival("1.2.3", study="1.2", modality="PT"))
    assert len(assembler.assemble(clock.forward(300))) == 1
    assembler.close()


@pytest.mark.associations
def test_a_full_quota_is_answered_with_out_of_resources_until_retention_made_room(
    house, engine, clock, listening, parcel, data_set
):
    house.delivered("1.2")
    seconds = [0.0]

    def held():
        with reading(engine) as connection:
            return retention.stored_bytes(connection)

    quota = Quota(held(), held, clock=lambda: seconds[0])
    full = Store(house.store.root, free_bytes_min=0, quota=quota)
    peer = listening(Intake(engine, full, identify, clock).receive)
    one = parcel(data_set("1.3.1", study="1.3"), "1.3.1")

    (refused,) = scu.send(peer, [one], calling_ae_title="PACS")
    clock.forward(OLD)
    house.retain(instances=DAY)
    seconds[0] += 1
    (taken,) = scu.send(peer, [one], calling_ae_title="PACS")

    assert (refused.status, taken.status) == (0xA700, 0x0000)
    assert house.is_here("1.3.1")


def test_two_nodes_that_retain_at_once_delete_once(house, engine):
    for study in range(20):
        house.delivered(f"1.{study + 2}")
    house.clock.forward(OLD)

    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(lambda _: house.retain(instances=DAY), range(4)))

    assert sorted(one for run in runs for one in run) == sorted(
        (f"1.{study + 2}", "instances") for study in range(20)
    )
    assert sum(count for _, count, _ in house.told) == 40
    assert house.files() == 0


def test_an_image_that_comes_again_while_it_is_deleted_is_never_said_to_be_here_without_its_file(
    house, engine
):
    """Senders and two deletions at once: at the end every row and every file agree."""
    uids = [f"1.2.{number}" for number in range(8)]
    house.delivered("1.2", *uids)
    house.clock.forward(OLD)

    def again(uid):
        for _ in range(3):
            with suppress(OutOfResources):
                house.intake.receive(house.arrival(uid, study="1.2"))

    with ThreadPoolExecutor(10) as pool:
        runs = [pool.submit(house.retain, instances=DAY) for _ in range(2)]
        list(pool.map(again, uids))
        for run in runs:
            run.result()

    with reading(engine) as connection:
        rows = [instances.find(connection, uid) for uid in uids]
    assert [one.is_here for one in rows] == [house.store.path(one.path).exists() for one in rows]
