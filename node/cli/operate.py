"""What an operator asks of a running node: where studies are, why, and to try again."""

import csv
import io
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from sqlalchemy import Connection

from db import commitments, deliveries, instances, jobs, pledges, results, studies
from db.deliveries import Delivery
from db.engine import connect, reading, writing
from db.jobs import Job, JobState
from db.pledges import PledgeState
from db.studies import Study, StudyState
from node import audit, bootstrap
from node.cli.findings import print_document
from node.config import ConfigError, Settings

NEXT = {
    StudyState.RECEIVING: "waits until the study is complete",
    StudyState.QUEUED: "waits for a worker, or is being analysed",
    StudyState.ANALYZED: "nothing: images that come later make a new version",
    StudyState.REFUSED: "nothing: send what is missing, or `petct-node retry` after a change",
    StudyState.FAILED: "nothing: see the error, then `petct-node retry`",
    StudyState.IGNORED: "nothing: there is nothing to analyse in it",
}


def status(settings: Settings, console: Console, *, limit: int, as_json: bool) -> int:
    """List the newest studies: where each is, why, and what of it was delivered."""
    with _reading(settings) as connection:
        rows = [_row(connection, study) for study in studies.newest(connection, limit=limit)]
        exchange = _exchange(connection)
    if as_json:
        console.file.write(json.dumps({"studies": rows, **exchange}, indent=2) + "\n")
        return 0
    table = Table("study", "state", "why", "images", "delivered", "last image")
    for row in rows:
        why = "; ".join(f"{reason['code']}: {reason['meaning']}" for reason in row["reasons"])
        why = "; ".join(filter(None, (why, *row["delivery_errors"])))
        images = ", ".join(f"{count} {modality}" for modality, count in row["instances"].items())
        waiting = f", {row['sent']} sent" if row["sent"] else ""
        sent = f"{row['delivered']} of {row['owed']}{waiting}"
        table.add_row(
            row["study_instance_uid"], row["state"], escape(why), images, sent, row["last_at"][:19]
        )
    console.print(table if rows else "no study has come yet")
    for one in exchange["unanswered"]:
        console.print(
            f"{one['destination']} has not committed to {one['objects']} objects that it was asked "
            f"about, the first time at {one['oldest_at'][:19]}",
            markup=False,
        )
    for one in exchange["pledges"]:
        if one["state"] != PledgeState.REPORTED:
            console.print(
                f"{one['peer']} asked us to commit: {one['requests']} requests {one['state']}",
                markup=False,
            )
    return 0


def _exchange(connection: Connection) -> dict[str, list[dict[str, Any]]]:
    """Tell what goes between us and each peer, as ``status --json`` shows it."""
    return {
        "deliveries": [
            {"destination": destination, "state": state, "evidence": evidence, "objects": count}
            for (destination, state, evidence), count in deliveries.counts(connection).items()
        ],
        "unanswered": [
            {
                "destination": one.destination,
                "objects": one.objects,
                "oldest_at": one.oldest_at.isoformat(),
            }
            for one in commitments.unanswered(connection)
        ],
        "pledges": [
            {"peer": peer, "state": state, "requests": count}
            for (peer, state), count in pledges.counts(connection).items()
        ],
    }


def outcomes(settings: Settings, console: Console) -> int:
    """Print one line of CSV for each job that ended: what was found, predicted or refused."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=OUTCOME_COLUMNS)
    writer.writeheader()
    with _reading(settings) as connection:
        for study in studies.newest(connection, limit=1_000_000):
            for job in jobs.of_study(connection, study.study_instance_uid):
                if job.finished_at is not None:
                    writer.writerow(_outcome(job))
    console.file.write(buffer.getvalue())
    return 0


OUTCOME_COLUMNS = (
    "study_instance_uid",
    "job",
    "state",
    "reasons",
    "finished_at",
    "applicable",
    "risk",
    "occult_n1",
    "occult_n2",
    "suv_max",
    "mtv_ml",
    "tlg_g",
    "longest_diameter_mm",
)


def explain(study_uid: str, settings: Settings, console: Console) -> int:
    """Tell what happened to a study, what it waits for, and what comes next."""
    with _reading(settings) as connection:
        study = studies.find(connection, study_uid)
        if study is None:
            console.print(f"no instance of study {study_uid} ever came")
            return 1
        with bootstrap.record_of(settings) as record:
            about = audit.Study(study_instance_uid=study_uid)
            record(audit.study_viewed(audit.operator(), about))
        _print_arrival(connection, study, console)
        for job in jobs.of_study(connection, study_uid):
            _print_job(connection, job, console)
        _print_deliveries(connection, study_uid, console)
    console.print(f"state: [bold]{study.state}[/]")
    for reason in study.reasons:
        console.print(f"  {reason['code']}: {escape(reason['meaning'])}")
    console.print(f"next: {NEXT[study.state]}")
    return 0


def retry(study_uid: str, settings: Settings, console: Console) -> int:
    """Queue the study's latest job again if it failed or was refused."""
    engine = bootstrap.open_database(settings)
    with writing(engine) as connection:
        job = jobs.retry(connection, study_uid, now=bootstrap.now())
    engine.dispose()
    if job is None:
        console.print(f"study {study_uid} has no failed or refused job: nothing to retry")
        return 1
    console.print(f"job {job.id} of study {study_uid} is queued again")
    return 0


@contextmanager
def _reading(settings: Settings) -> Iterator[Connection]:
    file = settings.database.file
    if file is not None and not file.exists():
        raise ConfigError(f"no database at {file}: is this the node's folder and configuration?")
    engine = connect(settings.database.opened(os.environ))
    try:
        with reading(engine) as connection:
            yield connection
    finally:
        engine.dispose()


def _row(connection: Connection, study: Study) -> dict[str, Any]:
    here: dict[str, int] = {}
    for series in studies.series_here(connection, study.study_instance_uid):
        here[series.modality] = here.get(series.modality, 0) + series.count
    sent = deliveries.of_study(connection, study.study_instance_uid)
    return {
        "study_instance_uid": study.study_instance_uid,
        "state": str(study.state),
        "reasons": [dict(reason) for reason in study.reasons],
        "instances": here,
        "owed": len(sent),
        "sent": sum(one.state == "sent" and not one.delivered for one in sent),
        "delivered": sum(one.delivered for one in sent),
        "delivery_errors": sorted(
            {f"{one.destination}: {_hindrance(one)}" for one in sent if _hindrance(one)}
        ),
        "first_at": study.first_at.isoformat(),
        "last_at": study.last_at.isoformat(),
    }


def _outcome(job: Job) -> dict[str, Any]:
    found = job.findings or {}
    predictions = {one["task"]: one["probability"] for one in found.get("predictions", [])}
    lesion: Mapping[str, Any] = next(iter(found.get("lesions", [])), {})
    return {
        "study_instance_uid": job.study_instance_uid,
        "job": job.id,
        "state": job.state,
        "reasons": " ".join(reason["code"] for reason in job.reasons),
        "finished_at": job.finished_at.isoformat() if job.finished_at else "",
        "applicable": found.get("applicable"),
        "risk": found.get("risk"),
        "occult_n1": predictions.get("occult_n1"),
        "occult_n2": predictions.get("occult_n2"),
        **{
            name: lesion.get(name) for name in ("suv_max", "mtv_ml", "tlg_g", "longest_diameter_mm")
        },
    }


def _print_arrival(connection: Connection, study: Study, console: Console) -> None:
    console.rule(f"study {study.study_instance_uid}")
    console.print(f"first image {study.first_at:%Y-%m-%d %H:%M:%S}, last {study.last_at:%H:%M:%S}")
    if study.deleted_at:
        console.print(f"  images deleted {study.deleted_at:%Y-%m-%d %H:%M:%S} by retention")
    for series in studies.series_here(connection, study.study_instance_uid):
        console.print(f"  {series.count} {series.modality} in series {series.series_instance_uid}")
    for sender in studies.senders(connection, study.study_instance_uid):
        ended = (
            f"ended {sender.released_at:%H:%M:%S}"
            if sender.released_at
            else f"no end seen, last image {sender.last_at:%H:%M:%S}"
        )
        console.print(f"  association of {sender.calling_ae_title}, {ended}")
    for aside in instances.kept_aside(connection, study.study_instance_uid):
        console.print(f"  [yellow]kept aside[/] {aside.sop_instance_uid}: {aside.reason}")


def _print_job(connection: Connection, job: Job, console: Console) -> None:
    console.print(
        f"job {job.id}: {job.state}, taken up {job.created_at:%H:%M:%S} because {job.why_ready}, "
        f"{job.attempts} attempts"
    )
    if job.error:
        console.print(f"  [red]error[/] {escape(job.error)}")
    for made in results.of_job(connection, job.id):
        console.print(f"  made {made.kind} {made.sop_instance_uid}")
    if job.state in {JobState.DONE, JobState.REFUSED} and job.findings is not None:
        print_document(job.findings, console)


def _hindrance(delivery: Delivery) -> str | None:
    """Return what went wrong at the last step of a delivery that is not over."""
    if delivery.delivered:
        return None
    return delivery.last_error if delivery.state == "owed" else delivery.commitment_error


def _print_deliveries(connection: Connection, study_uid: str, console: Console) -> None:
    for one in deliveries.of_study(connection, study_uid):
        line = f"  {one.sop_instance_uid} to {one.destination}: {one.state}, {_standing(one)}"
        console.print(line, markup=False)


def _standing(one: Delivery) -> str:
    """Say how far a delivery has come, and what it waits for."""
    if one.committed_at is not None:
        how = "found there by C-FIND" if one.evidence == "find" else "as its report says"
        return f"{how} at {one.committed_at:%H:%M:%S}"
    if one.delivered:
        return "delivered as far as it can tell"
    done = f"{one.attempts} attempts" if one.state == "owed" else f"asked {one.asks} times"
    hindrance = _hindrance(one)
    return f"{done}, next {one.due_at:%H:%M:%S}" + (f": {hindrance}" if hindrance else "")
