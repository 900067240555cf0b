"""The baseline table: which test is taken, and p values that can be checked by hand."""

import pytest

from training.baseline import OTHERS, baseline, gaps, markdown
from training.labels import NodalClass
from training.partition import Part
from training.patients import Member


def members(**columns):
    """One member for each place of the columns; None is a gap."""
    count = len(next(iter(columns.values())))
    return [
        Member(
            patient=f"P{n}",
            case_digest="",
            centre="",
            nodal=NodalClass.N0,
            part=Part.TRAINING,
            covariates={
                name: str(held[n]) for name, held in columns.items() if held[n] is not None
            },
        )
        for n in range(count)
    ]


def test_numbers_are_told_by_quartiles_and_compared_by_ranks():
    """3 of 3 ranks below the other 3: 2 of 20 orders are as extreme, p 0.1."""
    groups = {"a": members(age=[1, 2, 3]), "b": members(age=[14, 15, 16])}

    (row,) = baseline(groups)

    assert (row.name, row.test) == ("age, median (quartiles)", "Mann-Whitney")
    assert row.cells == ("2 (1.5 to 2.5)", "15 (14.5 to 15.5)")
    assert row.p == pytest.approx(0.1)


def test_three_groups_of_numbers_are_compared_by_kruskal_and_wallis():
    """Rank sums 3, 7, 11 of pairs: H = 12/42 (9/2 + 49/2 + 121/2) - 21 = 32/7, p exp(-16/7)."""
    groups = {
        "a": members(age=[1, 2]),
        "b": members(age=[3, 4]),
        "c": members(age=[5, 6]),
        "empty": members(age=[None, None]),
    }

    (row,) = baseline(groups)

    assert (row.test, row.cells[3]) == ("Kruskal-Wallis", "none")
    assert row.p == pytest.approx(0.1017, abs=1e-4)


def test_counts_are_compared_by_chi_squared():
    """20 and 10 against 10 and 20: chi squared 60 x 300^2 / 30^4 = 6.667, p 0.0098."""
    groups = {
        "a": members(sex=["F"] * 20 + ["M"] * 10),
        "b": members(sex=["F"] * 10 + ["M"] * 20),
    }

    head, women, men = baseline(groups)

    assert (head.name, head.test) == ("sex", "chi-squared")
    assert head.p == pytest.approx(0.0098, abs=1e-4)
    assert women.cells == ("20 (67%)", "10 (33%)")
    assert men.cells == ("10 (33%)", "20 (67%)")


def test_few_counts_are_compared_by_fishers_exact_test():
    """All 3 against none of 3: 2 of the 20 tables are as extreme."""
    head, *_ = baseline({"a": members(sex=["F"] * 3), "b": members(sex=["M"] * 3)})

    assert (head.test, head.p) == ("Fisher", pytest.approx(0.1))


def test_larger_tables_of_few_counts_are_compared_with_random_ones_always_the_same():
    """Three groups of two, each of its own level: 6 tables of 90 orders x 1 are as rare, p 1/15."""
    groups = {name: members(side=[name, name]) for name in "abc"}

    head, *_ = baseline(groups)

    assert head.test == "Fisher, 9999 tables"
    assert head.p == pytest.approx(6 / 90, abs=0.01)
    assert baseline(groups)[0] == head


def test_a_column_of_few_numbers_is_categories_and_of_free_text_ends_in_others():
    flags = baseline({"a": members(flag=[0, 1, 1])})
    notes = baseline({"a": members(note=[f"word {n:02d}" for n in range(20)])})

    assert [row.name for row in flags] == ["flag", "· 0", "· 1"]
    assert (notes[-1].name, notes[-1].cells) == (f"· {OTHERS}", ("8 (40%)",))


def test_one_group_is_compared_with_nothing():
    assert all(row.p is None for row in baseline({"a": members(age=range(9), sex=["F"] * 9)}))


def test_gaps_are_counted_and_shown():
    groups = {"a": members(age=[60, None]), "b": []}

    (row,) = gaps(groups)

    assert row.cells == ("1 (50%)", "none")
    assert markdown([row], groups) == (
        "| covariate | a (2) | b (0) |\n| --- | --: | --: |\n| age | 1 (50%) | none |\n"
    )


def test_a_small_p_is_shown_as_small():
    groups = {"a": members(age=range(40)), "b": members(age=range(100, 140))}

    assert "| < 0.001 | Mann-Whitney |" in markdown(baseline(groups), groups)
