"""What an operator asks of a running node: where studies are, why, and to try again."""

import csv
import io
import json
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from sqlalchemy import Connection

from db import commitments, deliveries, jobs, pledges, studies
from db.engine import writing
from db.jobs import Job
from db.pledges import PledgeState
from db.studies import Study
from node import bootstrap
from node.cli.database import reading_of
from node.cli.explain import hindrance
from node.config import Settings


def status(settings: Settings, console: Console, *, limit: int, as_json: bool) -> int:
    """List the newest studies: where each is, why, and what of it was delivered."""
    with reading_of(settings) as connection:
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
    with reading_of(settings) as connection:
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
            {f"{one.destination}: {hindrance(one)}" for one in sent if hindrance(one)}
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
