"""A job, taken and brought to its one outcome: result objects stored and owed, or a reason."""

import gc
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from types import MappingProxyType
from typing import Final

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from db import attempts, instances, jobs, results
from db.engine import reading, writing
from db.jobs import Job, JobState, Outcome
from db.results import Result
from inference.errors import DeviceLost
from inference.findings import Reason
from inference.stages import Recording, recorded, stage
from node.analysis import Recipe, StudyOnDisk, conclude
from node.audit import Event, Record, Study, ignore, instances_created
from node.dicom.results import Predecessor
from node.instance import ResultKind, ResultObject
from node.setback import RETRY_DELAY, describe
from node.store import Store

logger = logging.getLogger(__name__)

STORED_AT_ONCE = 4
"""So many objects are hashed and synced side by side: a disk takes them together."""
_PLACES: Final[Mapping[str, int]] = MappingProxyType({ResultKind.REPORT: 0, ResultKind.SALIENCY: 2})


@dataclass(frozen=True, kw_only=True)
class Clock:
    """Where the time comes from: a moment for rows and objects, seconds for timings."""

    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))
    seconds: Callable[[], float] = field(default=time.perf_counter)


@dataclass(frozen=True, kw_only=True)
class Worker:
    """One process that analyses studies, one at a time."""

    name: str
    database: Engine
    store: Store
    recipe: Recipe
    destinations: Sequence[str]
    lease: timedelta
    attempts: int
    clock: Clock = field(default_factory=Clock)
    record: Record = ignore

    def work(self) -> Job | None:
        """Take the oldest due job to its outcome and return it, or return None if none is due.

        Raises DeviceLost, when the study is put back, where this process can analyse no further.
        """
        with writing(self.database) as connection:
            jobs.fail_abandoned(connection, now=self.clock.now(), attempts=self.attempts)
            job = jobs.claim(connection, worker=self.name, now=self.clock.now(), lease=self.lease)
            if job is not None:
                attempts.begin(connection, job, now=self.clock.now())
        if job is None:
            return None
        with recorded(self.clock.seconds) as recording, _without_collector():
            self._bring_to_its_outcome(job, recording)
        return job

    def _bring_to_its_outcome(self, job: Job, recording: Recording) -> None:
        started = self.clock.seconds()
        try:
            with self._lease_kept(job):
                outcome = self._outcome(job)
        except Exception as error:  # whatever one study does, the worker goes on
            self._failed(job, error, recording)
            if isinstance(error, DeviceLost):  # it would only fail the next study, too
                raise
            return
        now = self.clock.now()
        with writing(self.database) as connection:
            kept = jobs.conclude(connection, job, outcome, now=now)
            if kept:
                attempts.end(connection, job, _stages(recording), now=now)
        if kept and outcome.results:
            self.record(_created(job, outcome))
        logger.info(
            "job %d %s in %.1f s",
            job.id,
            outcome.state if kept else "was no longer ours",
            self.clock.seconds() - started,
            extra={"study": job.study_instance_uid},
        )

    def _outcome(self, job: Job) -> Outcome:
        with reading(self.database) as connection:
            chosen = instances.of_job(connection, job.id)
            # A job that runs again after it ended may have refused the study at its first end.
            earlier = [*jobs.predecessors(connection, job), job]
            made = (results.of_job(connection, one.id) for one in reversed(earlier))
            replaced = next((objects for objects in made if objects), [])
        study = StudyOnDisk(
            study_instance_uid=job.study_instance_uid,
            paths=[self.store.path(instance.path) for instance in chosen],
            key=self.recipe.key(job.study_instance_uid, job.instance_set_digest),
            warnings=tuple(Reason(code=w["code"], meaning=w["meaning"]) for w in job.warnings),
            predecessors=tuple(
                Predecessor(
                    kind=ResultKind(one.kind),
                    sop_class_uid=one.sop_class_uid,
                    sop_instance_uid=one.sop_instance_uid,
                    series_instance_uid=one.series_instance_uid,
                    study_instance_uid=one.study_instance_uid,
                )
                for one in replaced
            ),
        )
        with ThreadPoolExecutor(STORED_AT_ONCE) as pool:
            keeping = _Keeping(store=partial(self._stored, job), pool=pool)
            # Dated by the job, not by the run: a job that runs again makes the same bytes.
            conclusion = conclude(
                study,
                self.recipe,
                when=job.created_at,
                clock=self.clock.seconds,
                made=keeping.begin,
            )
            with stage("store"):
                stored = keeping.end(conclusion.objects)
                self._take_away(keeping.left())
        return Outcome(
            state=JobState.REFUSED if conclusion.refused else JobState.DONE,
            findings=conclusion.document,
            reasons=[{"code": r.code, "meaning": r.meaning} for r in conclusion.reasons],
            # Sent in this order: the report does not wait for what it cites, maps last of all, a
            # hundred times as large.
            results=sorted(stored, key=lambda one: _PLACES.get(one.kind, 1)),
            destinations=self.destinations,
        )

    def _stored(self, job: Job, made: ResultObject) -> Result:
        """Store an object; one that is registered already stays as it is, for it may be sent."""
        with reading(self.database) as connection:
            known = results.find(connection, made.sop_instance_uid)
        if known is not None:
            return known
        stored = self.store.put_result(made)
        return Result(
            sop_instance_uid=made.sop_instance_uid,
            job_id=job.id,
            kind=made.kind,
            sop_class_uid=made.sop_class_uid,
            series_instance_uid=made.series_instance_uid,
            study_instance_uid=made.study_instance_uid,
            transfer_syntax_uid=made.transfer_syntax_uid,
            path=stored.path,
            digest=stored.digest,
            size=stored.size,
        )

    def _take_away(self, stored: Sequence[Result]) -> None:
        """Take away what was stored before it was refused; what is registered stays."""
        with reading(self.database) as connection:
            registered = [results.find(connection, one.sop_instance_uid) for one in stored]
        pairs = zip(stored, registered, strict=True)
        self.store.remove([one.path for one, known in pairs if known is None])

    def _failed(self, job: Job, error: Exception, recording: Recording) -> None:
        """Try again later, or end the job as failed when its attempts are used up."""
        what = describe(error)
        logger.error("job %d stopped: %s", job.id, what, extra={"study": job.study_instance_uid})
        now = self.clock.now()
        with writing(self.database) as connection:
            if job.attempts < self.attempts:
                kept = jobs.postpone(connection, job, due_at=now + RETRY_DELAY, error=what)
            else:
                failed = Outcome(state=JobState.FAILED, error=what)
                kept = jobs.conclude(connection, job, failed, now=now)
            if kept:
                attempts.end(connection, job, _stages(recording), now=now)

    @contextmanager
    def _lease_kept(self, job: Job) -> Iterator[None]:
        """Renew the lease while the block runs, so that a long study is not given to another."""
        ended = threading.Event()

        def renew() -> None:
            while not ended.wait(self.lease.total_seconds() / 3):
                try:
                    with writing(self.database) as connection:
                        jobs.renew(connection, job, now=self.clock.now(), lease=self.lease)
                except SQLAlchemyError as error:
                    # The next third of the lease is the next chance.
                    logger.error("job %d: lease not renewed: %s", job.id, describe(error))  # noqa: TRY400  a traceback may quote values

        thread = threading.Thread(target=renew, name=f"lease-{job.id}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


@contextmanager
def _without_collector() -> Iterator[None]:
    """Look for cycles when the block is over: the objects of one study are few, and soon freed."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@dataclass(frozen=True, kw_only=True, eq=False)
class _Keeping:
    """Objects that are being stored while they are looked at for the last time."""

    store: Callable[[ResultObject], Result]
    pool: Executor
    _begun: dict[str, Future[Result]] = field(default_factory=dict)

    def begin(self, objects: Sequence[ResultObject]) -> None:
        """Begin to store objects; wait for none."""
        for one in objects:
            self._begun[one.sop_instance_uid] = self.pool.submit(self.store, one)

    def end(self, objects: Sequence[ResultObject]) -> list[Result]:
        """Return the objects as they are stored; those that were not begun are stored now."""
        self.begin([one for one in objects if one.sop_instance_uid not in self._begun])
        return [self._begun.pop(one.sop_instance_uid).result() for one in objects]

    def left(self) -> list[Result]:
        """Return what was begun and is not to be kept."""
        return [one.result() for one in self._begun.values()]


def _stages(recording: Recording) -> attempts.Stages:
    return [asdict(one) for one in recording.stages]


def _created(job: Job, outcome: Outcome) -> Event:
    counts = Counter(made.sop_class_uid for made in outcome.results)
    return instances_created(
        Study(study_instance_uid=job.study_instance_uid, counts=counts, life_cycle="1")
    )
