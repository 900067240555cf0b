"""From the answer to the last image of a study to its report in the PACS: ours, and plainly made.

A real node (`petct-node serve`) and a real Orthanc, which holds the study already, so that its size
is known by C-FIND. The plain pipeline starts with all files on disk and waits for nothing.
"""

import json
import multiprocessing
import re
import statistics
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from pynetdicom import AE
from pynetdicom.sop_class import (
    CTImageStorage,
    PositronEmissionTomographyImageStorage,
)

from db import jobs
from db.engine import connect, reading
from inference.petct import PetCt
from node import bootstrap, course
from node.analysis import StudyOnDisk, conclude
from node.config import Settings
from tests.bench import peers, plain, process, study
from tests.bench.measure import OURS, Measure, Plan, Sample, compare, interleave
from tests.bench.reading import CT_SIDE, PET_SIDE, PLANES, refined

SECTION = "Turnaround"
PLAIN = "plain pipeline"
PLAIN_ALL = "plain pipeline, all objects"
CASE = f"last image to report in the PACS, {PLANES} CT {CT_SIDE}² and {PLANES} PET {PET_SIDE}²"
WAITED = "of that, waits"
WITHIN_S = 120
LOOK_S = 0.02
PACS = "ORTHANC"


@dataclass
class Pacs:
    """Orthanc, and what it says it holds."""

    dicom_port: int
    http_port: int

    def holds_a_report(self, study_instance_uid: str) -> bool:
        """Whether our report of the study is there; the plain pipeline's does not count."""
        query = {
            "StudyInstanceUID": study_instance_uid,
            "Modality": "SR",
            "Manufacturer": Settings().results.manufacturer,
        }
        return bool(self._find("Series", query))

    def _find(self, level: str, query: Mapping[str, str]) -> list[str]:
        asked = json.dumps({"Level": level, "Query": query}).encode()
        request = urllib.request.Request(self._url("/tools/find"), data=asked, method="POST")
        with urllib.request.urlopen(request, timeout=30) as answer:
            found: list[str] = json.load(answer)
            return found

    def _url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.http_port}{path}"


@dataclass
class Round:
    """One study under UIDs that nobody has seen, in the PACS and on disk."""

    petct: PetCt
    pacs: Pacs
    folder: Path
    number: int = 0
    paths: tuple[Path, ...] = ()
    uid: str = ""

    def renew(self) -> None:
        self.number += 1
        fresh = study.renamed(self.petct, 1000 + self.number)
        self.paths = study.write(fresh, study.room(self.folder, "study-"))
        self.uid = fresh.study_instance_uid
        _send(self.paths, self.pacs.dicom_port, "MODALITY")


def measure(petct: PetCt, folder: Path, plan: Plan) -> tuple[list[Measure], list[str]]:
    """Measure both in turn; return also what each step of ours took, by the node's own record."""
    if peers.orthanc_executable() is None:
        return [], ["Turnaround was not measured: Orthanc is not installed."]
    large = refined(petct)
    spawn = multiprocessing.get_context("spawn")
    with ExitStack() as stack:
        pacs = stack.enter_context(_orthanc(folder))
        own = study.room(folder, "node-")
        node_pid, port = stack.enter_context(_serving(own, pacs))
        pool = stack.enter_context(
            ProcessPoolExecutor(1, mp_context=spawn, initializer=plain.open_networks)
        )
        steps: dict[str, list[Mapping[str, float]]] = {PLAIN: [], PLAIN_ALL: []}
        current = Round(petct=large, pacs=pacs, folder=folder)
        current.renew()
        hottest = _hottest(current)

        def ours() -> Sample:
            return _ours(current, node_pid, port)

        def theirs(name: str) -> Sample:
            seconds, cpu_ms = pool.submit(
                plain.run, current.paths, hottest, pacs.dicom_port, everything=name == PLAIN_ALL
            ).result()
            steps[name].append(seconds)
            return Sample(value=sum(seconds.values()), cpu_ms=cpu_ms)

        patient = replace(plan, budget_s=3 * plan.budget_s)  # a third of it goes into new studies
        subjects = {OURS: ours, **{name: partial(theirs, name) for name in steps}}
        samples = interleave(subjects, patient, prepare=current.renew)
        kept = len(samples[OURS])
        measures = compare(SECTION, CASE, "s", samples)
        measures += _rows(f"{OURS}: seconds by step", _courses(own)[-kept:])
        for name, taken in steps.items():
            measures += _rows(f"{name}: seconds by step", taken[-kept:])
    return measures, _sentences(measures)


def _ours(current: Round, node_pid: int, port: int) -> Sample:
    answered = _send(current.paths, port, PACS)
    before = process.cpu_s(node_pid)
    end = answered + WITHIN_S
    while not current.pacs.holds_a_report(current.uid):
        if time.perf_counter() > end:
            raise RuntimeError(f"no report came in {WITHIN_S} s")
        time.sleep(LOOK_S)
    seconds = time.perf_counter() - answered
    return Sample(value=seconds, cpu_ms=(process.cpu_s(node_pid) - before) * 1000)


def _send(paths: Sequence[Path], port: int, calling_ae_title: str) -> float:
    """Send the files over one association; return when the last one was answered."""
    entity = AE(ae_title=calling_ae_title)
    for kind in (CTImageStorage, PositronEmissionTomographyImageStorage):
        entity.add_requested_context(kind, "1.2.840.10008.1.2.1")
    association = entity.associate("127.0.0.1", port)
    if not association.is_established:
        raise RuntimeError(f"nobody takes the study at port {port}")
    for path in paths:
        status = association.send_c_store(path)
        if status.get("Status") != 0:
            raise RuntimeError(f"{path.name} was answered with {status}")
    answered = time.perf_counter()
    association.release()
    return answered


def _hottest(current: Round) -> tuple[float, float, float]:
    """Where SUVmax lies, which spares the plain pipeline the search."""
    on_disk = StudyOnDisk(study_instance_uid=current.uid, paths=current.paths, key="bench")
    recipe = bootstrap.build_recipe(Settings())
    found = conclude(on_disk, recipe, when=study.STARTED_AT, clock=time.perf_counter).findings
    if found is None or found.primary is None:
        raise RuntimeError("the study has no tumour")
    x, y, z = found.primary.suv_max_lps_mm
    return float(x), float(y), float(z)


def _courses(folder: Path) -> list[Mapping[str, float]]:
    """What the node's database tells of each study: seconds of each step until the report left.

    The report of the last one may be in the PACS before all that goes with it is sent and noted.
    """
    engine = connect(f"sqlite:///{folder / 'node.sqlite3'}")
    end = time.monotonic() + WITHIN_S
    while True:
        with reading(engine) as connection:
            ids = connection.exec_driver_sql("SELECT id FROM jobs ORDER BY id").scalars().all()
            told = [course.of_job(connection, jobs.find(connection, one)) for one in ids]
        steps = [_steps(one) for one in told]
        if all(course.OUTBOX in one for one in steps) or time.monotonic() > end:
            break
        time.sleep(LOOK_S)
    engine.dispose()
    return steps


def _steps(of_job: course.Course) -> Mapping[str, float]:
    waits: dict[str, float] = {}
    stages: dict[str, float] = {}
    for span in of_job.spans:
        is_report = span.attributes.get("petct.object", "SR") == "SR"
        if span.name in course.WAITING and is_report:
            waits[span.name] = span.seconds
        elif span.parent is not None and of_job.spans[span.parent].name == course.ANALYZE:
            stages[span.name] = span.seconds
    return {**waits, **stages, WAITED: sum(waits.values())}


def _rows(case: str, steps: Sequence[Mapping[str, float]]) -> list[Measure]:
    return [
        Measure(
            section=SECTION,
            case=case,
            subject=name,
            unit="s",
            samples=tuple(Sample(value=one[name]) for one in steps),
        )
        for name in steps[0]
    ]


def _sentences(measures: Sequence[Measure]) -> list[str]:
    by_subject = {one.subject: one for one in measures}
    waited = statistics.median(by_subject[WAITED].values)
    ratio, whole = (by_subject[name].ratio for name in (PLAIN, PLAIN_ALL))
    took = f"{by_subject[OURS].median:.1f} s from the last image to the report in the PACS"
    plainly = f"plainly {ratio:.1f} times as long, with all objects {whole:.1f} times"
    return [f"Turnaround: {took}, {waited:.2f} s of them waits; {plainly}."]


@contextmanager
def _orthanc(folder: Path) -> Iterator[Pacs]:
    own, http_port = study.room(folder, "pacs-"), process.free_port()
    with peers.orthanc(own, nodelay=True, http_port=http_port) as receiver:
        yield Pacs(dicom_port=receiver.port, http_port=http_port)


@contextmanager
def _serving(folder: Path, pacs: Pacs) -> Iterator[tuple[int, int]]:
    """Run a node that asks Orthanc for counts and sends it results, until its worker is ready."""
    port = process.free_port()
    peer: dict[str, Any] = {"ae_title": PACS, "host": "127.0.0.1", "port": pacs.dicom_port}
    settings = {
        "listener": {"port": port},
        "store": {"root": str(folder / "store"), "free_bytes_min": 0},
        "database": {"url": f"sqlite:///{folder / 'node.sqlite3'}"},
        "assembly": {"sources": {"pacs": peer}},
        "destinations": {"pacs": peer},
    }
    config, log = folder / "config.yaml", folder / "log"
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    command = [sys.executable, "-m", "node", "serve", "--config", str(config)]
    with process.running(command, log, process.environment(nodelay=True)) as started:
        end = time.monotonic() + peers.START_S
        while not re.search(r"worker \S+ ready", log.read_text(errors="replace")):
            if time.monotonic() > end or started.poll() is not None:
                raise RuntimeError(f"the node did not start: {log.read_text()[-1000:]}")
            time.sleep(0.2)
        yield started.pid, port
