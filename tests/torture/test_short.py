"""The torture in short: the same parts as ``make torture`` at a size that every run can bear."""

from dataclasses import replace

import pytest

from tests.end_to_end import orthanc
from tests.torture import destinations, disks, full, kills, power, report, sender, senders
from tests.torture.claims import Claim, Part, Trial
from tests.torture.steps import STEPS, place
from tests.torture.studies import Studies
from tests.torture.verdict import same

pytestmark = [pytest.mark.associations, pytest.mark.slow]

has_peers = pytest.mark.skipif(
    orthanc.EXECUTABLE is None or sender.STORESCU is None,
    reason="Orthanc or DCMTK's storescu is not installed",
)


def can_mount(*, mkfs):
    reason = disks.unavailable(mkfs=mkfs)
    return pytest.mark.skipif(reason is not None, reason=str(reason))


def failures(claims):
    return [one for one in claims if not one.holds]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_every_named_step_is_a_place_in_the_node(step):
    owner, name = place(step)

    assert callable(getattr(owner, name))


@has_peers
def test_nothing_acknowledged_is_lost_when_the_node_is_killed(tmp_path):
    assert failures(kills.run(Trial(count=12, folder=tmp_path))) == []


@has_peers
@can_mount(mkfs=True)
def test_nothing_acknowledged_is_lost_when_the_power_is_cut(tmp_path):
    """The control trials inside show that a node that leaves out one kind of sync does lose."""
    assert failures(power.run(Trial(count=4, folder=tmp_path))) == []


def test_destinations_that_fail_get_everything_once(tmp_path):
    assert failures(destinations.run(Trial(count=1, folder=tmp_path))) == []


@has_peers
def test_many_senders_make_one_job_a_study_and_little_memory(tmp_path):
    assert failures(senders.run(Trial(count=6, folder=tmp_path))) == []


@has_peers
@can_mount(mkfs=False)
def test_full_disks_lose_nothing_and_nothing_is_restarted(tmp_path):
    assert failures(full.run(Trial(count=4, folder=tmp_path))) == []


def test_a_file_counts_as_acknowledged_only_when_success_was_answered_to_it():
    log = """\
I: Sending file: /s/1.dcm
I: Received Store Response (Success)
I: Sending file: /s/2.dcm
E: Received Store Response (Refused: OutOfResources)
I: Sending file: /s/3.dcm
"""
    pushed = sender.answers(log.splitlines())

    assert [str(path) for path in pushed.acknowledged] == ["/s/1.dcm"]
    assert pushed.other_answers == ("Refused: OutOfResources",)


def test_a_file_that_is_cut_short_or_another_is_not_the_same(tmp_path):
    one, other = list(Studies(tmp_path).another().files.values())[:2]
    cut = tmp_path / "cut.dcm"
    cut.write_bytes(one.read_bytes()[:-1])

    assert same(one, one)
    assert [same(kept, one) for kept in (other, cut, tmp_path / "absent.dcm")] == [False] * 3


def test_a_part_comes_back_from_its_lines(tmp_path):
    claim = Claim(trial="12 kills", claim="lost", found="0 of 84", holds=True)
    part = Part(name="kills", started_at="2026-01-02", seconds=3.5, seed=1, claims=(claim,))

    report.write(part, tmp_path)
    report.write(replace(part, seed=2), tmp_path, run="2")

    (head, claims), (again, _) = report.read(tmp_path)
    assert (head["name"], head["seconds"], claims) == ("kills", 3.5, [claim])
    assert (again["name"], again["seed"]) == ("kills", 2)


def test_nothing_counted_is_no_proof():
    assert not Claim.of("a trial", "lost", [], among=0).holds
    assert not Claim.of("a trial", "lost", ["1.2.3"], among=84).holds
    assert Claim.of("a trial", "lost", [], among=84).holds
