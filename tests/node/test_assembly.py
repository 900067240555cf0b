"""A study becomes one job once all of it is here, however it came and whoever can tell."""

import threading
from datetime import UTC, datetime, timedelta

import pytest

from db import instances, jobs, studies
from db.engine import reading, writing
from db.jobs import JobState, Outcome
from node.assembly import Assembler
from node.census import Census
from node.config import Peer
from node.errors import PeerUnavailable
from node.net.find import SeriesCount, StudyCounts
from tests.node.waiting import PATIENCE
from tests.postgresql import BOTH

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
PACS = Peer(ae_title="PACS", host="127.0.0.1", port=104)


@pytest.fixture(params=BOTH)
def database(request):
    return request.param


class Pacs:
    """A PACS that is asked: holds counts by series, remembers who asked, may be slow or away."""

    def __init__(self):
        self.holds = {}
        self.asked = []
        self.fails = False
        self.answers = threading.Event()
        self.answers.set()

    def hold(self, study="1.2.3", **counts):
        self.holds[study] = counts

    def count(self, peer, study):
        self.asked.append((peer.host, study))
        if self.fails:
            raise PeerUnavailable("PACS at 127.0.0.1:104: refused")
        self.answers.wait(20)
        if study not in self.holds:
            return None
        return StudyCounts(
            series=tuple(
                SeriesCount(
                    series_instance_uid=f"{study}.{1 if modality == 'CT' else 2}",
                    modality=modality,
                    instances=count,
                )
                for modality, count in self.holds[study].items()
            )
        )


@pytest.fixture
def pacs():
    return Pacs()


@pytest.fixture
def assembling(engine, pacs):
    """Makes the assembler of a node with these sources."""
    made = []

    def make(sources=None, bundle="sha256:b", since=LONG_AGO):
        census = Census({} if sources is None else sources, pacs.count)
        made.append(
            Assembler(engine, census, PATIENCE, bundle_digest=bundle, listening_since=since)
        )
        return made[-1]

    yield make
    pacs.answers.set()
    for one in made:
        one.close()


@pytest.fixture
def receive(intake, arrival):
    """Receives instances over one association and releases it."""

    def over(association, *uids, released=True, **of):
        for uid in uids:
            intake.receive(arrival(uid, association=association, **of))
        if released:
            intake.closed(association)

    return over


def job_of(engine, job_id):
    with reading(engine) as connection:
        (found,) = [
            job
            for study in studies.newest(connection, limit=9)
            for job in jobs.of_study(connection, study.study_instance_uid)
            if job.id == job_id
        ]
    return found


def waits_for(engine, study="1.2.3"):
    with reading(engine) as connection:
        return [reason["code"] for reason in studies.find(connection, study).reasons]


def test_a_count_that_agrees_starts_the_analysis_at_once(engine, assembling, receive, pacs, clock):
    assembler = assembling({"pacs": PACS})
    pacs.hold(CT=2, PT=1)
    receive("a", "1.1", "1.2")
    receive("b", "1.3", modality="PT")

    (job_id,) = assembler.assemble(clock.now)

    assert job_of(engine, job_id).why_ready == "PACS_COUNT"
    assert assembler.assemble(clock.now) == []


def test_no_study_is_complete_while_its_association_is_open(engine, assembling, receive, clock):
    assembler = assembling()
    receive("a", "1.1")
    receive("b", "1.2", modality="PT", released=False)

    assert assembler.assemble(clock.forward(2)) == []
    assert waits_for(engine) == ["OPEN_ASSOCIATION"]
    assert assembler.assemble(clock.forward(1)) == []  # silent for 3 s: as good as closed
    assert waits_for(engine) == ["AWAIT_QUIET"]


def test_pet_and_ct_in_separate_associations_make_one_job(engine, assembling, receive, pacs, clock):
    assembler = assembling({"pacs": PACS})
    pacs.hold(CT=1, PT=1)
    receive("a", "1.1")
    assert assembler.assemble(clock.now) == []
    assert waits_for(engine) == ["SERIES_NOT_SENT"]

    receive("b", "1.2", modality="PT")
    (job_id,) = assembler.assemble(clock.now)

    with reading(engine) as connection:
        chosen = instances.of_job(connection, job_id)
    assert [one.sop_instance_uid for one in chosen] == ["1.1", "1.2"]


def test_time_that_the_node_was_down_is_no_silence(engine, assembling, receive, clock):
    receive("a", "1.1")
    receive("b", "1.2", modality="PT", released=False)
    started_again = clock.forward(3600)
    assembler = assembling(since=started_again)

    assert assembler.assemble(started_again) == []
    assert waits_for(engine) == ["AWAIT_QUIET"]
    assert len(assembler.assemble(clock.forward(PATIENCE.quiet.total_seconds()))) == 1


def test_without_sources_a_quiet_period_decides(engine, assembling, receive, clock):
    assembler = assembling()
    receive("a", "1.1")
    receive("b", "1.2", modality="PT")

    assert assembler.assemble(clock.forward(29)) == []
    (job_id,) = assembler.assemble(clock.forward(1))

    assert job_of(engine, job_id).why_ready == "QUIET"
    assert job_of(engine, job_id).warnings == ()


def test_a_pacs_that_cannot_tell_is_as_none(engine, assembling, receive, clock):
    assembler = assembling({"pacs": PACS})
    receive("a", "1.1")
    receive("b", "1.2", modality="PT")

    assert assembler.assemble(clock.forward(29)) == []
    assert len(assembler.assemble(clock.forward(1))) == 1


def test_a_pacs_that_is_away_delays_and_is_told_of(engine, assembling, receive, pacs, clock):
    assembler = assembling({"pacs": PACS})
    pacs.fails = True
    receive("a", "1.1")
    receive("b", "1.2", modality="PT")

    assert assembler.assemble(clock.forward(299)) == []
    (job_id,) = assembler.assemble(clock.forward(1))

    assert [one["code"] for one in job_of(engine, job_id).warnings] == ["PACS_NO_ANSWER"]


def test_a_study_without_pet_waits_long_and_is_then_taken_up_to_be_refused(
    assembling, receive, clock
):
    assembler = assembling()
    receive("a", "1.1")

    assert assembler.assemble(clock.forward(7199)) == []
    assert len(assembler.assemble(clock.forward(1))) == 1


def test_a_ct_that_the_pacs_has_an_hour_before_its_pet_makes_one_job_with_it(
    engine, assembling, receive, pacs, clock
):
    assembler = assembling({"pacs": PACS})
    pacs.hold(CT=1)
    receive("a", "1.1")
    assert assembler.assemble(clock.forward(3600)) == []
    assert waits_for(engine) == ["AWAIT_PT_AND_CT"]

    pacs.hold(CT=1, PT=1)
    receive("b", "1.2", modality="PT")
    (job_id,) = assembler.assemble(clock.now)

    assert job_of(engine, job_id).why_ready == "PACS_COUNT"


def test_missing_images_wait_until_they_come(engine, assembling, receive, pacs, clock):
    assembler = assembling({"pacs": PACS})
    pacs.hold(CT=2, PT=1)
    receive("a", "1.1")
    receive("b", "1.3", modality="PT")

    assert assembler.assemble(clock.forward(3600)) == []
    assert waits_for(engine) == ["IMAGES_MISSING"]

    receive("c", "1.2")
    (job_id,) = assembler.assemble(clock.now)
    assert job_of(engine, job_id).why_ready == "PACS_COUNT"


def test_missing_images_that_never_come_are_given_up_with_a_warning(
    engine, assembling, receive, pacs, clock
):
    assembler = assembling({"pacs": PACS})
    pacs.hold(CT=2, PT=1)
    receive("a", "1.1")
    receive("b", "1.3", modality="PT")

    (job_id,) = assembler.assemble(clock.forward(24 * 3600))

    job = job_of(engine, job_id)
    assert job.why_ready == "GIVEN_UP"
    assert job.warnings[0]["meaning"].startswith("1 of 2 images of series 1.2.3.1 ")


def test_late_images_make_a_new_job_that_knows_its_predecessor(engine, assembling, receive, clock):
    assembler = assembling()
    receive("a", "1.1")
    receive("b", "1.2", modality="PT")
    (first_id,) = assembler.assemble(clock.forward(30))
    with writing(engine) as connection:
        first = jobs.claim(connection, worker="w", now=clock.now, lease=timedelta(minutes=1))
        jobs.conclude(connection, first, Outcome(state=JobState.DONE), now=clock.now)

    receive("c", "1.4")
    (second_id,) = assembler.assemble(clock.forward(30))

    with reading(engine) as connection:
        before = jobs.predecessors(connection, job_of(engine, second_id))
    assert [one.id for one in before] == [first_id]


def test_a_duplicate_or_what_no_analysis_reads_makes_no_new_job(engine, assembling, receive, clock):
    assembler = assembling()
    receive("a", "1.1")
    receive("b", "1.2", modality="PT")
    (job_id,) = assembler.assemble(clock.forward(30))

    receive("c", "1.1")
    receive("d", "1.9", modality="KO")

    assert assembler.assemble(clock.forward(30)) == []
    with reading(engine) as connection:
        study = studies.find(connection, "1.2.3")
        assert [job.id for job in jobs.of_study(connection, "1.2.3")] == [job_id]
    assert (study.state, study.unsettled) == ("queued", False)


def test_a_study_without_pet_and_ct_is_never_a_job(engine, assembling, receive, clock):
    assembler = assembling()
    receive("a", "1.1", modality="SR")

    assert assembler.assemble(clock.forward(300)) == []

    with reading(engine) as connection:
        study = studies.find(connection, "1.2.3")
    assert (study.state, waits_for(engine)) == ("ignored", ["NO_PET_CT"])
    receive("b", "1.2")
    with reading(engine) as connection:
        assert studies.find(connection, "1.2.3").state == "receiving"


def test_a_slow_pacs_does_not_hold_up_other_studies(engine, assembling, receive, pacs, clock):
    """The answer that does not come within a second counts in a later round."""
    assembler = assembling({"pacs": PACS})
    pacs.hold("1.2.3", CT=1, PT=1)
    receive("a", "1.1")
    receive("b", "1.2", modality="PT")
    pacs.answers.clear()
    assert assembler.assemble(clock.now) == []

    receive("c", "2.1", "2.2", study="1.2.4")
    receive("d", "2.3", study="1.2.4", modality="PT", caller="CAMERA")
    assert assembler.assemble(clock.now) == []
    assert len(pacs.asked) == 2  # the first is still being asked and is not asked again

    pacs.hold("1.2.4", CT=2, PT=1)
    pacs.answers.set()
    made = []
    for _ in range(50):
        made += assembler.assemble(clock.now)
        if len(made) == 2:
            break
        threading.Event().wait(0.02)
    assert len(made) == 2


def test_a_pacs_is_asked_ever_more_seldom(assembling, receive, pacs, clock):
    """After 1, 2, 4, ... s, up to a minute: 1 + 2 + 4 + 8 + 16 + 32 = 63, so 7 times in 64 s."""
    assembler = assembling({"pacs": PACS})
    pacs.hold(CT=2, PT=1)
    receive("a", "1.1")

    for _ in range(65):
        assembler.assemble(clock.now)
        clock.forward(1)

    assert len(pacs.asked) == 7


def test_new_images_ask_at_once(assembling, receive, pacs, clock):
    assembler = assembling({"pacs": PACS})
    pacs.hold(CT=2, PT=1)
    receive("a", "1.1")
    assembler.assemble(clock.now)
    assembler.assemble(clock.now)
    assert len(pacs.asked) == 1

    receive("b", "1.2")
    assembler.assemble(clock.now)

    assert len(pacs.asked) == 2


def test_the_source_that_sent_the_study_is_asked_and_else_all(assembling, receive, pacs, clock):
    other = Peer(ae_title="ARCHIVE", host="archive", port=104)
    assembler = assembling({"archive": other, "pacs": PACS})
    receive("a", "1.1", study="1.2.3", caller="PACS")
    receive("b", "2.1", study="1.2.4", caller="ROUTER")

    assembler.assemble(clock.now)

    assert sorted(pacs.asked) == [
        ("127.0.0.1", "1.2.3"),
        ("127.0.0.1", "1.2.4"),
        ("archive", "1.2.4"),
    ]


def test_an_answer_that_breaks_us_stops_no_other_study(
    assembling, receive, pacs, clock, monkeypatch
):
    def count(peer, study):
        if study == "1.2.3":
            raise ZeroDivisionError
        return Pacs.count(pacs, peer, study)

    monkeypatch.setattr(pacs, "count", count)
    assembler = assembling({"pacs": PACS})
    pacs.hold("1.2.4", CT=1, PT=1)
    receive("a", "1.1")
    receive("b", "2.1", study="1.2.4")
    receive("c", "2.2", study="1.2.4", modality="PT")

    assert len(assembler.assemble(clock.now)) == 1


def test_another_bundle_analyzes_a_study_again_when_images_come(assembling, receive, clock):
    receive("a", "1.1")
    receive("b", "1.2", modality="PT")
    assert len(assembling(bundle="sha256:b").assemble(clock.forward(30))) == 1

    receive("c", "1.9", modality="KO")
    assert len(assembling(bundle="sha256:c").assemble(clock.forward(30))) == 1
