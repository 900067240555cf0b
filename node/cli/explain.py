"""``petct-node explain``: what happened to a study, in words, and where its time went."""

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from sqlalchemy import Connection

from db import attempts, deliveries, instances, jobs, results, studies
from db.deliveries import Delivery
from db.jobs import Job, JobState
from db.studies import Study, StudyState
from node import audit, bootstrap, course
from node.cli.database import reading_of
from node.cli.findings import print_document
from node.completeness import WhyReady
from node.config import Settings
from node.course import WAITING, Course, Span

NEXT = {
    StudyState.RECEIVING: "waits until the study is complete",
    StudyState.QUEUED: "waits for a worker, or is being analysed",
    StudyState.ANALYZED: "nothing: images that come later make a new version",
    StudyState.REFUSED: "nothing: send what is missing, or `petct-node retry` after a change",
    StudyState.FAILED: "nothing: see the error, then `petct-node retry`",
    StudyState.IGNORED: "nothing: there is nothing to analyse in it",
}
WHY_READY = {
    WhyReady.PACS_COUNT: "the PACS counts as many images as came",
    WhyReady.QUIET: "no image came for as long as the settings say",
    WhyReady.GIVEN_UP: "what the PACS holds beyond it did not come for too long",
}


def explain(study_uid: str, settings: Settings, console: Console) -> int:
    """Tell what happened to a study, what it waits for, and what comes next."""
    with reading_of(settings) as connection:
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


def hindrance(delivery: Delivery) -> str | None:
    """Return what went wrong at the last step of a delivery that is not over."""
    if delivery.delivered:
        return None
    return delivery.last_error if delivery.state == "owed" else delivery.commitment_error


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
    images = len(instances.of_job(connection, job.id))
    why = WHY_READY.get(WhyReady(job.why_ready), job.why_ready)
    console.print(
        f"job {job.id}: {job.state}, of {images} files, taken up {job.created_at:%H:%M:%S} because "
        f"{why} ({job.why_ready}), {job.attempts} attempts"
    )
    for warning in job.warnings:
        console.print(f"  [yellow]note[/] {warning['code']}: {escape(warning['meaning'])}")
    if job.error:
        console.print(f"  [red]error[/] {escape(job.error)}{_where(connection, job)}")
    for made in results.of_job(connection, job.id):
        console.print(f"  made {made.kind} {made.sop_instance_uid}")
    if job.state in {JobState.DONE, JobState.REFUSED} and job.findings is not None:
        print_document(job.findings, console)
    print_course(course.of_job(connection, job), console)


def _where(connection: Connection, job: Job) -> str:
    """Say in which stage the last attempt broke off, where that is known."""
    last = attempts.of_job(connection, job.id)[-1:]
    broken = [stage["name"] for one in last for stage in one.stages if stage["broken"]]
    return f", in {max(broken, key=len)}" if broken else ""


def print_course(of_job: Course, console: Console) -> None:
    """Print how long each step took and when it began, the parts below the whole."""
    whole, *spans = of_job.spans
    table = Table("", "began", "took", title=f"trace {of_job.trace_id}", title_justify="left")
    for span in sorted(spans, key=lambda one: one.start):
        depth = _depth(span, of_job.spans)
        name = f"{'  ' * depth}{span.name.rpartition('.')[2]}{_object(span)}"
        style = "red" if span.failed else "dim" if span.name in WAITING or depth > 1 else ""
        began = (span.start - whole.start).total_seconds()
        table.add_row(name, f"{began:.2f} s", f"{span.seconds:.3f} s", style=style)
    console.print(table)
    console.print(f"in all {whole.seconds:.2f} s, of which {of_job.waited_s:.2f} s were waits")


def _depth(span: Span, spans: Sequence[Span]) -> int:
    depth = -1
    while span.parent is not None:
        span, depth = spans[span.parent], depth + 1
    return depth


def _object(span: Span) -> str:
    facts = span.attributes
    if "petct.object" not in facts:
        return ""
    return f" {facts['petct.object']} to {facts['petct.destination']}"


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
    found = hindrance(one)
    return f"{done}, next {one.due_at:%H:%M:%S}" + (f": {found}" if found else "")
