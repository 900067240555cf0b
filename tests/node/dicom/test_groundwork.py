"""What is made before anything was found is what would have been made behind it."""

from dataclasses import replace

import pytest

from node.dicom import lint, results
from node.dicom.groundwork import Groundwork
from node.dicom.provenance import of_findings
from tests import made_study

COMMON = {"equipment": made_study.EQUIPMENT, "key": "k", "when": made_study.WHEN}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return made_study.study(tmp_path_factory.mktemp("groundwork"))


def ground_of(made, **options) -> Groundwork:
    return Groundwork(choice=made.choice, petct=made.petct, **COMMON, **options)


def analyzed(made, ground: Groundwork | None):
    options = results.ResultOptions()
    return results.analyzed(
        made.choice, made.petct, made.findings, options=options, ground=ground, **COMMON
    )


def test_results_have_the_same_bytes_whether_their_ground_was_laid_or_not(made):
    ground = ground_of(made)
    ground.lay()
    objects = analyzed(made, ground)

    assert [bytes(one.part10) for one in objects] == [
        bytes(one.part10) for one in analyzed(made, None)
    ]
    assert not lint.check(objects, ground.source)


@pytest.mark.parametrize("tasks", [("occult_n1", "occult_n2"), ("occult_n2",), ()])
def test_maps_have_the_same_bytes_whether_they_were_begun_or_not(made, tasks):
    """A map that was begun under another number is not taken for it."""
    looked = made_study.with_saliency(made)
    provenance = of_findings(looked.findings, **COMMON)
    ground = ground_of(looked, provenance=provenance, tasks=tasks)
    ground.lay()
    begun = {(task, number) for task, number, _ in ground.frames._begun}

    assert begun == {(task, number) for number, task in enumerate(tasks, 1)}
    objects = analyzed(looked, ground)
    assert [bytes(one.part10) for one in objects] == [
        bytes(one.part10) for one in analyzed(looked, None)
    ]
    assert len(ground.frames._begun) == len(begun | {("occult_n1", 1), ("occult_n2", 2)})


def test_all_is_there_once_the_ground_is_laid(made):
    ground = ground_of(made)
    before = set(vars(ground))
    ground.lay()

    assert set(vars(ground)) - before == {
        "subject",
        "source",
        "frames",
        "series",
        "body",
        "head",
    }


def test_what_nobody_wants_is_not_made(made):
    ground = ground_of(made, maps=False, key_image=False)
    ground.lay()

    assert {"frames", "body"}.isdisjoint(vars(ground))


def test_what_cannot_be_made_fails_where_it_is_needed(made):
    """A PET without planes has no frames."""
    without = replace(made.choice, pet=replace(made.choice.pet, planes=()))
    ground = replace(ground_of(made), choice=without)
    ground.lay()

    with pytest.raises(IndexError):
        ground.frames  # noqa: B018  to ask for it is the test
