from dataclasses import replace
from pathlib import Path

import pytest

import inference
from inference.bundle import load
from inference.card import AnswerSets, Auroc, Coverage, Familiarity
from training.report import auroc_table, performance_table


@pytest.fixture
def card():
    """As old cards are: without sets, coverage and distances."""
    shipped = load(Path(inference.__file__).parent / "bundles" / "dlnms-phantom").card
    bare = tuple(replace(task, answers=None, familiarity=None) for task in shipped.tasks)
    return replace(shipped, tasks=bare, coverage=())


def row(model, auroc, *, p=None):
    return Auroc(
        task="occult_n1",
        model=model,
        cases=100,
        positives=20,
        auroc=auroc,
        low=auroc - 0.02,
        high=auroc + 0.02,
        p_versus_fusion=p,
    )


def test_the_share_of_bayes_is_counted_above_one_half():
    table = auroc_table([row("fusion", 0.9), row("pet", 0.7, p=0.00123), row("bayes", 0.95)])

    assert table.splitlines()[2:] == [
        "| occult_n1 | PET/CT fusion (the bundle) | 100 (20) | 0.900 (0.880 to 0.920) | 0.889 |  |",
        "| occult_n1 | PET only | 100 (20) | 0.700 (0.680 to 0.720) | 0.444 | 0.0012 |",
        "| occult_n1 | Bayes (best possible) | 100 (20) | 0.950 (0.930 to 0.970) | 1.000 |  |",
    ]


def test_without_bayes_there_is_no_share():
    table = auroc_table([row("fusion", 0.9)])

    assert table.splitlines()[2].endswith("| 0.900 (0.880 to 0.920) |  |  |")


def test_sets_and_distances_are_shown_where_the_card_has_them(card):
    sets = AnswerSets(coverage=0.9, positive_from=0.1, negative_to=0.4, positives=50, negatives=200)
    known = Familiarity(
        file="occult_n1.npz",
        distance_max=19.94,
        cases=900,
        share_beyond_expected=0.01,
        share_beyond_test=0.0125,
    )
    first, *others = card.tasks
    told = Coverage(task=first.name, of_positives=0.91, of_negatives=0.885, unsure=0.2, neither=0.0)
    table = performance_table(
        replace(
            card,
            tasks=(replace(first, answers=sets, familiarity=known), *others),
            files={**card.files, known.file: ""},
            coverage=(told,),
        )
    )

    assert "| occult_n1 | 90% | 91.0% | 88.5% | 20.0% | 0.0% |" in table
    assert "| occult_n1 | 19.9 | 1.0% | 1.2% |" in table
    assert table.count("19.9") == 1
