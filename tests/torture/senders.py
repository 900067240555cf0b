"""Senders as they are: sixteen at once, with pauses, studies mixed, CT long before PET."""

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from db import jobs
from db.engine import connect, reading
from inference.scanner import SCANNERS
from node.config import Settings, settings_from
from tests.bench import process
from tests.torture import days, pacs, rig, sender, served
from tests.torture.claims import Claim, Trial
from tests.torture.studies import Studies, Study

SENDERS = 16
STUDIES = 4
MEMORY_MB = 300
REST_S = 60
SCANNER = SCANNERS["classic"]


def run(trial: Trial) -> Iterator[Claim]:
    """Have sixteen senders at once, ``trial.count`` planes a series, then the simulated days."""
    yield from _crowd(trial)
    yield from days.run(trial)


def _crowd(trial: Trial) -> Iterator[Claim]:
    """Each study is dealt to four senders, so that the images of all arrive mixed."""
    scanner = replace(
        SCANNER,
        ct_shape=(trial.count, *SCANNER.ct_shape[1:]),
        pet_shape=(trial.count, *SCANNER.pet_shape[1:]),
    )
    supply = Studies(trial.folder / "studies", scanner)
    studies = [supply.another() for _ in range(STUDIES)]
    name = f"{SENDERS} storescu at once, {STUDIES} studies of {2 * trial.count} images, mixed"
    port = process.free_port()
    with pacs.running(trial.folder / "orthanc", node_port=port) as archive:
        for study in studies:
            archive.hold(study)
        settings = rig.settings_for(
            trial.folder, port=port, assembly={"sources": {"pacs": archive.peer}}
        )
        with served.listener(settings, trial.folder) as pid:
            begun = time.monotonic()
            acknowledged = _push_at_once(studies, port)
            rate = len(acknowledged) / (time.monotonic() - begun)
            checked = settings_from(settings)
            _await_jobs(checked, studies)
            memory = _peak_mb(pid)
        sent = sum(len(study.files) for study in studies)
        yield Claim(
            trial=name,
            claim="images acknowledged",
            found=f"{len(acknowledged)} of {sent}, {rate:.0f}/s",
            holds=len(acknowledged) == sent,
        )
        yield days.one_job_each(name, checked, studies)
        yield Claim(
            trial=name,
            claim=f"memory of the listener stays below {MEMORY_MB} MB",
            found=f"{memory:.0f} MB at most",
            holds=memory < MEMORY_MB,
        )


def _push_at_once(studies: Sequence[Study], port: int) -> set[Path]:
    """Send with all senders at the same time; what one did not get through is sent again."""
    dealt: list[list[Path]] = [[] for _ in range(SENDERS)]
    each = SENDERS // len(studies)
    for number, study in enumerate(studies):
        for index, file in enumerate(study.files.values()):
            dealt[number * each + index % each].append(file)
    pushing = [sender.begun(files, port) for files in dealt]
    acknowledged: set[Path] = set()
    for one in pushing:
        _, told = one.communicate(timeout=600)
        acknowledged.update(sender.answers(told.splitlines()).acknowledged)
    return acknowledged


def _await_jobs(settings: Settings, studies: Sequence[Study]) -> None:
    """Wait until each study has a job, but not for ever: the claims say if one has none."""
    engine = connect(settings.database.url)
    missing = {study.study_instance_uid for study in studies}
    end = time.monotonic() + REST_S
    while missing and time.monotonic() < end:
        time.sleep(0.2)
        with reading(engine) as connection:
            missing = {uid for uid in missing if not jobs.of_study(connection, uid)}
    engine.dispose()


def _peak_mb(pid: int) -> float:
    """Return the most that a process ever held in memory (proc(5), VmHWM)."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024 / 1e6
