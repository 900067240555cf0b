"""One split of patients into parts, stratified on nodal class and centre."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from inference.codec import canonical, digest
from training.labels import NodalClass

Floats: TypeAlias = NDArray[np.float64]


class Part(StrEnum):
    """What a patient serves for, once and for ever."""

    TRAINING = "training"
    VALIDATION = "validation"
    TEST = "test"
    EXTERNAL = "external"


_DEALT = (Part.TRAINING, Part.VALIDATION, Part.TEST)


@dataclass(frozen=True, kw_only=True)
class SplitPlan:
    """How a cohort is parted; the same plan and patients give the same parts."""

    seed: int
    training: float = 0.7
    validation: float = 0.15
    test: float = 0.15
    external_centres: tuple[str, ...] = ()
    """Centres whose patients are all external, and none of them anything else."""

    def __post_init__(self) -> None:
        shares = (self.training, self.validation, self.test)
        if min(shares) < 0 or abs(sum(shares) - 1) > 1e-9:
            raise ValueError(f"shares must not be negative and add up to 1, got {shares}")


@dataclass(frozen=True, kw_only=True)
class Placed:
    """What the split may know of a patient."""

    patient: str
    centre: str
    nodal: NodalClass


def partition(placed: Sequence[Placed], plan: SplitPlan) -> Mapping[str, Part]:
    """Give each patient one part.

    Patients of external centres are external. The others are lined up by class and centre, each
    centre's in random order, and dealt out so that any run of the line is shared as planned to
    within a patient or two: each class, and each centre within it. Neither the order of the
    patients nor their folders count, only their names, classes, centres and the seed.
    """
    if len({one.patient for one in placed}) < len(placed):
        raise ValueError("a patient is there twice")
    outside = frozenset(plan.external_centres)
    parts = {one.patient: Part.EXTERNAL for one in placed if one.centre in outside}
    inside = sorted((one for one in placed if one.centre not in outside), key=lambda o: o.patient)
    rng = np.random.default_rng(plan.seed)
    order = rng.permutation(len(inside))
    for nodal in NodalClass:
        drawn = [inside[i] for i in order if inside[i].nodal is nodal]
        line = [one.patient for one in sorted(drawn, key=lambda one: one.centre)]
        parts |= dict(zip(line, _dealt(len(line), plan, rng), strict=True))
    return parts


def split_digest(parts: Mapping[str, Part]) -> str:
    """Return the digest of who lies in which part, and of nothing else."""
    return digest(canonical(sorted([name, part.value] for name, part in parts.items())))


def _dealt(count: int, plan: SplitPlan, rng: np.random.Generator) -> list[Part]:
    """Return a part for each place of a line: always the one that lags most behind its share.

    The totals are the shares, rounded up or down.
    """
    totals = _rounded(np.asarray([plan.training, plan.validation, plan.test]) * count, rng)
    left = totals.copy()
    dealt = []
    for place in range(count):
        lag = left - totals * (count - place - 1) / count
        lag[left == 0] = -np.inf
        chosen = int(np.argmax(lag))
        left[chosen] -= 1
        dealt.append(_DEALT[chosen])
    return dealt


def _rounded(wanted: Floats, rng: np.random.Generator) -> Floats:
    """Round to whole numbers of the same sum: up where the remainder is largest, ties by lot."""
    whole: Floats = np.floor(wanted + 1e-9)
    short = round(float(wanted.sum() - whole.sum()))
    order = np.lexsort((rng.random(len(wanted)), -np.round(wanted - whole, 9)))
    whole[order[:short]] += 1
    return whole
