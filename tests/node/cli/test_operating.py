"""What an operator sees: check, status, explain, outcomes, retry, export."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from db import attempts, instances, jobs, studies
from db.engine import writing
from db.jobs import JobState, Outcome, Readiness
from inference import case
from node import bootstrap
from node.cli import explain, ground, operate
from node.cli.check import check
from node.cli.export import export
from node.cli.retain import retain
from node.config import settings_from
from node.dicom import headers
from node.instance import Arrival
from node.intake import Intake

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)


class Screen:
    """A console whose text can be read."""

    def __init__(self) -> None:
        self.text = io.StringIO()
        self.console = Console(file=self.text, width=400, highlight=False)

    def read(self) -> str:
        return self.text.getvalue()


@pytest.fixture
def screen():
    return Screen()


@pytest.fixture
def failed_study(settings_of, phantom_files):
    """Settings of a node that took in one study, whose job failed; and the study's UID."""
    settings = settings_of()
    engine = bootstrap.open_database(settings)
    intake = Intake(engine, bootstrap.open_store(settings), headers.identify, lambda: NOW)
    for file in phantom_files:
        part10 = file.read_bytes()
        said = headers.identify(part10)
        arrival = Arrival(
            part10=part10,
            sop_class_uid=said.sop_class_uid,
            sop_instance_uid=said.sop_instance_uid,
            transfer_syntax_uid=said.transfer_syntax_uid,
            calling_ae_title="PACS",
            peer="127.0.0.1:1",
            association="one",
        )
        intake.receive(arrival)
    uid = said.study_instance_uid
    with writing(engine) as connection:
        study = studies.find(connection, uid)
        studies.settle(connection, study, state=studies.StudyState.QUEUED)
        jobs.enqueue(
            connection,
            study,
            instances.to_analyze(connection, uid),
            bundle_digest="sha256:0",
            readiness=Readiness(why_ready="QUIET"),
            now=NOW,
        )
        job = jobs.claim(connection, worker="one", now=NOW, lease=timedelta(minutes=1))
        attempts.begin(connection, job, now=NOW + timedelta(seconds=1))
        ended = NOW + timedelta(seconds=3)
        failed = Outcome(state=JobState.FAILED, error="MemoryError in volumes.py:1")
        jobs.conclude(connection, job, failed, now=ended)
        stages = [
            {"name": "read", "start_s": 0.0, "seconds": 2.0, "broken": True},
            {"name": "read.ct", "start_s": 0.5, "seconds": 1.5, "broken": True},
        ]
        attempts.end(connection, job, stages, now=ended)
    engine.dispose()
    return settings, uid


def test_check_passes_where_everything_works(settings_of, screen, monkeypatch):
    """The disk too, which the other tests may keep busy: how fast it is, is not asked here."""
    monkeypatch.setattr(ground, "_sync_ms", lambda _: 4.0)
    assert check(settings_of(), screen.console, quick=False) == 0, screen.read()

    assert "takes synced writes" in screen.read()
    assert "sqlite, revision" in screen.read()
    assert "dlnms" in screen.read()


def test_check_fails_for_a_full_disk_and_says_what_peers_get(settings_of, tmp_path, screen):
    settings = settings_of(store={"root": str(tmp_path / "store"), "free_bytes_min": 10**18})

    assert check(settings, screen.console, quick=True) == 2

    assert "0xA700" in screen.read()


def test_check_fails_for_a_peer_that_does_not_answer(settings_of, free_port, screen):
    peer = {"ae_title": "PACS", "host": "127.0.0.1", "port": free_port}

    assert check(settings_of(destinations={"pacs": peer}), screen.console, quick=False) == 2

    assert "PACS at 127.0.0.1" in screen.read()


def test_status_counts_the_images_of_a_study_by_modality(failed_study, phantom_petct, screen):
    settings, uid = failed_study

    operate.status(settings, screen.console, limit=10, as_json=True)

    (row,) = json.loads(screen.read())["studies"]
    assert row["study_instance_uid"] == uid
    assert row["instances"] == {
        "CT": phantom_petct.ct.grid.shape[0],
        "PT": phantom_petct.pet.grid.shape[0],
    }


def test_explain_tells_who_sent_what_went_wrong_and_what_comes_next(failed_study, screen):
    settings, uid = failed_study

    assert explain.explain(uid, settings, screen.console) == 0

    assert "association of PACS" in screen.read()
    assert "because no image came for as long as the settings say (QUIET)" in screen.read()
    assert "MemoryError in volumes.py:1" in screen.read()
    assert "next: nothing: see the error, then `petct-node retry`" in screen.read()


def test_explain_tells_where_the_time_went_and_where_it_broke_off(failed_study, screen):
    settings, uid = failed_study

    explain.explain(uid, settings, screen.console)

    assert "MemoryError in volumes.py:1, in read.ct" in screen.read()
    cells = [line.split("│")[1:-1] for line in screen.read().splitlines() if "│" in line]
    rows = [tuple(cell.strip() for cell in row) for row in cells]
    assert rows == [
        ("receive", "0.00 s", "0.000 s"),
        ("wait: complete", "0.00 s", "0.000 s"),
        ("wait: worker", "0.00 s", "1.000 s"),
        ("analyze", "1.00 s", "2.000 s"),
        ("read", "1.00 s", "2.000 s"),
        ("ct", "1.50 s", "1.500 s"),
    ]
    assert "in all 3.00 s, of which 1.00 s were waits" in screen.read()


def test_outcomes_are_one_line_of_csv_a_job(failed_study, screen):
    settings, uid = failed_study

    operate.outcomes(settings, screen.console)

    (row,) = csv.DictReader(io.StringIO(screen.read()))
    assert (row["study_instance_uid"], row["state"]) == (uid, "failed")


def test_explain_of_an_unknown_study_fails(settings_of, screen):
    settings = settings_of()
    bootstrap.open_database(settings).dispose()

    assert explain.explain("1.2.3", settings, screen.console) == 1
    assert "no instance of study 1.2.3 ever came" in screen.read()


def test_retry_queues_a_failed_job_once(failed_study, screen):
    settings, uid = failed_study

    assert operate.retry(uid, settings, screen.console) == 0
    assert operate.retry(uid, settings, screen.console) == 1

    assert "nothing to retry" in screen.read()


def test_export_writes_a_case_that_training_reads(failed_study, phantom_petct, tmp_path, screen):
    settings, uid = failed_study

    assert export(uid, tmp_path / "case", settings, screen.console) == 0

    assert case.read(tmp_path / "case").pet.grid.shape == phantom_petct.pet.grid.shape


def test_what_retention_deleted_is_told_and_neither_exported_nor_retried(
    failed_study, screen, tmp_path
):
    settings, uid = failed_study
    config = settings.model_dump()
    config["retention"] = {"failed_days": 1}
    keeping = settings_from(config)

    assert retain(keeping, screen.console, dry_run=True) == 0
    assert "would be deleted" in screen.read()
    assert list(settings.store.root.rglob("instances/**/*.dcm")) != []
    assert retain(keeping, screen.console, dry_run=False) == 0

    assert list(settings.store.root.rglob("instances/**/*.dcm")) == []
    assert "it was failed, and nothing has come since 2026-01-02" in screen.read()
    assert operate.retry(uid, settings, screen.console) == 1
    assert export(uid, tmp_path / "case", settings, screen.console) == 1
    explain.explain(uid, settings, screen.console)
    assert "by retention" in screen.read()
