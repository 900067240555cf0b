"""Deletes what an installation need not keep any longer, never what is owed to anybody."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine

from db import retention
from db.engine import reading, writing
from db.retention import Candidate, Kind
from db.studies import StudyState
from node.store import Store

logger = logging.getLogger(__name__)

BATCH = 50
"""How many files go in one transaction: nobody else writes to SQLite meanwhile."""
RESUMED = "a deletion that a stop of the node had cut off"

Deleted = Callable[[str, int, str], None]
"""Hears what was deleted: Study Instance UID, how many files, and why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """What is kept for how long, and in how much room; None: for ever, or in as much as there is.

    ``instances`` is for studies whose results were delivered, ``failed`` for those that were
    refused, failed or held nothing to analyse. ``pledged`` counts from when we told a peer that we
    keep an instance.
    """

    instances: timedelta | None = None
    results: timedelta | None = None
    failed: timedelta | None = None
    quarantine: timedelta | None = None
    pledged: timedelta | None = None
    store_bytes_max: int | None = None
    free_bytes_min: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Doomed:
    """What goes, and why."""

    candidate: Candidate
    why: str


class Retention:
    """Finds what may go by the rules, and deletes it; several nodes on one store may do so."""

    def __init__(
        self, engine: Engine, store: Store, rules: Rules, *, deleted: Deleted | None = None
    ) -> None:
        self._engine = engine
        self._store = store
        self._rules = rules
        self._deleted = deleted

    def plan(self, now: datetime) -> list[Doomed]:
        """Return what would go now: what is too old, then, for room, the oldest delivered first."""
        with reading(self._engine) as connection:
            instances = retention.idle(connection, Kind.INSTANCES)
            results = retention.idle(connection, Kind.RESULTS)
            held = retention.stored_bytes(connection)
            aside = (
                []
                if self._rules.quarantine is None
                else retention.aside(connection, before=now - self._rules.quarantine)
            )
        free = [one for one in (*instances, *results) if not self._is_pledged(one, now)]
        doomed = [*self._too_old(free, now)]
        doomed += [
            Doomed(candidate=one, why=f"in quarantine since {one.since:%F}") for one in aside
        ]
        going = {id(one.candidate) for one in doomed}
        left = [one for one in free if id(one) not in going and _is_delivered(one)]
        size = sum(one.candidate.size for one in doomed)
        return [*doomed, *self._for_room(left, held=held - size, freed=size)]

    def retain(self, now: datetime) -> list[Doomed]:
        """Delete what may go now; return what went.

        Each study is looked at once more in the transaction that marks it. What an earlier run had
        marked when it was killed goes, too.
        """
        done = []
        self._sweep(now, why={})
        for one in self.plan(now):
            with writing(self._engine) as connection:
                is_marked = retention.mark(connection, one.candidate, now=now)
            if is_marked:
                self._sweep(now, why={one.candidate.study_instance_uid: one.why})
                done.append(one)
        return done

    def _too_old(self, candidates: Sequence[Candidate], now: datetime) -> Iterator[Doomed]:
        for one in candidates:
            if one.kind is Kind.RESULTS:
                keep, what = self._rules.results, "its results were delivered"
            elif _is_delivered(one):
                keep, what = self._rules.instances, "its results were delivered"
            else:
                keep, what = self._rules.failed, f"it was {one.state}"
            if keep is not None and now - one.since > keep:
                why = f"{what}, and nothing has come since {one.since:%F}"
                yield Doomed(candidate=one, why=why)

    def _for_room(
        self, candidates: Sequence[Candidate], *, held: int, freed: int
    ) -> Iterator[Doomed]:
        over = [0]
        if self._rules.store_bytes_max is not None:
            over.append(held - self._rules.store_bytes_max)
        if self._rules.free_bytes_min is not None:
            over.append(self._rules.free_bytes_min - self._store.free_bytes() - freed)
        excess = max(over)
        for one in candidates:
            if excess <= 0:
                return
            excess -= one.size
            yield Doomed(candidate=one, why="room is needed, and its results were delivered")

    def _is_pledged(self, candidate: Candidate, now: datetime) -> bool:
        if candidate.pledged_at is None:
            return False
        keep = self._rules.pledged
        return keep is None or now - candidate.pledged_at <= keep

    def _sweep(self, now: datetime, why: dict[str, str]) -> None:
        """Take the marked files away; one that the disk does not let go stays marked."""
        gone: Counter[str] = Counter()
        is_stuck = False
        while not is_stuck:
            with writing(self._engine) as connection:
                marked = retention.marked(connection, limit=BATCH)
                if not marked:
                    break
                paths = set(self._store.remove([one.path for one in marked]))
                done = [one for one in marked if one.path in paths]
                retention.finish(connection, done, now=now)
            gone.update(one.study_instance_uid for one in done)
            is_stuck = len(done) < BATCH
        for study, count in gone.items():
            reason = why.get(study, RESUMED)
            logger.info("deleted %d files: %s", count, reason, extra={"study": study})
            if self._deleted is not None:
                self._deleted(study, count, reason)


def _is_delivered(candidate: Candidate) -> bool:
    """Whether there are instances whose results were made and delivered."""
    return candidate.kind is Kind.INSTANCES and candidate.state is StudyState.ANALYZED
