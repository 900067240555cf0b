"""Whatever happens in whatever order, nothing that is undelivered is ever deleted."""

from datetime import timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import select

from db import jobs, retention
from db.deliveries import Evidence
from db.engine import connect, reading, writing
from db.jobs import JobState
from db.migrate import upgrade
from db.tables import instances, results
from node.dicom.headers import identify
from node.intake import Intake
from node.store import Store
from tests.node.conftest import Clock
from tests.node.house import House, Killed

STUDIES = ("1.2", "1.3")
NUMBERS = range(3)
ALL_OF_IT = {
    "instances": timedelta(0),
    "results": timedelta(0),
    "failed": timedelta(0),
    "store_bytes_max": 0,
}


class Keeping(RuleBasedStateMachine):
    """Beside the rows it keeps a record of its own, of the plainest kind, and compares."""

    arrival = None
    folders = None

    @initialize()
    def begin(self):
        folder = self.folders.mktemp("law")
        url = f"sqlite:///{folder / 'node.sqlite3'}"
        upgrade(url)
        self.engine = connect(url)
        self.store = Store(folder / "store", free_bytes_min=0)
        self.clock = Clock()
        intake = Intake(self.engine, self.store, identify, self.clock)
        self.house = House(self.engine, self.store, intake, self.arrival, self.clock)
        self.running = []
        self.undecided = {}  # study: images that came and that no job was made of
        self.busy = {}  # study: jobs that wait or run
        self.owed = {}  # study: results that no destination is known to keep
        self.ended = set()  # studies that came to an outcome

    @rule(study=st.sampled_from(STUDIES), number=st.sampled_from(NUMBERS))
    def an_image_comes(self, study, number):
        uid = f"{study}.{number}"
        known = self._row(uid)
        self.house.receive(study, uid)
        if known is None or known.deleted_at or known.deleting_at:
            self.undecided.setdefault(study, set()).add(uid)

    @rule(study=st.sampled_from(STUDIES), bundle=st.sampled_from(["sha256:a", "sha256:b"]))
    def it_is_decided(self, study, bundle):
        if study not in self.undecided or not self._all_here(study):
            return
        if self.house.queue(study, bundle) is not None:
            # What waited before is superseded by the new one.
            self.busy[study] = {"waits"} | (self.busy.get(study, set()) & {"runs"})
            del self.undecided[study]
        elif self.busy.get(study):
            # A job of the same images, which an operator has tried again, will decide on them.
            del self.undecided[study]

    @rule()
    def a_worker_takes_a_job(self):
        job = self.house.claim()
        if job is not None:
            self.running.append(job)
            self.busy[job.study_instance_uid] = {"runs"}

    @rule(study=st.sampled_from(STUDIES), steps=st.integers(min_value=1, max_value=5))
    def it_goes_its_way(self, study, steps):
        """What most studies do: they come, and nothing goes wrong."""
        way = (
            lambda: self.an_image_comes(study, 0),
            lambda: self.it_is_decided(study, "sha256:a"),
            self.a_worker_takes_a_job,
            lambda: self.a_worker_ends(JobState.DONE),
            lambda: self.results_are_delivered(Evidence.COMMITMENT),
        )
        for step in way[:steps]:
            step()
        self.retention_runs()

    @rule(state=st.sampled_from([JobState.DONE, JobState.REFUSED, JobState.FAILED]))
    def a_worker_ends(self, state):
        if not self.running:
            return
        job = self.running.pop()
        known = {row.sop_instance_uid for row in self._rows(results)}
        made = self.house.end(job, state, results=0 if state is JobState.FAILED else 1)
        study = job.study_instance_uid
        self.busy[study].discard("runs")
        self.ended.add(study)
        # What was made before, by a run that ended, was owed then.
        self.owed.setdefault(study, set()).update({one.sop_instance_uid for one in made} - known)

    @rule(study=st.sampled_from(STUDIES))
    def an_operator_retries(self, study):
        with writing(self.engine) as connection:
            if jobs.retry(connection, study, now=self.clock.now) is not None:
                self.busy[study] = self.busy.get(study, set()) | {"waits"}

    @rule()
    def results_are_sent(self):
        self.house.send()

    @rule(evidence=st.sampled_from(list(Evidence)))
    def results_are_delivered(self, evidence):
        self.house.deliver(evidence)
        self.owed.clear()

    @rule()
    def retention_runs(self):
        self.clock.forward(1)
        self.house.retain(**ALL_OF_IT)

    @rule(files=st.integers(min_value=0, max_value=3))
    def retention_is_killed(self, files):
        self.clock.forward(1)
        remove = self.store.remove

        def cut_off(paths):
            remove(paths[:files])
            raise Killed

        self.store.remove = cut_off
        try:
            self.house.retain(**ALL_OF_IT)
        except Killed:
            pass
        finally:
            self.store.remove = remove

    @invariant()
    def what_somebody_needs_is_here(self):
        for row in self._rows(instances):
            fresh = self.undecided.get(row.study_instance_uid, ())
            if self._is_needed(row.study_instance_uid) or row.sop_instance_uid in fresh:
                self._is_here(row)
        for row in self._rows(results):
            if row.sop_instance_uid in self.owed.get(row.study_instance_uid, ()):
                self._is_here(row)

    @invariant()
    def a_row_that_says_here_has_its_file_and_one_that_says_gone_has_none(self):
        for table in (instances, results):
            for row in self._rows(table):
                exists = self.store.path(row.path).exists()
                if row.deleting_at is None:
                    assert exists == (row.deleted_at is None)

    def teardown(self):
        if hasattr(self, "engine"):
            self.house.retain()
            with reading(self.engine) as connection:
                assert retention.marked(connection, limit=9) == []
            self.engine.dispose()

    def _is_needed(self, study):
        """Owed, or with a job under way."""
        return bool(self.owed.get(study)) or bool(self.busy.get(study))

    def _is_here(self, row):
        assert (row.deleting_at, row.deleted_at) == (None, None)
        assert self.store.path(row.path).exists()

    def _rows(self, table):
        if not hasattr(self, "engine"):
            return []
        with reading(self.engine) as connection:
            return connection.execute(select(table)).all()

    def _row(self, uid):
        rows = [one for one in self._rows(instances) if one.sop_instance_uid == uid]
        return rows[0] if rows else None

    def _all_here(self, study):
        rows = [one for one in self._rows(instances) if one.study_instance_uid == study]
        return all(row.deleting_at is None and row.deleted_at is None for row in rows)


def test_nothing_undelivered_is_ever_deleted(arrival, tmp_path_factory):
    Keeping.arrival = staticmethod(arrival)
    Keeping.folders = tmp_path_factory

    run_state_machine_as_test(
        Keeping, settings=settings(max_examples=12, stateful_step_count=30, deadline=None)
    )
