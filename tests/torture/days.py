"""Studies that take their time, on a simulated clock, before a real listener and a real PACS."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path

from pydicom import dcmread
from pynetdicom import AE

from db import instances, jobs
from db.engine import connect, reading
from node import bootstrap
from node.config import Settings, settings_from
from node.dicom import headers
from node.intake import Intake
from node.net.scp import Listener
from tests.bench.process import free_port
from tests.torture import pacs, rig, sender
from tests.torture.claims import Claim, Trial
from tests.torture.pacs import Pacs
from tests.torture.studies import Studies, Study

BEGIN = datetime(2026, 1, 2, 8, tzinfo=UTC)
GAP = timedelta(seconds=30)
STEP = timedelta(seconds=10)
NOTED_WITHIN_S = 10


class Day:
    """A listener and an assembly whose clock stands where it is put."""

    def __init__(self, folder: Path, assembly: Mapping[str, object]) -> None:
        self.now = BEGIN
        self.settings = settings_from(
            rig.settings_for(folder, port=free_port(), assembly=dict(assembly))
        )
        self._engine = bootstrap.open_database(self.settings)
        store = bootstrap.open_store(self.settings)
        self.intake = Intake(self._engine, store, headers.identify, lambda: self.now)
        self._assembler = bootstrap.build_assembler(
            self.settings, self._engine, listening_since=BEGIN
        )

    def pass_time(self, span: timedelta) -> None:
        """Let the clock run, with a round of assembly every ten seconds."""
        end = self.now + span
        while self.now < end:
            self.now = min(end, self.now + STEP)
            self._assembler.assemble(self.now)

    def push(self, files: Sequence[Path]) -> None:
        """Have storescu send the files over an association of their own."""
        pushed = sender.push(files, self.settings.listener.port)
        if len(pushed.acknowledged) != len(files):
            raise RuntimeError(f"{len(pushed.acknowledged)} of {len(files)} were acknowledged")
        self._await_end()

    def push_slowly(self, files: Sequence[Path], gap: timedelta) -> None:
        """Send the files over one association that stays open, with a gap before each."""
        ae = AE(ae_title=sender.CALLING_AE_TITLE)
        first = [dcmread(file, stop_before_pixels=True) for file in files]
        for one in {(ds.SOPClassUID, ds.file_meta.TransferSyntaxUID) for ds in first}:
            ae.add_requested_context(*one)
        association = ae.associate("127.0.0.1", self.settings.listener.port)
        for file in files:
            self.pass_time(gap)
            if association.send_c_store(file).Status != 0x0000:
                raise RuntimeError("an image was not acknowledged")
        association.release()
        self._await_end()

    def close(self) -> None:
        """End what was begun."""
        self._assembler.close()
        self._engine.dispose()

    def _await_end(self) -> None:
        """Wait until the node has noted that the association ended."""
        end = time.monotonic() + NOTED_WITHIN_S
        while time.monotonic() < end and self._is_open():
            time.sleep(0.01)

    def _is_open(self) -> bool:
        with reading(self._engine) as connection:
            rows = connection.exec_driver_sql(
                "SELECT count(*) FROM associations WHERE released_at IS NULL"
            )
            return rows.scalar_one() > 0


def run(trial: Trial) -> Iterator[Claim]:
    """Play each day twice: with a PACS that counts, and by the quiet period alone."""
    supply = Studies(trial.folder / "days")
    with pacs.running(trial.folder / "counting", node_port=1) as archive:
        for number, (how, assembly) in enumerate(
            (
                ("the PACS counts", {"sources": {"pacs": archive.peer}}),
                ("no PACS to ask, quiet_s: 60", {"quiet_s": 60}),
            )
        ):
            for play in (gaps, mixed, hour_between):
                folder = trial.folder / f"{play.__name__}-{number}"
                with _day(folder, assembly) as day:
                    yield play(how, day, supply, archive)


def gaps(how: str, day: Day, supply: Studies, archive: Pacs) -> Claim:
    """One image every 30 seconds, for 42 minutes, over one association."""
    study = supply.another()
    archive.hold(study)
    day.push_slowly(list(study.files.values()), GAP)
    day.pass_time(timedelta(minutes=5))
    name = f"a gap of 30 s (simulated) before each of {len(study.files)} images; {how}"
    return one_job_each(name, day.settings, [study])


def mixed(how: str, day: Day, supply: Studies, archive: Pacs) -> Claim:
    """Three studies, image by image in turn, each association with some of each."""
    studies = [supply.another() for _ in range(3)]
    for study in studies:
        archive.hold(study)
    turns = list(chain.from_iterable(zip(*(one.files.values() for one in studies), strict=True)))
    half = len(turns) // 2
    day.push(turns[:half])
    day.pass_time(GAP)
    day.push(turns[half:])
    day.pass_time(timedelta(minutes=5))
    return one_job_each(f"3 studies interleaved image by image; {how}", day.settings, studies)


def hour_between(how: str, day: Day, supply: Studies, archive: Pacs) -> Claim:
    """The CT comes from the PACS an hour before the PACS itself has the PET."""
    study = supply.another()
    files = list(study.files.items())
    for part in (files[: len(files) // 2], files[len(files) // 2 :]):
        archive.hold(Study(study_instance_uid=study.study_instance_uid, files=dict(part)))
        day.push([file for _, file in part])
        day.pass_time(timedelta(hours=1))
    return one_job_each(f"CT an hour (simulated) before PET; {how}", day.settings, [study])


@contextmanager
def _day(folder: Path, assembly: Mapping[str, object]) -> Iterator[Day]:
    folder.mkdir()
    with ExitStack() as stack:
        day = Day(folder, assembly)
        stack.callback(day.close)
        stack.enter_context(
            Listener(day.settings.listener, receive=day.intake.receive, closed=day.intake.closed)
        )
        yield day


def one_job_each(trial: str, settings: Settings, studies: Sequence[Study]) -> Claim:
    """Claim one job a study, of exactly its images."""
    engine = connect(settings.database.url)
    faults = []
    with reading(engine) as connection:
        for study in studies:
            made = jobs.of_study(connection, study.study_instance_uid)
            sets = [
                {one.sop_instance_uid for one in instances.of_job(connection, job.id)}
                for job in made
            ]
            if sets != [set(study.files)]:
                counts = [len(one) for one in sets]
                faults.append(f"{study.study_instance_uid}: jobs of {counts} images")
    engine.dispose()
    return Claim.of(
        trial, "studies without one job of exactly their images", faults, among=len(studies)
    )
