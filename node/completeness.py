"""Judges whether a study is complete, from what is here, who sent it and what the PACS counts.

The rules, for a study whose associations are all closed (or silent for ``association_quiet``):

* the PACS has every CT and PET series with as many instances as are here: complete at once;
* nobody counts, or more is here than in the PACS: complete when ``quiet`` has passed;
* PET or CT is missing altogether: taken up when ``counterpart`` has passed, as a PET may be
  reconstructed long after its CT was sent;
* PET and CT are here, and the PACS has a series that never came, or does not answer: taken up when
  ten times ``quiet`` has passed, so that it ends with a result or a reason;
* a series is here with fewer instances than in the PACS: taken up, with a warning, only when
  ``give_up`` has passed, for half a series is the one case where a result would be wrong.

Times count from the last new instance of the study.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from db.studies import Sender, SeriesHere
from inference.findings import Reason
from node.net.find import SeriesCount

LONG = 10
"""How many quiet periods an incomplete study waits before it is taken up as it is."""


class WhyReady(StrEnum):
    """How completeness was established."""

    PACS_COUNT = "PACS_COUNT"
    QUIET = "QUIET"
    GIVEN_UP = "GIVEN_UP"


class Told(StrEnum):
    """What came of asking the PACS."""

    COUNTS = "counts"
    CANNOT_TELL = "cannot tell"
    NOTHING_YET = "nothing yet"


@dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """How long to wait for what."""

    quiet: timedelta
    association_quiet: timedelta
    counterpart: timedelta
    """How long a CT waits for its PET, and a PET for its CT."""
    give_up: timedelta

    def without_all(self, here: Sequence[SeriesHere]) -> timedelta:
        """Return how long a study waits that lacks something which may never come."""
        return self.quiet * LONG if _has_both(here) else self.counterpart


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """What is known of a study at one moment; ``here`` and ``counted`` hold CT and PET only."""

    here: Sequence[SeriesHere]
    silent: timedelta
    told: Told = Told.CANNOT_TELL
    counted: Sequence[SeriesCount] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """Complete, and how that was established, or not yet, and why."""

    why_ready: WhyReady | None
    reasons: tuple[Reason, ...] = ()
    """Without ``why_ready`` what the study waits for; with it what has to be said of the set."""


def is_sending(senders: Sequence[Sender], *, now: datetime, patience: Patience) -> bool:
    """Whether an association that brought instances may bring more."""
    return any(
        sender.released_at is None and now - sender.last_at < patience.association_quiet
        for sender in senders
    )


def judge(evidence: Evidence, patience: Patience) -> Verdict:
    """Judge a study whose associations are closed."""
    if evidence.told is Told.COUNTS:
        return _judge_by_count(evidence, patience)
    if evidence.told is Told.NOTHING_YET:
        return _after(
            patience.without_all(evidence.here),
            evidence,
            Reason(code="PACS_NO_ANSWER", meaning="the PACS did not say how many images it holds"),
        )
    return _judge_by_quiet(evidence, patience)


def _judge_by_count(evidence: Evidence, patience: Patience) -> Verdict:
    here = {one.series_instance_uid: one.count for one in evidence.here}
    counted = {one.series_instance_uid: one.instances for one in evidence.counted}
    short = [uid for uid in here if here[uid] < counted.get(uid, 0)]
    absent = [uid for uid in counted if uid not in here]
    if short:
        return _after(
            patience.give_up,
            evidence,
            *(_images_missing(uid, here[uid], counted[uid]) for uid in short),
            why_ready=WhyReady.GIVEN_UP,
        )
    if absent:
        pause = patience.without_all(evidence.here)
        return _after(pause, evidence, *(_series_missing(uid) for uid in absent))
    if here == counted and _has_both(evidence.here):
        return Verdict(why_ready=WhyReady.PACS_COUNT)
    return _judge_by_quiet(evidence, patience)


def _judge_by_quiet(evidence: Evidence, patience: Patience) -> Verdict:
    if _has_both(evidence.here):
        wait = Reason(code="AWAIT_QUIET", meaning="more images may come")
        verdict = _after(patience.quiet, evidence, wait)
    else:
        wait = Reason(code="AWAIT_PT_AND_CT", meaning="PET and CT are both needed")
        verdict = _after(patience.counterpart, evidence, wait)
    # Having waited long enough is the rule here and nothing to warn of.
    return verdict if verdict.why_ready is None else Verdict(why_ready=WhyReady.QUIET)


def _after(
    pause: timedelta,
    evidence: Evidence,
    *reasons: Reason,
    why_ready: WhyReady = WhyReady.QUIET,
) -> Verdict:
    return Verdict(
        why_ready=why_ready if evidence.silent >= pause else None, reasons=tuple(reasons)
    )


def _has_both(here: Sequence[SeriesHere]) -> bool:
    return {"CT", "PT"} <= {one.modality for one in here}


def _images_missing(uid: str, here: int, counted: int) -> Reason:
    return Reason(
        code="IMAGES_MISSING",
        meaning=f"{here} of {counted} images of series {uid} in the PACS were received",
    )


def _series_missing(uid: str) -> Reason:
    return Reason(
        code="SERIES_NOT_SENT", meaning=f"series {uid} lies in the PACS and was not received"
    )
