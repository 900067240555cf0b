"""A worker brings each job to one outcome, whatever the study does to it."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread

from db import attempts, deliveries, instances, jobs, results, studies
from db.engine import connect, reading, writing
from db.jobs import JobState, Readiness
from db.migrate import upgrade
from inference.errors import DeviceLost
from node import analysis, bootstrap, worker
from node.config import Settings
from node.dicom import headers, lint
from node.digest import is_of
from node.errors import PeerUnavailable, UnusableStudy
from node.intake import Intake
from node.setback import describe
from node.worker import Clock, Worker
from tests.arriving import arrival
from tests.postgresql import BOTH

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
LEASE = timedelta(seconds=60)
KINDS = ["PM", "PM", "SC", "SEG", "SR"]
"""Of what comes of a phantom: a map for each of two networks, picture, Segmentation and report."""
on_both = pytest.mark.parametrize("database", BOTH)


@pytest.fixture(scope="module")
def recipe():
    return bootstrap.build_recipe(Settings())


class Bench:
    """A database, a store and a worker whose clock stands where the test puts it."""

    def __init__(self, settings, recipe) -> None:
        upgrade(settings.database.url)
        self.engine = connect(settings.database.url)
        self.store = bootstrap.open_store(settings)
        self.now = NOW
        self.recipe = recipe
        self.worker = self.named("first")

    def named(self, name: str) -> Worker:
        return Worker(
            name=name,
            database=self.engine,
            store=self.store,
            recipe=self.recipe,
            destinations=("pacs",),
            lease=LEASE,
            attempts=2,
            clock=Clock(now=lambda: self.now),
        )

    def take_in(self, files: Sequence[Path]) -> int:
        """Receive the files and make their job; return its id."""
        intake = Intake(self.engine, self.store, headers.identify, lambda: self.now)
        for file in files:
            intake.receive(arrival(file))
        study_uid = str(dcmread(files[0], stop_before_pixels=True).StudyInstanceUID)
        with writing(self.engine) as connection:
            study = studies.find(connection, study_uid)
            studies.settle(connection, study, state=studies.StudyState.QUEUED)
            return jobs.enqueue(
                connection,
                study,
                instances.to_analyze(connection, study_uid),
                bundle_digest=self.recipe.model.bundle.digest,
                readiness=Readiness(why_ready="QUIET"),
                now=self.now,
            )

    def job(self, study_uid: str):
        with reading(self.engine) as connection:
            return jobs.of_study(connection, study_uid)[-1]

    def made(self, job_id: int):
        with reading(self.engine) as connection:
            return results.of_job(connection, job_id)

    def dataset(self, result):
        return dcmread(BytesIO(self.store.read(result.path)))


def _top_slices(files: Sequence[Path]) -> list[Path]:
    """The ten highest planes of the PET and of the CT."""
    headers = {file: dcmread(file, stop_before_pixels=True) for file in files}
    ordered = sorted(files, key=lambda file: headers[file].ImagePositionPatient[2])
    by_modality = [[f for f in ordered if headers[f].Modality == m] for m in ("PT", "CT")]
    return [file for series in by_modality for file in series[-10:]]


def _cited(studies_cited) -> set[str]:
    return {
        one.ReferencedSOPInstanceUID
        for study in studies_cited
        for series in study.ReferencedSeriesSequence
        for one in series.ReferencedSOPSequence
    }


def _modality(file: Path) -> str:
    return str(dcmread(file, stop_before_pixels=True).Modality)


@pytest.fixture
def bench(settings_of, recipe):
    bench = Bench(settings_of(), recipe)
    yield bench
    bench.engine.dispose()


def test_without_a_due_job_there_is_nothing_to_do(bench):
    assert bench.worker.work() is None


def test_a_study_becomes_findings_and_objects_owed_to_the_destination(bench, phantom_files):
    bench.take_in(phantom_files)

    job = bench.worker.work()

    ended = bench.job(job.study_instance_uid)
    assert ended.state is JobState.DONE
    assert ended.findings["outcome"] == "analyzed"
    assert {one["task"] for one in ended.findings["predictions"]} == {"occult_n1", "occult_n2"}
    made = bench.made(job.id)
    assert sorted(one.kind for one in made) == KINDS
    assert all(bench.store.path(one.path).exists() for one in made)
    with reading(bench.engine) as connection:
        owed = deliveries.of_study(connection, job.study_instance_uid)
        (attempt,) = attempts.of_job(connection, job.id)
    assert {(one.destination, one.state) for one in owed} == {("pacs", "owed")}
    assert len(owed) == len(made)
    kinds = {one.sop_instance_uid: one.kind for one in made}
    assert [kinds[one.sop_instance_uid] for one in owed] == ["SR", "SEG", "SC", "PM", "PM"]
    names = [one["name"] for one in attempt.stages]
    assert [name for name in names if "." not in name] == [
        "read",
        "locate",
        "infer",
        "write",
        "check",
        "store",
    ]
    assert {"read.ct", "locate.lesions", "infer.network", "write.report"} <= set(names)


def test_a_study_without_pet_is_refused_with_its_code_and_a_report_that_says_so(
    bench, phantom_files
):
    bench.take_in([f for f in phantom_files if _modality(f) == "CT"])

    job = bench.worker.work()

    ended = bench.job(job.study_instance_uid)
    assert ended.state is JobState.REFUSED
    assert [reason["code"] for reason in ended.reasons] == ["PET_MISSING"]
    assert [one.kind for one in bench.made(job.id)] == ["SR"]


def test_late_images_make_a_version_that_names_and_rejects_the_one_before(
    settings_of, recipe, phantom_files
):
    rejecting = replace(recipe, options=replace(recipe.options, supersede="reject"))
    bench = Bench(settings_of(), rejecting)
    late = _top_slices(phantom_files)
    bench.take_in([file for file in phantom_files if file not in late])
    first = bench.worker.work()

    bench.now += timedelta(hours=1)
    bench.take_in(late)
    second = bench.worker.work()

    before = {one.kind: one for one in bench.made(first.id)}
    after = {one.kind: one for one in bench.made(second.id)}
    assert set(before) == {*KINDS}
    assert set(after) == {*KINDS, "KOS"}
    shown = {one.sop_instance_uid for one in bench.made(first.id)}
    assert not shown & {one.sop_instance_uid for one in bench.made(second.id)}
    (study,) = bench.dataset(after["SR"]).PredecessorDocumentsSequence
    assert _cited([study]) == {before["SR"].sop_instance_uid}
    rejection = bench.dataset(after["KOS"])
    assert rejection.ConceptNameCodeSequence[0].CodeValue == "113039"
    cited = _cited(rejection.CurrentRequestedProcedureEvidenceSequence)
    assert cited == shown
    with reading(bench.engine) as connection:
        owed = deliveries.of_study(connection, second.study_instance_uid)
    assert after["KOS"].sop_instance_uid in {one.sop_instance_uid for one in owed}
    assert {one.destination for one in owed} == {"pacs"}
    bench.engine.dispose()


def test_images_that_were_missing_replace_the_refusal(bench, phantom_files):
    bench.take_in([f for f in phantom_files if _modality(f) == "CT"])
    refused = bench.worker.work()
    (refusal,) = bench.made(refused.id)

    bench.now += timedelta(hours=1)
    bench.take_in([f for f in phantom_files if _modality(f) == "PT"])
    job = bench.worker.work()

    (report,) = [one for one in bench.made(job.id) if one.kind == "SR"]
    assert bench.job(job.study_instance_uid).state is JobState.DONE
    predecessors = bench.dataset(report).PredecessorDocumentsSequence
    assert _cited(predecessors) == {refusal.sop_instance_uid}


def test_a_second_try_that_succeeds_replaces_the_refusal_of_the_first(
    settings_of, recipe, phantom_files, monkeypatch
):
    rejecting = replace(recipe, options=replace(recipe.options, supersede="reject"))
    bench = Bench(settings_of(), rejecting)
    bench.take_in(phantom_files)
    with monkeypatch.context() as patch:
        patch.setattr(analysis.series, "choose", _refuse)
        first = bench.worker.work()
    (refusal,) = bench.made(first.id)

    bench.now += timedelta(hours=1)
    with writing(bench.engine) as connection:
        jobs.retry(connection, first.study_instance_uid, now=bench.now)
    bench.worker.work()

    made = {one.sop_instance_uid: one for one in bench.made(first.id)}
    assert sorted(one.kind for one in made.values()) == sorted(["KOS", *KINDS, "SR"])
    assert made.pop(refusal.sop_instance_uid) == refusal
    after = {one.kind: bench.dataset(one) for one in made.values()}
    assert _cited(after["SR"].PredecessorDocumentsSequence) == {refusal.sop_instance_uid}
    rejected = _cited(after["KOS"].CurrentRequestedProcedureEvidenceSequence)
    assert rejected == {refusal.sop_instance_uid}
    bench.engine.dispose()


def test_what_is_stored_before_it_is_refused_is_taken_away(bench, phantom_files, monkeypatch):
    """Objects are stored while they are looked at; then a fault is found in one of them."""
    stored = []
    put = bench.store.put_result
    monkeypatch.setattr(
        type(bench.store), "put_result", lambda _, made: stored.append(kept := put(made)) or kept
    )
    fault = lint.Fault(rule=lint.Rule.IDENTITY, detail="made up", sop_instance_uid="1.2")
    monkeypatch.setattr(
        analysis.lint, "check", lambda objects, _: (fault,) if len(objects) > 1 else ()
    )
    bench.take_in(phantom_files)

    job = bench.worker.work()

    (refusal,) = bench.made(job.id)
    assert len(stored) == 6
    left = [one.path for one in stored if bench.store.path(one.path).exists()]
    assert left == [refusal.path]


def _refuse(*_):
    raise UnusableStudy("CT_NOT_COVERING", "as the rules were then")


@on_both
def test_the_job_of_a_worker_that_vanished_goes_to_another(bench, phantom_files):
    job_id = bench.take_in(phantom_files)
    with writing(bench.engine) as connection:
        jobs.claim(connection, worker="vanished", now=bench.now, lease=LEASE)
    assert bench.worker.work() is None, "the lease still holds"

    bench.now += LEASE + timedelta(seconds=1)
    job = bench.worker.work()

    assert job.id == job_id
    assert bench.job(job.study_instance_uid).state is JobState.DONE
    assert len(bench.made(job_id)) == len(KINDS)


def test_a_refused_study_that_is_tried_again_in_vain_is_refused_again(bench, phantom_files):
    bench.take_in([f for f in phantom_files if _modality(f) == "PT"])
    first = bench.worker.work()
    (report,) = bench.made(first.id)

    bench.now += timedelta(hours=1)
    with writing(bench.engine) as connection:
        jobs.retry(connection, first.study_instance_uid, now=bench.now)
    bench.worker.work()

    assert bench.job(first.study_instance_uid).state is JobState.REFUSED
    assert bench.made(first.id) == [report]


def test_a_worker_killed_after_it_stored_its_results_costs_nothing(
    bench, phantom_files, monkeypatch
):
    job_id = bench.take_in(phantom_files)

    def die(*_, **__):
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(jobs, "conclude", die)
        with pytest.raises(SystemExit):
            bench.worker.work()
    assert bench.made(job_id) == []

    bench.now += LEASE + timedelta(seconds=1)
    job = bench.named("second").work()

    assert bench.job(job.study_instance_uid).state is JobState.DONE
    made = bench.made(job_id)
    assert len(made) == len(KINDS)
    assert all(is_of(one.digest, bench.store.read(one.path)) for one in made)


def test_what_fails_is_tried_again_and_ends_in_a_visible_failure(bench, phantom_files, monkeypatch):
    def break_down(*_, **__):
        raise MemoryError("Doe^Jane")

    monkeypatch.setattr(worker, "conclude", break_down)
    bench.take_in(phantom_files)

    first = bench.worker.work()
    assert bench.job(first.study_instance_uid).state is JobState.WAITING

    bench.now += timedelta(minutes=1)
    bench.worker.work()
    ended = bench.job(first.study_instance_uid)
    assert ended.state is JobState.FAILED
    assert ended.error.startswith("MemoryError in ")
    assert "Doe" not in ended.error


def test_a_lost_gpu_puts_the_study_back_and_ends_the_process(bench, phantom_files, monkeypatch):
    """Every further study would fail in it, too, and lose its attempts."""

    def lose(*_, **__):
        raise DeviceLost("tensorrt on NVIDIA L4: an illegal memory access was encountered")

    monkeypatch.setattr(worker, "conclude", lose)
    bench.take_in(phantom_files)

    with pytest.raises(DeviceLost):
        bench.worker.work()

    study = dcmread(phantom_files[0], stop_before_pixels=True).StudyInstanceUID
    job = bench.job(study)
    assert job.state is JobState.WAITING
    assert "illegal memory access" in job.error


def test_our_own_errors_keep_their_words_and_those_of_libraries_only_their_type():
    assert describe(PeerUnavailable("no answer")) == "PeerUnavailable: no answer"
    assert describe(ValueError("Doe^Jane")) == "ValueError"
