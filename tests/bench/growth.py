"""How costs grow with slices, studies and associations."""

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import numpy as np

from db import instances, jobs, studies
from db.engine import writing
from db.jobs import Readiness
from inference.petct import PetCt
from inference.phantom import draw, random_phantom
from inference.scanner import SCANNERS
from node import bootstrap
from node.analysis import Recipe, StudyOnDisk, conclude
from node.config import Settings, settings_from
from node.dicom import headers
from node.intake import Intake
from node.worker import Worker
from tests.arriving import arrival
from tests.bench import intake, peers, study
from tests.bench.measure import OURS, Measure, Plan, Sample, interleave
from tests.bench.reading import refined

SECTION = "Growth"
SLICES = (75, 150, 300)
STUDIES = (1, 2, 4)
ASSOCIATIONS = (1, 2, 4, 8, 16)
LEASE = timedelta(minutes=10)
IMAGES_EACH = 14
"""So many images over each association."""
SMALL = "small"
"""The scanner of the studies that wait: small planes, so that the work around them counts."""


@dataclass(frozen=True, kw_only=True)
class Growth:
    """A power law through the costs of each round: cost is as ``size ** exponent``."""

    case: str
    sizes: Sequence[int]
    costs: Sequence[Sequence[float]]
    """CPU time in ms of every size, round by round."""
    exponents: Sequence[float]
    """Of each round."""
    r_squared: float
    """The median of the rounds'."""

    @property
    def exponent(self) -> float:
        """The median of the rounds'."""
        return statistics.median(self.exponents)

    @property
    def sentence(self) -> str:
        of = f"CPU time of {self.case}"
        between = f"rounds from {min(self.exponents):.2f} to {max(self.exponents):.2f}"
        r_squared = f"R² {self.r_squared:.3f}"
        return f"{of}: exponent {self.exponent:.2f} (1 is linear), {between}, {r_squared}."


def measure(petct: PetCt, folder: Path, plan: Plan) -> tuple[list[Measure], list[Growth]]:
    """Measure each, and fit lines through logarithms of size and CPU time."""
    recipe = bootstrap.build_recipe(Settings())
    measures, growths = [], []
    for case, sizes, run in (
        ("a worker, by slices of CT and of PET", SLICES, _slices(petct, folder, recipe)),
        ("a worker, by studies that wait for it", STUDIES, _studies(folder, recipe)),
        (f"receiving, by associations of {IMAGES_EACH} images", ASSOCIATIONS, _push(petct, folder)),
    ):
        samples = run(sizes, plan)
        measures += [
            Measure(section=SECTION, case=case, subject=str(size), unit="s", samples=samples[size])
            for size in sizes
        ]
        # Others who use the machine change the CPU time less than the seconds.
        rounds = zip(*(samples[size] for size in sizes), strict=True)
        growths.append(fit(case, sizes, [[one.cpu_ms or 0.0 for one in each] for each in rounds]))
    return measures, growths


def fit(case: str, sizes: Sequence[int], costs: Sequence[Sequence[float]]) -> Growth:
    """Fit ``log cost = a + exponent * log size`` to each round by least squares.

    R² tells how much of the costs' spread the line explains; 1 where they do not spread.
    """
    fits = [_line(sizes, one) for one in costs]
    return Growth(
        case=case,
        sizes=sizes,
        costs=costs,
        exponents=[exponent for exponent, _ in fits],
        r_squared=statistics.median(r_squared for _, r_squared in fits),
    )


def _line(sizes: Sequence[int], costs: Sequence[float]) -> tuple[float, float]:
    """Return slope and R² of a line through logarithms."""
    x, y = (np.array([math.log(one) for one in values]) for values in (sizes, costs))
    exponent, offset = np.polyfit(x, y, 1)
    left, spread = np.sum((y - exponent * x - offset) ** 2), np.sum((y - y.mean()) ** 2)
    return float(exponent), float(1 - left / spread) if spread else 1.0


Run = Callable[[Sequence[int], Plan], Mapping[int, tuple[Sample, ...]]]


def _slices(petct: PetCt, folder: Path, recipe: Recipe) -> Run:
    """The same patient in thinner and thinner slices, from files in the page cache."""

    def run(sizes: Sequence[int], plan: Plan) -> Mapping[int, tuple[Sample, ...]]:
        here = study.room(folder, "slices-")
        written = {size: study.write(refined(petct, size), here / str(size)) for size in sizes}
        return _interleaved(sizes, plan, lambda size: concluded(written[size]))

    def concluded(paths: Sequence[Path]) -> None:
        on_disk = StudyOnDisk(
            study_instance_uid=petct.study_instance_uid, paths=paths, key="growth"
        )
        found = conclude(on_disk, recipe, when=study.STARTED_AT, clock=time.perf_counter)
        if not found.objects or found.refused:
            raise RuntimeError(f"the study gave no results: {found.reasons}")

    return run


def _studies(folder: Path, recipe: Recipe) -> Run:
    """Studies that wait in the database, brought to their outcomes by one worker."""
    small = draw(random_phantom(study.SEED), SCANNERS[SMALL])

    def run(sizes: Sequence[int], plan: Plan) -> Mapping[int, tuple[Sample, ...]]:
        queue = Queue(study.room(folder, "studies-"), small, recipe)
        return _interleaved(sizes, plan, queue.work_off, prepare=queue.fill)

    return run


def _push(petct: PetCt, folder: Path) -> Run:
    """As many senders at once as there are associations, to our receiver alone."""

    def run(sizes: Sequence[int], plan: Plan) -> Mapping[int, tuple[Sample, ...]]:
        sender = intake.Sender(petct, folder, nodelay=True)
        with peers.node(study.room(folder, "growth-"), nodelay=True) as receiver:
            return _interleaved(
                sizes,
                plan,
                lambda size: sender.push(receiver, size),
                prepare=lambda size: sender.renew(size * IMAGES_EACH // 2),
            )

    return run


def _interleaved(
    sizes: Sequence[int],
    plan: Plan,
    run: Callable[[int], object],
    prepare: Callable[[int], object] = lambda _size: None,
) -> Mapping[int, tuple[Sample, ...]]:
    def timed(size: int) -> Sample:
        prepare(size)
        spent, started = time.process_time(), time.perf_counter()
        done = run(size)
        seconds = time.perf_counter() - started
        cpu_s = done.cpu_s if isinstance(done, intake.Push) else time.process_time() - spent
        return Sample(value=seconds, cpu_ms=cpu_s * 1000)

    subjects = {str(size): lambda size=size: timed(size) for size in sizes}
    samples = interleave(subjects, replace(plan, rounds=plan.growth_rounds))
    return {size: samples[str(size)] for size in sizes}


class Queue:
    """A node's database and store, and a worker on them."""

    def __init__(self, folder: Path, petct: PetCt, recipe: Recipe) -> None:
        self._folder, self._petct, self._recipe = folder, petct, recipe
        self._settings = settings_from(
            {
                "store": {"root": str(folder / "store"), "free_bytes_min": 0},
                "database": {"url": f"sqlite:///{folder / 'node.sqlite3'}"},
            }
        )
        self._engine = bootstrap.open_database(self._settings)
        self._store = bootstrap.open_store(self._settings)
        self._number = 5000

    def fill(self, count: int) -> None:
        """Receive so many new studies and queue them."""
        take = Intake(self._engine, self._store, headers.identify, bootstrap.now)
        for _ in range(count):
            self._number += 1
            petct = study.renamed(self._petct, self._number)
            for path in study.write(petct, study.room(self._folder, "study-")):
                take.receive(arrival(path, calling_ae_title=OURS.upper(), association="bench"))
            self._enqueue(petct.study_instance_uid)

    def work_off(self, count: int) -> None:
        """Conclude them all."""
        worker = Worker(
            name=f"bench-{self._number}",
            database=self._engine,
            store=self._store,
            recipe=self._recipe,
            destinations=(),
            lease=LEASE,
            attempts=1,
        )
        for _ in range(count):
            if worker.work() is None:
                raise RuntimeError("a study is missing in the queue")

    def _enqueue(self, uid: str) -> None:
        with writing(self._engine) as connection:
            found = studies.find(connection, uid)
            assert found is not None
            studies.settle(connection, found, state=studies.StudyState.QUEUED)
            jobs.enqueue(
                connection,
                found,
                instances.to_analyze(connection, uid),
                bundle_digest=self._recipe.model.bundle.digest,
                readiness=Readiness(why_ready="QUIET"),
                now=bootstrap.now(),
            )
