"""What a table of covariates says of each patient: measured, of the headers, and of outcomes."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from training.cohort import groups_of
from training.images import Floats
from training.measured import MEASURED
from training.outcomes import number
from training.partition import Part
from training.patients import Member
from training.preparing import Prepared
from training.recipe import RecipeUnusable

_SEXES = {"m": 1.0, "male": 1.0, "f": 0.0, "female": 0.0}
_DAYS_A_YEAR = 365.25


class Known(Protocol):
    """A member of a cohort whose tumour was measured."""

    @property
    def member(self) -> Member:
        """Who it is, and what the tables tell."""
        ...

    @property
    def measured(self) -> Floats:
        """In the order of ``MEASURED``."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Enrolled:
    """A member of a cohort, and what came out of the case."""

    member: Member
    prepared: Prepared

    @property
    def measured(self) -> Floats:
        """In the order of ``MEASURED``."""
        return self.prepared.measured


@dataclass(frozen=True, kw_only=True)
class Coding:
    """How one column of the tables becomes numbers: itself, or one column for each level."""

    column: str
    levels: tuple[str, ...] | None
    """But for the commonest; None where the column holds numbers."""

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that it becomes."""
        if self.levels is None:
            return (self.column,)
        return tuple(f"{self.column}={level}" for level in self.levels)

    def row(self, member: Member) -> tuple[float, ...]:
        """Return a patient's numbers; NaN where the table says nothing."""
        text = member.covariates.get(self.column, "")
        if self.levels is None:
            value = number(text)
            return (math.nan if value is None else value,)
        if not text:
            return (math.nan,) * len(self.levels)
        return tuple(float(text == level) for level in self.levels)


def codings(columns: Sequence[str], enrolled: Sequence[Enrolled]) -> tuple[Coding, ...]:
    """Decide by the patients of training alone how each column is coded.

    ``RecipeUnusable`` where none of them has anything in it.
    """
    training = [one.member for one in enrolled if one.member.part is Part.TRAINING]
    return tuple(_coding(column, training) for column in columns)


def covariates_of(
    enrolled: Sequence[Known], coded: Sequence[Coding] = ()
) -> tuple[tuple[str, ...], Floats]:
    """Return the columns' names, and one row a patient; NaN where nothing is known."""
    names = ("age_years", "male", *MEASURED, *(name for one in coded for name in one.names))
    rows = [list(_row(one, coded)) for one in enrolled]
    return names, np.asarray(rows, dtype=np.float64).reshape(len(rows), len(names))


def columns_of(
    enrolled: Sequence[Known], names: Sequence[str], covariates: Floats
) -> dict[str, tuple[str, ...]]:
    """Return what tables of scores tell beside: subgroups, follow-up in years, treatment."""
    members = [one.member for one in enrolled]
    return {
        **groups_of(covariates, names),
        "subgroup:centre": tuple(one.centre for one in members),
        "subgroup:scanner": tuple(one.covariates.get("pet_scanner", "") for one in members),
        "time": tuple(_years(one.followup_days) for one in members),
        "event": tuple("" if one.event is None else str(int(one.event)) for one in members),
        "treatment": tuple(one.covariates.get("treatment", "") for one in members),
    }


def _row(one: Known, coded: Sequence[Coding]) -> Iterator[float]:
    told = one.member.covariates
    age = number(told.get("age_years", ""))
    yield math.nan if age is None else age
    yield _SEXES.get(told.get("sex", "").casefold(), math.nan)
    yield from one.measured
    for coding in coded:
        yield from coding.row(one.member)


def _coding(column: str, training: Sequence[Member]) -> Coding:
    cells = [one.covariates.get(column, "") for one in training]
    counts = Counter(filter(None, cells))
    if not counts:
        raise RecipeUnusable(f"patients.clinical_columns: no patient of training has a {column!r}")
    if all(number(text) is not None for text in counts):
        return Coding(column=column, levels=None)
    (commonest, _), *_ = counts.most_common(1)
    return Coding(column=column, levels=tuple(sorted(set(counts) - {commonest})))


def _years(days: float | None) -> str:
    return "" if days is None else repr(days / _DAYS_A_YEAR)
