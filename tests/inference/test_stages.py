"""Stages are named where they happen and timed by whoever records."""

import pytest

from inference.stages import Stage, recorded, stage


class Ticks:
    """A clock that goes on by as much as a test says."""

    def __init__(self, at: float = 100.0) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at

    def pass_by(self, seconds: float) -> None:
        self.at += seconds


@pytest.fixture
def clock():
    return Ticks()


def test_a_stage_within_another_is_its_part(clock):
    with recorded(clock) as recording:
        clock.pass_by(1)
        with stage("read"):
            clock.pass_by(2)
            with stage("pet"):
                clock.pass_by(3)

    assert recording.stages == (
        Stage(name="read", start_s=1, seconds=5),
        Stage(name="read.pet", start_s=3, seconds=3),
    )


def test_only_what_lies_in_no_other_stage_is_summed(clock):
    with recorded(clock) as recording:
        for _ in range(2):
            with stage("write"), stage("report"):
                clock.pass_by(1.00004)

    assert recording.seconds == {"write": 2.0}


def test_what_broke_off_is_told_with_all_around_it(clock):
    def read():
        with stage("read"), stage("pet"):
            raise KeyError

    with recorded(clock) as recording, pytest.raises(KeyError):
        read()

    assert [(one.name, one.broken) for one in recording.stages] == [
        ("read", True),
        ("read.pet", True),
    ]


def test_a_recording_within_another_is_the_same_one(clock):
    with recorded(clock) as outer, stage("work"), recorded(Ticks(0)) as inner, stage("read"):
        clock.pass_by(1)

    assert inner is outer
    assert [one.name for one in outer.stages] == ["work", "work.read"]


def test_a_stage_that_nobody_records_is_the_block_alone(clock):
    with stage("read"):
        clock.pass_by(1)
    with recorded(clock) as recording:
        pass

    assert recording.stages == ()


def test_a_recording_ends_with_its_block(clock):
    with recorded(clock) as first:
        pass
    with stage("read"):
        pass

    assert first.stages == ()
