"""Destinations that fail in every way that we know of, for simulated days."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import count
from pathlib import Path

from tests.torture.claims import Claim, Trial
from tests.torture.destination import SUCCESS, Script, Store
from tests.torture.stage import OBJECTS, Stage, committed, staged
from tests.torture.studies import Studies, Study

DAY = timedelta(days=1)
OUT_OF_RESOURCES, CANNOT_UNDERSTAND = 0xA700, 0xC000
WARNINGS = (0xB000, 0xB006, 0xB007)
DELIVERED = "delivered once, and never reported so before it was"
Named = Sequence[tuple[str, str]]


def run(trial: Trial) -> Iterator[Claim]:
    """Play every scene."""
    studies = Studies(trial.folder / "studies")
    for number, scene in enumerate(SCENES):
        if trial.stop.is_set():
            return
        yield from scene(trial.folder / f"scene-{number}", studies.another())


def down_for_a_day(folder: Path, study: Study) -> Iterator[Claim]:
    """Nothing listens for 24 hours; then all goes at once, and we did not call all the time."""
    trial = "down for 24 h, then up"
    with staged(folder, study, Script(), commitment="none") as stage:
        stage.pass_time(DAY)
        attempts = {one.attempts for one in stage.deliveries()}
        false = [one.sop_instance_uid for one in stage.deliveries() if one.delivered]
        # 5, 10, 20 ... 320 s are 7 calls in 635 s, then one each 600 s of 85,765 s: 149. Chance
        # takes a quarter of each pause away on average, and half of it at most.
        polite = len(attempts) == 1 and all(149 <= one <= 298 for one in attempts)
        yield Claim(
            trial=trial,
            claim="calls in that day, each for all 12: pauses up to 10 minutes, less up to half",
            found=", ".join(map(str, sorted(attempts))),
            holds=polite,
        )
        yield Claim.of(trial, "reported as delivered while it was down", false)
        stage.destination.open()
        stage.pass_time(timedelta(minutes=11), until=stage.is_delivered)
        yield _delivered(trial, stage)


def flapping(folder: Path, study: Study) -> Iterator[Claim]:
    """It breaks at every third instance and is gone for a while."""
    offers = count(1)

    def store(_: str) -> Store:
        return "abort, not kept" if next(offers) % 3 == 0 else SUCCESS

    with staged(folder, study, Script(store=store), commitment="none") as stage:
        for _ in range(60):
            if stage.is_delivered():
                break
            stage.destination.open()
            stage.pass_time(timedelta(minutes=3), until=stage.is_delivered)
            stage.destination.close()
            stage.pass_time(timedelta(minutes=7), until=stage.is_delivered)
        yield _delivered("up for 3 min, down for 7 min, breaking at every third instance", stage)


def refusing_some(folder: Path, study: Study) -> Iterator[Claim]:
    """A few instances are refused five times, in two ways; the others are not held up."""
    uids = list(study.files)
    refusals = {uids[1]: OUT_OF_RESOURCES, uids[4]: CANNOT_UNDERSTAND, uids[7]: 0x0110}
    seen: Counter[str] = Counter()

    def store(uid: str) -> Store:
        seen[uid] += 1
        return refusals[uid] if uid in refusals and seen[uid] <= 5 else SUCCESS

    with staged(folder, study, Script(store=store), commitment="none") as stage:
        stage.destination.open()
        stage.pass_time(timedelta(minutes=1))
        held_up = [
            one.sop_instance_uid
            for one in stage.deliveries()
            if one.delivered is (one.sop_instance_uid in refusals)
        ]
        yield Claim.of(
            "3 of 12 instances refused 5 times", "held up by others, or taken too early", held_up
        )
        stage.pass_time(DAY, until=stage.is_delivered)
        yield _delivered("3 of 12 instances refused 5 times", stage)


def aborting(folder: Path, study: Study) -> Iterator[Claim]:
    """It ends the association instead of an answer; half the time it has kept the instance."""
    seen: Counter[str] = Counter()

    def store(uid: str) -> Store:
        seen[uid] += 1
        if seen[uid] > 1:
            return SUCCESS
        return "abort, kept" if len(seen) % 2 else "abort, not kept"

    with staged(folder, study, Script(store=store), commitment="none") as stage:
        stage.destination.open()
        stage.pass_time(DAY, until=stage.is_delivered)
        yield _delivered("aborts instead of the first answer to each instance", stage)


def breaking(folder: Path, study: Study) -> Iterator[Claim]:
    """It aborts while a data set is on its way, every second one."""
    begun = count(1)
    script = Script(breaks=lambda: next(begun) % 2 == 0)
    trial = "aborts in the middle of every second data set"
    with staged(folder, study, script, commitment="none") as stage:
        stage.destination.open()
        stage.pass_time(DAY, until=stage.is_delivered)
        broken = next(begun) // 2
        yield Claim(trial=trial, claim="broken off", found=str(broken), holds=broken >= OBJECTS - 1)
        yield _delivered(trial, stage)


def warning(folder: Path, study: Study) -> Iterator[Claim]:
    """It takes what it gets and has something to say about it."""
    answers = dict(zip(study.files, WARNINGS * len(study.files), strict=False))
    script = Script(store=answers.__getitem__)
    with staged(folder, study, script, commitment="none") as stage:
        stage.destination.open()
        stage.pass_time(timedelta(minutes=5), until=stage.is_delivered)
        untold = [
            one.sop_instance_uid
            for one in stage.deliveries()
            if f"0x{answers[one.sop_instance_uid]:04X}" not in (one.last_error or "")
        ]
        yield Claim.of("answers every instance with a warning", "warnings not noted", untold)
        yield _delivered("answers every instance with a warning", stage)


def late(folder: Path, study: Study) -> Iterator[Claim]:
    """The report on the first request comes five hours later, on an association of its own."""
    trial = "commitment reported 5 h late, asked for again meanwhile"
    asked: list[str] = []
    stages: list[Stage] = []

    def on_request(transaction: str, named: Named) -> int:
        asked.append(transaction)
        if len(asked) == 1:
            told = committed(transaction, named, without=set())
            stages[0].later(timedelta(hours=5), lambda: stages[0].tell(told))
        return SUCCESS

    with staged(folder, study, Script(asked=on_request)) as stage:
        stages.append(stage)
        stage.destination.open()
        stage.pass_time(timedelta(hours=4))
        early = [one.sop_instance_uid for one in stage.deliveries() if one.delivered]
        yield Claim.of(trial, "reported as delivered before the report", early)
        stage.pass_time(timedelta(hours=2), until=stage.is_delivered)
        yield _delivered(trial, stage)


def never(folder: Path, study: Study) -> Iterator[Claim]:
    """It takes requests and never reports; where C-FIND may tell it does, else nothing does."""
    for commitment, finds, trial in (
        ("required", False, "commitment never reported (commitment: required)"),
        ("auto", True, "commitment never reported, C-FIND finds the instances (auto)"),
    ):
        asked: list[str] = []

        def on_request(transaction: str, _: Named, asked: list[str] = asked) -> int:
            asked.append(transaction)
            return SUCCESS

        script = Script(asked=on_request, finds=finds)
        with staged(folder / commitment, study, script, commitment=commitment) as stage:
            stage.destination.open()
            stage.pass_time(DAY, until=stage.is_delivered)
            if finds:
                yield _delivered(trial, stage)
                continue
            false = [one.sop_instance_uid for one in stage.deliveries() if one.delivered]
            yield Claim.of(
                trial, f"reported as delivered in 24 h, in which we asked {len(asked)} times", false
            )


def losing(folder: Path, study: Study) -> Iterator[Claim]:
    """It loses four instances after it took them, and says so when it is asked."""
    stages: list[Stage] = []
    unlucky = set(list(study.files)[2:6])

    def on_request(transaction: str, named: Named) -> int:
        stage = stages[0]
        gone = unlucky & set(stage.destination.kept)
        for uid in gone:
            stage.destination.lose(uid)
        unlucky.difference_update(gone)
        told = committed(transaction, named, without=gone)
        stage.later(timedelta(minutes=2), lambda: stage.tell(told))
        return SUCCESS

    with staged(folder, study, Script(asked=on_request)) as stage:
        stages.append(stage)
        stage.destination.open()
        stage.pass_time(DAY, until=stage.is_delivered)
        again = sum(one.rejections for one in stage.deliveries())
        trial = "commitment fails for 4 of 12 instances, which it has lost"
        yield Claim(trial=trial, claim="sent again for that", found=str(again), holds=again == 4)
        yield _delivered(trial, stage)


SCENES = (
    down_for_a_day,
    flapping,
    refusing_some,
    aborting,
    breaking,
    warning,
    late,
    never,
    losing,
)


def _delivered(trial: str, stage: Stage) -> Claim:
    faults = stage.faults()
    destination = stage.destination
    found = f"{len(destination.kept)} objects, sent {destination.offers.total()} times"
    return Claim(
        trial=trial,
        claim=DELIVERED,
        found="; ".join((found, *faults[:5])),
        holds=not faults and stage.is_delivered(),
    )
