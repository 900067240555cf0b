"""Measures several ways of doing the same, in turn, so that all meet the same machine."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

OURS = "petct-node"
ROUNDS_MIN = 3


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much is measured: ``budget_s`` is for one case; a slow machine ends it after 3 rounds."""

    rounds: int
    budget_s: float
    slices: int
    """So many slices of each series are sent where both sides set TCP_NODELAY."""
    stock_slices: int
    """So many where they do not, and some receivers take 45 ms an image."""
    calls: int
    """How many inputs a network sees in one round at most."""
    growth_rounds: int = ROUNDS_MIN
    """Each size is run so often, and every round is fitted by itself."""


FULL = Plan(rounds=5, budget_s=90, slices=300, stock_slices=40, calls=400, growth_rounds=5)
QUICK = Plan(rounds=3, budget_s=10, slices=40, stock_slices=12, calls=40, growth_rounds=1)


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What one round gave: a rate or a time, and the CPU time spent on each item."""

    value: float
    cpu_ms: float | None = None


@dataclass(frozen=True, kw_only=True)
class Measure:
    """All rounds of one way of doing one thing; its ratios are paired round by round."""

    section: str
    case: str
    subject: str
    unit: str
    samples: tuple[Sample, ...]
    more_is_better: bool = False
    ratio: float | None = None
    """Our speed over its speed: above 1 we are faster. None where there is nothing to compare."""
    cpu_ratio: float | None = None
    """Our CPU time over its: below 1 we need less."""

    @property
    def values(self) -> tuple[float, ...]:
        return tuple(sample.value for sample in self.samples)

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def cpu_ms(self) -> float | None:
        """The median of the CPU times."""
        known = [sample.cpu_ms for sample in self.samples if sample.cpu_ms is not None]
        return statistics.median(known) if known else None


def interleave(
    subjects: Mapping[str, Callable[[], Sample]],
    plan: Plan,
    prepare: Callable[[], None] = lambda: None,
) -> dict[str, tuple[Sample, ...]]:
    """Call each subject once a round, another first each time; a round to warm up is not kept."""
    names = list(subjects)
    samples: dict[str, list[Sample]] = {name: [] for name in names}
    started = time.monotonic()
    for number in range(-1, plan.rounds):
        if number >= ROUNDS_MIN and time.monotonic() - started > plan.budget_s:
            break
        prepare()
        first = number % len(names)
        for name in names[first:] + names[:first]:
            sample = subjects[name]()
            if number >= 0:
                samples[name].append(sample)
    return {name: tuple(kept) for name, kept in samples.items()}


def compare(
    section: str,
    case: str,
    unit: str,
    samples: Mapping[str, Sequence[Sample]],
    *,
    more_is_better: bool = False,
) -> list[Measure]:
    """Set each subject beside ours."""
    ours = samples[OURS]
    return [
        Measure(
            section=section,
            case=case,
            subject=subject,
            unit=unit,
            samples=tuple(its),
            more_is_better=more_is_better,
            ratio=None if subject == OURS else _ratio(ours, its, more_is_better=more_is_better),
            cpu_ratio=None if subject == OURS else _cpu_ratio(ours, its),
        )
        for subject, its in samples.items()
    ]


def _ratio(ours: Sequence[Sample], its: Sequence[Sample], *, more_is_better: bool) -> float:
    pairs = [(our.value, other.value) for our, other in zip(ours, its, strict=True)]
    return statistics.median(a / b if more_is_better else b / a for a, b in pairs)


def _cpu_ratio(ours: Sequence[Sample], its: Sequence[Sample]) -> float | None:
    # Over all rounds together: the kernel counts in ticks of 10 ms, which one round may not reach.
    spent = [
        sum(sample.cpu_ms for sample in side if sample.cpu_ms is not None) for side in (ours, its)
    ]
    return spent[0] / spent[1] if all(spent) else None
