"""The course of one job as spans: from the first image to the last result that was committed.

Everything comes from times that are stored anyway, so that it can be told after a restart, and
nothing is measured while images are received. What a span tells holds nothing of the patient and
no UID.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import TypeAlias

from sqlalchemy import Connection

from db import attempts, deliveries, instances, results
from db.attempts import Attempt
from db.deliveries import Delivery
from db.jobs import Job, JobState
from db.results import Result

Attributes: TypeAlias = Mapping[str, str | int | float | bool]

ROOT = "study"
RECEIVE = "receive"
COMPLETE = "wait: complete"
QUEUE = "wait: worker"
ANALYZE = "analyze"
OUTBOX = "wait: outbox"
DELIVER = "deliver"
WAITING = frozenset({COMPLETE, QUEUE, OUTBOX})
"""Where nobody did anything for the study."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """One stretch of time; ``parent`` is the place in the course of what it is a part of."""

    name: str
    start: datetime
    end: datetime
    parent: int | None = 0
    failed: bool = False
    attributes: Attributes = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """How long it took."""
        return (self.end - self.start).total_seconds()


@dataclass(frozen=True, kw_only=True, slots=True)
class Course:
    """The spans of a job, the whole of it first; those that have not ended are left out."""

    trace_id: str
    """32 hex digits: of study, job and attempt, so that one attempt has one trace wherever."""
    spans: tuple[Span, ...]

    @property
    def waited_s(self) -> float:
        """The seconds in which something waited, counted once where several things did."""
        waits = sorted((span.start, span.end) for span in self.spans if span.name in WAITING)
        waited, until = 0.0, self.spans[0].start
        for start, end in waits:
            waited += max((end - max(start, until)).total_seconds(), 0.0)
            until = max(until, end)
        return waited


def of_job(connection: Connection, job: Job) -> Course:
    """Return the course of a job as far as it has come."""
    received = instances.of_job(connection, job.id)
    tried = attempts.of_job(connection, job.id)
    made = results.of_job(connection, job.id)
    sent = [
        one
        for one in deliveries.of_study(connection, job.study_instance_uid)
        if any(one.sop_instance_uid == result.sop_instance_uid for result in made)
    ]
    first = min((one.received_at for one in received), default=job.created_at)
    last = max((one.received_at for one in received), default=job.created_at)
    spans = [
        _span(RECEIVE, first, last, _counts(one.modality for one in received)),
        _span(COMPLETE, last, job.created_at, {"petct.why_ready": job.why_ready}),
        *_analyses(job, tried),
        *_deliveries(job, made, sent),
    ]
    end = max(span.end for span in spans)
    whole = Span(
        name=ROOT,
        start=first,
        end=end,
        parent=None,
        failed=job.state is JobState.FAILED,
        attributes=_facts(job),
    )
    return Course(trace_id=_trace_id(job, tried), spans=(whole, *spans))


def _analyses(job: Job, tried: Sequence[Attempt]) -> list[Span]:
    """Return the waits for a worker, and what each attempt did, its stages as its parts."""
    spans: list[Span] = []
    waited_since = job.created_at
    for one in tried:
        spans.append(_span(QUEUE, waited_since, one.began_at))
        waited_since = one.ended_at or one.began_at
        if one.ended_at is not None:
            # The whole, then what was received, waited for and done before it.
            place = 1 + 2 + len(spans)
            broken = any(stage["broken"] for stage in one.stages)
            spans.append(
                Span(
                    name=ANALYZE,
                    start=one.began_at,
                    end=one.ended_at,
                    failed=broken and job.state is not JobState.REFUSED,
                    attributes={"petct.attempt": one.attempt},
                )
            )
            spans += _stages(one, place)
    return spans


def _stages(attempt: Attempt, parent: int) -> list[Span]:
    """Return the stages of an attempt; each lies in the one whose name its own begins with."""
    spans: list[Span] = []
    places = {"": parent}
    for number, stage in enumerate(attempt.stages, start=parent + 1):
        outer, _, _ = stage["name"].rpartition(".")
        places[stage["name"]] = number
        start = attempt.began_at + timedelta(seconds=stage["start_s"])
        spans.append(
            Span(
                name=stage["name"],
                start=start,
                end=start + timedelta(seconds=stage["seconds"]),
                parent=places.get(outer, parent),
                failed=stage["broken"],
            )
        )
    return spans


def _deliveries(job: Job, made: Sequence[Result], sent: Sequence[Delivery]) -> list[Span]:
    """Return, for each object and destination, the wait and what it took until it was kept."""
    kinds = {result.sop_instance_uid: result.kind for result in made}
    spans: list[Span] = []
    for one in sent:
        if one.sent_at is None or job.finished_at is None:
            continue
        facts: Attributes = {
            "petct.destination": one.destination,
            "petct.object": kinds[one.sop_instance_uid],
            "petct.attempts": one.attempts,
        }
        spans.append(_span(OUTBOX, job.finished_at, one.sent_at, facts))
        if one.committed_at is not None:
            evidence = {**facts, "petct.evidence": str(one.evidence)}
            spans.append(_span(DELIVER, one.sent_at, one.committed_at, evidence))
    return spans


def _span(name: str, start: datetime, end: datetime, facts: Attributes | None = None) -> Span:
    # Clocks of two hosts differ, and a round of the node's clock begins before what it does.
    return Span(name=name, start=start, end=max(start, end), attributes=facts or {})


def _counts(modalities: Iterable[str]) -> Attributes:
    return {f"petct.images.{name}": count for name, count in sorted(Counter(modalities).items())}


def _facts(job: Job) -> Attributes:
    found = job.findings or {}
    facts: dict[str, str | int | float | bool] = {
        "petct.job": job.id,
        "petct.state": str(job.state),
        "petct.attempts": job.attempts,
        "petct.bundle": job.bundle_digest,
        "petct.reasons": " ".join(reason["code"] for reason in job.reasons),
        "petct.warnings": " ".join(one["code"] for one in job.warnings),
    }
    if found.get("engine"):
        facts |= {"petct.engine": found["engine"], "petct.lesions": len(found["lesions"])}
    return {name: value for name, value in facts.items() if value != ""}


def _trace_id(job: Job, tried: Sequence[Attempt]) -> str:
    began = tried[-1].began_at.isoformat() if tried else ""
    return sha256(f"{job.study_instance_uid} {job.id} {began}".encode()).hexdigest()[:32]
