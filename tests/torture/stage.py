"""A node's delivery under a simulated clock, before a destination that plays a script."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from db import deliveries, instances, jobs, studies
from db.deliveries import Delivery
from db.engine import reading, writing
from db.jobs import JobState, Outcome, Readiness
from db.results import Result
from node import bootstrap
from node.config import Settings, settings_from
from node.dicom import headers
from node.exchange import Host, build_exchange
from node.instance import ResultKind, ResultObject
from node.intake import Intake
from node.net.commitment import Failure, Reference, Report, report
from node.net.scp import Listener
from tests.arriving import arrival
from tests.bench.process import free_port
from tests.torture.destination import AE_TITLE, Destination, Script
from tests.torture.studies import Study

BEGIN = datetime(2026, 1, 2, 12, tzinfo=UTC)
OBJECTS = 12
STEP = timedelta(seconds=30)
IDLE_WITHIN_S = 120


class Stage:
    """Owes a dozen objects to one destination, and lets time pass as it is told to."""

    def __init__(self, folder: Path, script: Script, *, commitment: str) -> None:
        self.now = BEGIN
        self.destination = Destination(free_port(), script)
        self.settings = _settings(folder, self.destination.port, commitment)
        self._engine = bootstrap.open_database(self.settings)
        self._store = bootstrap.open_store(self.settings)
        self._exchange = build_exchange(
            self.settings,
            self._engine,
            self._store,
            Host(
                clock=lambda: self.now,
                node="stage",
                report_over=lambda *_: None,
                chance=random.Random(0).random,
            ),
        )
        self.intake = Intake(self._engine, self._store, headers.identify, lambda: self.now)
        self.study = ""
        self.denials = 0
        """How often the destination said that it does not keep what it had taken."""
        self._agenda: list[tuple[datetime, Callable[[], None]]] = []
        self.lies: list[str] = []
        """What was reported as delivered while the destination did not have it."""

    def owe(self, study: Study) -> None:
        """Make a job whose results are the first images of the study."""
        files = list(study.files.values())
        self.study = study.study_instance_uid
        self.intake.receive(arrival(files[-1], calling_ae_title="TESTPACS"))
        with writing(self._engine) as connection:
            found = studies.find(connection, self.study)
            assert found is not None
            studies.settle(connection, found, state=studies.StudyState.QUEUED)
            job_id = jobs.enqueue(
                connection,
                found,
                instances.to_analyze(connection, self.study),
                bundle_digest="sha256:none",
                readiness=Readiness(why_ready="QUIET"),
                now=self.now,
            )
            job = jobs.claim(connection, worker="stage", now=self.now, lease=STEP)
            assert job is not None
            assert job.id == job_id
            made = [self._kept(file, job.id) for file in files[:OBJECTS]]
            outcome = Outcome(state=JobState.DONE, results=made, destinations=("pacs",))
            assert jobs.conclude(connection, job, outcome, now=self.now)

    def pass_time(self, span: timedelta, *, until: Callable[[], bool] = lambda: False) -> None:
        """Let the clock run, as the schedule does, and look at what is reported as delivered.

        It jumps over the time in which nothing is due.
        """
        end = self.now + span
        while self.now < end and not until():
            self._act()
            for task in self._exchange.tasks().values():
                task()
            self._await_idle()
            self._look()
            moments = [one.due_at for one in self.deliveries() if not one.delivered]
            moments += [when for when, _ in self._agenda]
            self.now = min(end, max(self.now + STEP, min(moments, default=end)))

    def later(self, span: timedelta, act: Callable[[], None]) -> None:
        """Have something done when so much time has passed."""
        self._agenda.append((self.now + span, act))

    def deliveries(self) -> list[Delivery]:
        """Return what is owed and what has become of it."""
        with reading(self._engine) as connection:
            return deliveries.of_study(connection, self.study)

    def is_delivered(self) -> bool:
        """Whether all is reported as delivered."""
        return all(one.delivered for one in self.deliveries())

    def tell(self, told: Report) -> None:
        """Report to the node on an association of the destination's own, as a PACS does later."""
        node = self.settings.listener
        peer = settings_from(
            {
                "destinations": {
                    "node": {"ae_title": node.ae_title, "host": "127.0.0.1", "port": node.port}
                }
            }
        ).destinations["node"]
        self.denials += len(told.failed)
        report(peer, told, calling_ae_title=AE_TITLE, timeout_s=10)

    def listen(self) -> Listener:
        """Listen for reports."""
        return Listener(
            self.settings.listener,
            receive=self.intake.receive,
            closed=self.intake.closed,
            commitment=self._exchange.commitment,
        )

    def close(self) -> None:
        """End what was begun."""
        self.destination.close()
        self._exchange.close()
        self._engine.dispose()

    def faults(self) -> list[str]:
        """Say what is not delivered, was sent too often, or was reported too early."""
        found = list(self.lies)
        for one in self.deliveries():
            uid = one.sop_instance_uid
            if not one.delivered:
                found.append(f"{uid} is {one.state}")
            if uid not in self.destination.kept:
                found.append(f"{uid} is not at the destination")
        taken = self.destination.taken
        twice = taken.total() - len(taken) - self.denials
        if twice > 0:
            found.append(f"{twice} sent again although they were taken")
        return found

    def _act(self) -> None:
        due = [act for when, act in self._agenda if when <= self.now]
        self._agenda = [one for one in self._agenda if one[0] > self.now]
        for act in due:
            act()

    def _await_idle(self) -> None:
        """Hold the clock while something is under way: it takes no simulated time."""
        end = time.monotonic() + IDLE_WITHIN_S
        while any(one.claimed_by is not None for one in self.deliveries()):
            if time.monotonic() > end:
                raise TimeoutError(f"a delivery is under way for {IDLE_WITHIN_S} s")
            time.sleep(0.02)

    def _look(self) -> None:
        kept = set(self.destination.kept)
        self.lies += [
            f"{one.sop_instance_uid} was reported as delivered"
            for one in self.deliveries()
            if one.delivered and one.sop_instance_uid not in kept
        ]

    def _kept(self, file: Path, job_id: int) -> Result:
        part10 = file.read_bytes()
        said = headers.identify(part10)
        kind = {
            "sop_class_uid": said.sop_class_uid,
            "sop_instance_uid": said.sop_instance_uid,
            "series_instance_uid": said.series_instance_uid,
            "study_instance_uid": said.study_instance_uid,
            "transfer_syntax_uid": said.transfer_syntax_uid,
        }
        stored = self._store.put_result(
            ResultObject(kind=ResultKind.KEY_IMAGE, part10=part10, **kind)
        )
        return Result(job_id=job_id, kind="SC", path=stored.path, digest=stored.digest, **kind)


@contextmanager
def staged(
    folder: Path, study: Study, script: Script, *, commitment: str = "required"
) -> Iterator[Stage]:
    """Have a stage with a listener that hears reports; the destination is not open yet."""
    with ExitStack() as stack:
        stage = Stage(folder, script, commitment=commitment)
        stack.callback(stage.close)
        stage.owe(study)
        stack.enter_context(stage.listen())
        yield stage


def committed(transaction_uid: str, named: list[tuple[str, str]], *, without: set[str]) -> Report:
    """Build a report on instances, those in ``without`` as failed: no such object instance."""
    references = [Reference(sop_class_uid=kind, sop_instance_uid=uid) for kind, uid in named]
    return Report(
        transaction_uid=transaction_uid,
        committed=tuple(one for one in references if one.sop_instance_uid not in without),
        failed=tuple(
            Failure(reference=one, reason=0x0112)
            for one in references
            if one.sop_instance_uid in without
        ),
    )


def _settings(folder: Path, port: int, commitment: str) -> Settings:
    peer = {"ae_title": AE_TITLE, "host": "127.0.0.1", "port": port, "commitment": commitment}
    return settings_from(
        {
            "listener": {"port": free_port()},
            "store": {"root": str(folder / "store"), "free_bytes_min": 0},
            "database": {"url": f"sqlite:///{folder / 'node.sqlite3'}"},
            "destinations": {"pacs": peer},
            "delivery": {"commitment_wait_s": 0, "timeout_s": 10},
        }
    )
