"""The split: whole patients, the planned share of each class, external centres outside."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.labels import NodalClass
from training.partition import Part, Placed, SplitPlan, partition

CLASSES = st.sampled_from(list(NodalClass))
CENTRES = st.sampled_from(["north", "south", "east"])


def patients(classes, centre="north"):
    return [
        Placed(patient=f"{centre}-{n:04d}", centre=centre, nodal=nodal)
        for n, nodal in enumerate(classes)
    ]


def counts(placed, parts, nodal=None, centre=None):
    return Counter(
        parts[one.patient]
        for one in placed
        if nodal in (None, one.nodal) and centre in (None, one.centre)
    )


def test_each_class_is_shared_as_planned():
    """100 N0, 40 N1, 20 N2, parted 70 to 15 to 15."""
    placed = patients([NodalClass.N0] * 100 + [NodalClass.N1] * 40 + [NodalClass.N2] * 20)

    parts = partition(placed, SplitPlan(seed=3))

    wanted = {NodalClass.N0: (70, 15, 15), NodalClass.N1: (28, 6, 6), NodalClass.N2: (14, 3, 3)}
    for nodal, shares in wanted.items():
        found = counts(placed, parts, nodal)
        assert (found[Part.TRAINING], found[Part.VALIDATION], found[Part.TEST]) == shares


@given(
    st.lists(st.tuples(CLASSES, CENTRES), max_size=120),
    st.integers(0, 2**32 - 1),
    st.sampled_from([(0.7, 0.15, 0.15), (0.8, 0.2, 0.0), (1 / 3, 1 / 3, 1 / 3), (1.0, 0.0, 0.0)]),
)
def test_everybody_has_one_part_and_no_share_is_missed_by_a_patient(drawn, seed, shares):
    placed = [
        Placed(patient=f"P{n}", centre=centre, nodal=nodal)
        for n, (nodal, centre) in enumerate(drawn)
    ]
    training, validation, test = shares
    plan = SplitPlan(
        seed=seed,
        training=training,
        validation=validation,
        test=test,
        external_centres=("east",),
    )

    parts = partition(placed, plan)

    assert set(parts) == {one.patient for one in placed}
    for one in placed:
        assert (parts[one.patient] is Part.EXTERNAL) == (one.centre == "east")
    inside = [one for one in placed if one.centre != "east"]
    for nodal in NodalClass:
        found = counts(inside, parts, nodal)
        for part, share in zip((Part.TRAINING, Part.VALIDATION, Part.TEST), shares, strict=True):
            assert abs(found[part] - share * sum(found.values())) < 1
        for centre in ("north", "south"):
            here = counts(inside, parts, nodal, centre)
            for part, share in zip(
                (Part.TRAINING, Part.VALIDATION, Part.TEST), shares, strict=True
            ):
                assert abs(here[part] - share * sum(here.values())) <= 2


def test_neither_the_order_nor_the_run_changes_the_split():
    placed = patients([NodalClass.N0, NodalClass.N1, NodalClass.N2] * 20)

    assert partition(placed, SplitPlan(seed=5)) == partition(placed[::-1], SplitPlan(seed=5))


def test_another_seed_gives_another_split_of_the_same_shares():
    placed = patients([NodalClass.N0] * 60)
    first, second = (partition(placed, SplitPlan(seed=seed)) for seed in (1, 2))

    assert first != second
    assert Counter(first.values()) == Counter(second.values())


def test_a_patient_is_never_split():
    twice = patients([NodalClass.N0]) * 2

    with pytest.raises(ValueError, match="twice"):
        partition(twice, SplitPlan(seed=0))


@pytest.mark.parametrize("shares", [(0.7, 0.2, 0.2), (1.2, -0.2, 0.0)])
def test_shares_that_are_no_shares_are_refused(shares):
    training, validation, test = shares
    with pytest.raises(ValueError, match="add up to 1"):
        SplitPlan(seed=0, training=training, validation=validation, test=test)
