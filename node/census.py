"""Asks the sources how many images a study has, beside everything else and never too often."""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime, timedelta

from db.studies import Study
from node.completeness import Told
from node.config import Peer
from node.errors import PeerUnavailable
from node.net.find import SeriesCount, StudyCounts

logger = logging.getLogger(__name__)

Count = Callable[[Peer, str], StudyCounts | None]
"""Counts a study's CT and PET images in a PACS; None where it cannot tell; PeerUnavailable."""

PARALLEL = 16
PAUSE_FIRST = timedelta(seconds=1)
PAUSE_LONGEST = timedelta(seconds=60)


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What the sources told of a study."""

    told: Told
    counted: Sequence[SeriesCount] = ()


@dataclass(kw_only=True, slots=True)
class _Inquiry:
    revision: int
    future: Future[Answer]
    due_at: datetime
    pause: timedelta


class Census:
    """Questions under way and their last answers, one for each study that is not decided.

    An answer counts for the revision of the study that it was asked for. A study is asked for
    again after a pause that doubles, and at once when instances came.
    """

    def __init__(self, sources: Mapping[str, Peer], count: Count) -> None:
        self._sources = tuple(sources.values())
        self._count = count
        self._pool = ThreadPoolExecutor(PARALLEL, thread_name_prefix="census")
        self._inquiries: dict[str, _Inquiry] = {}
        self._just_asked: list[Future[Answer]] = []

    def ask(self, study: Study, calling_ae_titles: Collection[str], now: datetime) -> None:
        """Ask for the study if that is due; the source that sent it, or all where none is."""
        if not self._sources:
            return
        uid = study.study_instance_uid
        last = self._inquiries.get(uid)
        if last is not None and not last.future.done():
            return
        pause = PAUSE_FIRST
        if last is not None and last.revision == study.revision:
            if now < last.due_at:
                return
            pause = min(last.pause * 2, PAUSE_LONGEST)
        senders = [one for one in self._sources if one.ae_title in calling_ae_titles]
        future = self._pool.submit(self._ask, senders or self._sources, uid)
        self._just_asked.append(future)
        self._inquiries[uid] = _Inquiry(
            revision=study.revision,
            future=future,
            due_at=now + pause,
            pause=pause,
        )

    def wait(self, at_most: timedelta) -> None:
        """Wait for what was asked since the last wait, but no longer than that."""
        wait(self._just_asked, timeout=at_most.total_seconds())
        self._just_asked.clear()

    def answer(self, study: Study) -> Answer:
        """Return what is known by now for the study as it stands."""
        if not self._sources:
            return Answer(told=Told.CANNOT_TELL)
        inquiry = self._inquiries.get(study.study_instance_uid)
        if inquiry is None or inquiry.revision != study.revision or not inquiry.future.done():
            return Answer(told=Told.NOTHING_YET)
        return inquiry.future.result()

    def forget_all_but(self, study_instance_uids: Collection[str]) -> None:
        """Forget the studies that are decided."""
        for uid in self._inquiries.keys() - set(study_instance_uids):
            del self._inquiries[uid]

    def close(self) -> None:
        """Ask nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _ask(self, sources: Sequence[Peer], study_instance_uid: str) -> Answer:
        told = Told.NOTHING_YET
        for source in sources:
            try:
                counts = self._count(source, study_instance_uid)
            except PeerUnavailable as error:
                logger.warning("no count: %s", error, extra={"study": study_instance_uid})
                continue
            except Exception:  # an answer that breaks us must not stop the other studies
                logger.exception("no count", extra={"study": study_instance_uid})
                continue
            if counts is not None:
                return Answer(told=Told.COUNTS, counted=counts.series)
            told = Told.CANNOT_TELL
        return Answer(told=told)
