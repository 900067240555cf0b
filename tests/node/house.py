"""A node's rows and files, moved on by hand, and what cuts it off."""

from datetime import timedelta

from db import deliveries, instances, jobs, studies
from db.deliveries import DeliveryState, Evidence, Lease
from db.engine import reading, writing
from db.jobs import JobState, Outcome, Readiness
from db.results import Result
from db.results import find as find_result
from db.studies import StudyState
from node.instance import ResultKind, ResultObject
from node.intake import Intake
from node.retention import Retention, Rules

DAY = timedelta(days=1)
SR = "1.2.840.10008.5.1.4.1.1.88.34"
EXPLICIT = "1.2.840.10008.1.2.1"


class House:
    """A node's rows and files, moved on by hand."""

    def __init__(self, engine, store, intake: Intake, arrival, clock) -> None:
        self.engine = engine
        self.store = store
        self.intake = intake
        self.arrival = arrival
        self.clock = clock
        self.told = []

    def receive(self, study, *uids):
        for uid in uids or (f"{study}.1", f"{study}.2"):
            self.intake.receive(self.arrival(uid, study=study))

    def queue(self, study, bundle="sha256:b"):
        with writing(self.engine) as connection:
            seen = studies.find(connection, study)
            studies.settle(connection, seen, state=StudyState.QUEUED)
            return jobs.enqueue(
                connection,
                seen,
                instances.to_analyze(connection, study),
                bundle_digest=bundle,
                readiness=Readiness(why_ready="QUIET"),
                now=self.clock.now,
            )

    def claim(self):
        with writing(self.engine) as connection:
            return jobs.claim(connection, worker="w", now=self.clock.now, lease=DAY)

    def end(self, job, state=JobState.DONE, *, destinations=("pacs",), results=1):
        """End the job; a job that ends again may make what it made before, as a worker's does."""
        made = [self._result(job, number) for number in range(results)]
        outcome = Outcome(state=state, results=made, destinations=destinations)
        with writing(self.engine) as connection:
            assert jobs.conclude(connection, job, outcome, now=self.clock.now)
        return made

    def _result(self, job, number):
        kind = {
            "sop_class_uid": SR,
            "sop_instance_uid": f"2.25.{job.id}.{job.attempts}.{number}",
            "series_instance_uid": f"2.25.{job.id}",
            "study_instance_uid": job.study_instance_uid,
            "transfer_syntax_uid": EXPLICIT,
        }
        with reading(self.engine) as connection:
            known = find_result(connection, kind["sop_instance_uid"])
        if known is not None:  # it stays as it is, deleted or not
            return known
        stored = self.store.put_result(
            ResultObject(kind=ResultKind.REPORT, part10=b"report", **kind)
        )
        return Result(
            job_id=job.id,
            kind="SR",
            path=stored.path,
            digest=stored.digest,
            size=stored.size,
            **kind,
        )

    def deliver(self, evidence=Evidence.COMMITMENT):
        """Send what is owed, and settle it by the evidence."""
        self.send()
        with writing(self.engine) as connection:
            for one in self._claim(connection, DeliveryState.SENT):
                assert deliveries.settle(connection, one, evidence=evidence, now=self.clock.now)

    def send(self):
        with writing(self.engine) as connection:
            for one in self._claim(connection, DeliveryState.OWED):
                assert deliveries.sent(connection, one, now=self.clock.now)

    def _claim(self, connection, state):
        lease = Lease(node="n", now=self.clock.now, until=self.clock.now + DAY)
        return deliveries.claim(connection, "pacs", state, lease=lease, limit=99)

    def analyzed(self, study, *uids):
        self.receive(study, *uids)
        self.queue(study)
        self.end(self.claim())

    def delivered(self, study, *uids):
        self.analyzed(study, *uids)
        self.deliver()

    def files(self, kind="instances"):
        return len(list((self.store.root / kind).rglob("*.dcm")))

    def retain(self, **rules):
        keeping = Retention(
            self.engine,
            self.store,
            Rules(**rules),
            deleted=lambda study, count, why: self.told.append((study, count, why)),
        )
        return [
            (one.candidate.study_instance_uid, str(one.candidate.kind))
            for one in keeping.retain(self.clock.now)
        ]

    def is_here(self, uid):
        with reading(self.engine) as connection:
            return instances.find(connection, uid).is_here


class Killed(BaseException):
    """The node ends here."""
