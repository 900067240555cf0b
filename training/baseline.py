"""The table of baseline characteristics: each covariate by group, tested, gaps counted."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy import stats

from training.outcomes import number

CATEGORIES_MOST = 5
"""A column of numbers with as many different values or fewer is taken for categories."""
LEVELS_MOST = 12
"""Categories beyond these are counted together: a column of free text is no covariate."""
OTHERS = "all others"


class Described(Protocol):
    """Somebody of whom something is known: a member of a cohort, or a case of a table."""

    @property
    def covariates(self) -> Mapping[str, str]:
        """Return what is known, by name."""
        ...


@dataclass(frozen=True, kw_only=True)
class Row:
    """One covariate, or one level of it: a cell for each group."""

    name: str
    cells: tuple[str, ...]
    p: float | None = None
    """None where there is nothing to compare."""
    test: str = ""


def baseline(groups: Mapping[str, Sequence[Described]]) -> tuple[Row, ...]:
    """Compare the groups in every covariate that anybody has.

    Numbers: median and quartiles, by Mann-Whitney's test for two groups and Kruskal and Wallis's
    for more. Categories: counts, by the chi-squared test, or by Fisher's exact test where a count
    of less than 5 is expected (beyond 2 x 2 by 9999 random tables of the same margins, the same
    ones at each run). Gaps take no part, and groups without a value neither.
    """
    members = [one for group in groups.values() for one in group]
    names = sorted({name for one in members for name in one.covariates})
    found: list[Row] = []
    for name in names:
        values = {
            group: [one.covariates[name] for one in held if name in one.covariates]
            for group, held in groups.items()
        }
        numbers = _numbers(values)
        found += _of_numbers(name, numbers) if numbers else _of_categories(name, values)
    return tuple(found)


def gaps(groups: Mapping[str, Sequence[Described]]) -> tuple[Row, ...]:
    """Count for each covariate whose value is missing."""
    members = [one for group in groups.values() for one in group]
    names = sorted({name for one in members for name in one.covariates})
    return tuple(
        Row(
            name=name,
            cells=tuple(
                _share(sum(name not in one.covariates for one in held), len(held))
                for held in groups.values()
            ),
        )
        for name in names
    )


def markdown(rows: Sequence[Row], groups: Mapping[str, Sequence[Described]]) -> str:
    """Return rows as a Markdown table with a column for each group."""
    heads = [f"{name} ({len(held)})" for name, held in groups.items()]
    tested = any(row.p is not None for row in rows)
    lines = [
        _line(["covariate", *heads, *(["p", "test"] if tested else [])]),
        _line(["---", *["--:"] * len(heads), *(["--:", "---"] if tested else [])]),
    ]
    for row in rows:
        p = "" if row.p is None else "< 0.001" if row.p < 0.001 else f"{row.p:.3f}"
        lines.append(_line([row.name, *row.cells, *([p, row.test] if tested else [])]))
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def _numbers(values: Mapping[str, Sequence[str]]) -> Mapping[str, list[float]]:
    """Return the values as numbers, or nothing where they are categories."""
    numbers = {group: [number(text) for text in held] for group, held in values.items()}
    known = {group: [one for one in held if one is not None] for group, held in numbers.items()}
    every = [one for held in known.values() for one in held]
    is_text = any(one is None for held in numbers.values() for one in held)
    return {} if is_text or len(set(every)) <= CATEGORIES_MOST else known


def _of_numbers(name: str, values: Mapping[str, Sequence[float]]) -> list[Row]:
    cells = tuple(_quartiles(held) for held in values.values())
    present = [held for held in values.values() if held]
    if len(present) < 2:
        return [Row(name=name, cells=cells)]
    if len(present) == 2:
        first, second = (np.asarray(held) for held in present)
        p, test = float(stats.mannwhitneyu(first, second).pvalue), "Mann-Whitney"
    else:
        p, test = float(stats.kruskal(*present).pvalue), "Kruskal-Wallis"
    return [Row(name=f"{name}, median (quartiles)", cells=cells, p=p, test=test)]


def _quartiles(values: Sequence[float]) -> str:
    if not values:
        return "none"
    low, middle, high = np.percentile(values, [25, 50, 75])
    return f"{middle:.3g} ({low:.3g} to {high:.3g})"


def _of_categories(name: str, values: Mapping[str, Sequence[str]]) -> list[Row]:
    counts = {group: Counter(held) for group, held in values.items()}
    total: Counter[str] = sum(counts.values(), Counter())
    frequent = {level for level, _ in total.most_common(LEVELS_MOST)}
    levels = sorted(frequent)
    if len(total) > len(frequent):
        levels.append(OTHERS)
        for held in counts.values():
            held[OTHERS] = sum(n for level, n in held.items() if level not in frequent)
    table = np.asarray([[held[level] for level in levels] for held in counts.values()])
    p, test = _independence(table)
    rows = [Row(name=name, cells=("",) * len(counts), p=p, test=test)]
    for level in levels:
        cells = (_share(held[level], len(values[group])) for group, held in counts.items())
        rows.append(Row(name=f"· {level}", cells=tuple(cells)))
    return rows


def _independence(
    table: np.ndarray[tuple[int, int], np.dtype[np.int64]],
) -> tuple[float | None, str]:
    """Return p of rows and columns being independent, and by which test."""
    filled = table[table.sum(axis=1) > 0][:, table.sum(axis=0) > 0]
    if min(filled.shape) < 2:
        return None, ""
    if stats.contingency.expected_freq(filled).min() >= 5:
        return float(stats.chi2_contingency(filled, correction=False).pvalue), "chi-squared"
    if filled.shape == (2, 2):
        return float(stats.fisher_exact(filled).pvalue), "Fisher"
    drawn = stats.MonteCarloMethod(n_resamples=9999, rng=np.random.default_rng(0))
    # scipy gives an array of one where a margin is small.
    p = np.asarray(stats.fisher_exact(filled, method=drawn).pvalue).item()
    return float(p), "Fisher, 9999 tables"


def _share(count: int, total: int) -> str:
    return f"{count} ({count / total:.0%})" if total else "none"
