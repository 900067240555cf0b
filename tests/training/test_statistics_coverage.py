"""The studies of coverage.py with few tables, or with PETCT_COVERAGE_TABLES of them."""

import os

import pytest

from tests.training.coverage import STUDIES, Effort, table_of

TABLES = int(os.environ.get("PETCT_COVERAGE_TABLES", "200"))
APART = {"AUROC, DeLong", "sensitivity, bootstrap", "npv, bootstrap"}
"""Known to hold less than 95 %, which is why ``auroc_interval_logit`` is there, or more: of 40
cases a sensitivity comes in steps of 1/40, and draws cannot tell what lies between."""
FEWER = {"survival": 0.4}
"""lifelines takes 30 ms a table."""


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDIES)
def test_ninety_five_of_a_hundred_intervals_hold_the_truth(name):
    """No observed coverage is less probable than 0.0001 if 95 % (some promise more) are held.

    Seeds are fixed, so that a study passes always or never.
    """
    effort = Effort(tables=int(TABLES * FEWER.get(name, 1)), replicates=400)

    rows = STUDIES[name](effort)

    apart = {row.interval: row.observed for row in rows if row.p < 1e-4}
    assert set(apart) <= APART
    assert all(row.interval in table_of(rows, effort) for row in rows)
