"""Makes a job of each study that is complete, and says of the others what they wait for."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock

from sqlalchemy import Connection, Engine

from db import instances, jobs, studies
from db.engine import reading, writing
from db.jobs import Readiness
from db.studies import Reasons, Sender, SeriesHere, Study, StudyState
from inference.findings import Reason
from node.census import Census
from node.completeness import LONG, Evidence, Patience, Verdict, is_sending, judge

logger = logging.getLogger(__name__)

ANSWERS_WITHIN = timedelta(seconds=1)
"""How long one round waits for the PACS; what comes later counts in the next round."""

IMAGES = ("CT", "PT")
SENDING = Reason(code="OPEN_ASSOCIATION", meaning="images are being received")
DELETED = Reason(
    code="IMAGES_DELETED",
    meaning="images came for a study of which others were deleted here: send all of it again",
)
NOTHING_TO_ANALYZE = Reason(code="NO_PET_CT", meaning="the study has neither PET nor CT here")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Candidate:
    study: Study
    here: Sequence[SeriesHere]
    senders: Sequence[Sender]


class Assembler:
    """Decides on the studies that got instances since it last decided on them."""

    def __init__(
        self,
        engine: Engine,
        census: Census,
        patience: Patience,
        *,
        bundle_digest: str,
        listening_since: datetime,
    ) -> None:
        self._engine = engine
        self._census = census
        self._patience = patience
        self._bundle_digest = bundle_digest
        self._listening_since = listening_since
        self._round = Lock()

    def assemble(self, now: datetime) -> list[int]:
        """Take up the studies that are complete; return the ids of the jobs made.

        Images that came after a job make a new job, for the new set of instances. A set that has
        its job already makes none, and so does one of which images were deleted: half a study would
        replace the result of the whole. The PACS is asked outside of any transaction.
        """
        with self._round:
            candidates = self._candidates()
            self._census.forget_all_but([one.study.study_instance_uid for one in candidates])
            closed = [one for one in candidates if self._is_closed(one, now)]
            for one in closed:
                titles = {sender.calling_ae_title for sender in one.senders}
                self._census.ask(one.study, titles, now)
            self._census.wait(ANSWERS_WITHIN)
            made = [self._decide(one, now) for one in closed]
            return [job_id for job_id in made if job_id is not None]

    def close(self) -> None:
        """Ask the PACS nothing more."""
        self._census.close()

    def _candidates(self) -> list[_Candidate]:
        with reading(self._engine) as connection:
            return [
                _Candidate(
                    study=study,
                    here=[
                        one
                        for one in studies.series_here(connection, study.study_instance_uid)
                        if one.modality in IMAGES
                    ],
                    senders=studies.senders(connection, study.study_instance_uid),
                )
                for study in studies.unsettled(connection)
            ]

    def _is_closed(self, candidate: _Candidate, now: datetime) -> bool:
        if is_sending(candidate.senders, now=now, patience=self._patience):
            self._explain(candidate.study, [SENDING])
            return False
        if candidate.here:
            return True
        if now - candidate.study.last_at >= self._patience.quiet * LONG:
            with writing(self._engine) as connection:
                _leave(connection, candidate.study)
        return False

    def _decide(self, candidate: _Candidate, now: datetime) -> int | None:
        answer = self._census.answer(candidate.study)
        verdict = judge(
            Evidence(
                here=candidate.here,
                # While the node was down nobody could send: that time is no silence.
                silent=now - max(candidate.study.last_at, self._listening_since),
                told=answer.told,
                counted=answer.counted,
            ),
            self._patience,
        )
        if verdict.why_ready is None:
            self._explain(candidate.study, verdict.reasons)
            return None
        with writing(self._engine) as connection:
            return self._enqueue(connection, candidate.study, verdict, now)

    def _enqueue(
        self, connection: Connection, study: Study, verdict: Verdict, now: datetime
    ) -> int | None:
        studies.lock(connection, study.study_instance_uid)
        chosen = instances.to_analyze(connection, study.study_instance_uid)
        if not all(one.is_here for one in chosen):
            reasons = () if jobs.was_made(connection, study, chosen) else [DELETED]
            _leave(connection, study, reasons)
            return None
        if not studies.settle(connection, study, state=StudyState.QUEUED):
            return None  # an instance came in this moment: the next round decides
        job_id = jobs.enqueue(
            connection,
            study,
            chosen,
            bundle_digest=self._bundle_digest,
            readiness=Readiness(
                why_ready=str(verdict.why_ready), warnings=_in_words(verdict.reasons)
            ),
            now=now,
        )
        if job_id is None:
            _leave(connection, study)
            return None
        logger.info(
            "study complete by %s: job %d",
            verdict.why_ready,
            job_id,
            extra={"study": study.study_instance_uid},
        )
        return job_id

    def _explain(self, study: Study, reasons: Sequence[Reason]) -> None:
        told = _in_words(reasons)
        if list(study.reasons) != list(told):
            with writing(self._engine) as connection:
                studies.explain(connection, study.study_instance_uid, told)


def _leave(connection: Connection, study: Study, more: Sequence[Reason] = ()) -> None:
    """Settle the study as its latest job left it; without a job there is nothing to analyse.

    ``more`` is said beside the reasons of the job.
    """
    studies.lock(connection, study.study_instance_uid)
    latest = jobs.of_study(connection, study.study_instance_uid)[-1:]
    if latest:
        state = jobs.STUDY_OUTCOMES.get(latest[0].state, StudyState.QUEUED)
        reasons = [*latest[0].reasons, *_in_words(more)]
        studies.settle(connection, study, state=state, reasons=reasons)
    else:
        studies.settle(
            connection, study, state=StudyState.IGNORED, reasons=_in_words([NOTHING_TO_ANALYZE])
        )


def _in_words(reasons: Sequence[Reason]) -> Reasons:
    return [{"code": reason.code, "meaning": reason.meaning} for reason in reasons]
