"""A study is judged by what is here, what the PACS counts, and how long it was silent."""

from datetime import timedelta

import pytest

from db.studies import SeriesHere
from node.completeness import Evidence, Told, WhyReady, judge
from node.net.find import SeriesCount
from tests.node.waiting import PATIENCE


def here(**counts):
    return [
        SeriesHere(series_instance_uid=modality, modality=modality, count=count)
        for modality, count in counts.items()
    ]


def counted(**counts):
    return [
        SeriesCount(series_instance_uid=modality, modality=modality, instances=count)
        for modality, count in counts.items()
    ]


@pytest.mark.parametrize(
    ("present", "in_pacs", "after_0_30_300_7200_86400_s"),
    [
        (here(CT=2, PT=1), counted(CT=2, PT=1), ["PACS_COUNT"] * 5),
        (here(CT=2, PT=1), counted(CT=1, PT=1), [None, "QUIET", "QUIET", "QUIET", "QUIET"]),
        (here(CT=2, PT=1), counted(CT=2), [None, "QUIET", "QUIET", "QUIET", "QUIET"]),
        (here(CT=2), counted(CT=2), [None, None, None, "QUIET", "QUIET"]),
        (here(CT=2), counted(CT=2, PT=1), [None, None, None, "QUIET", "QUIET"]),
        (here(CT=2, PT=1), counted(CT=2, PT=1, X=1), [None, None, "QUIET", "QUIET", "QUIET"]),
        (here(CT=1, PT=1), counted(CT=2, PT=1), [None, None, None, None, "GIVEN_UP"]),
        (here(CT=1), counted(CT=2, PT=1), [None, None, None, None, "GIVEN_UP"]),
    ],
)
def test_the_rules_of_completeness_with_a_count(present, in_pacs, after_0_30_300_7200_86400_s):
    verdicts = [
        judge(
            Evidence(
                here=present,
                silent=timedelta(seconds=seconds),
                told=Told.COUNTS,
                counted=in_pacs,
            ),
            PATIENCE,
        ).why_ready
        for seconds in (0, 30, 300, 7200, 86400)
    ]

    expected = after_0_30_300_7200_86400_s
    assert verdicts == [None if one is None else WhyReady(one) for one in expected]
