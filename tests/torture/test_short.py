"""The torture in short: the same parts as ``make torture`` at a size that every run can bear."""

import pytest

from tests.end_to_end import orthanc
from tests.torture import destinations, disks, kills, power, sender
from tests.torture.claims import Trial
from tests.torture.steps import STEPS, place

pytestmark = [pytest.mark.associations, pytest.mark.slow]

has_peers = pytest.mark.skipif(
    orthanc.EXECUTABLE is None or sender.STORESCU is None,
    reason="Orthanc or DCMTK's storescu is not installed",
)


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
@pytest.mark.skipif(disks.unavailable() is not None, reason=str(disks.unavailable()))
def test_nothing_acknowledged_is_lost_when_the_power_is_cut(tmp_path):
    """The control trials inside show that a node that leaves out one kind of sync does lose."""
    assert failures(power.run(Trial(count=4, folder=tmp_path))) == []


def test_destinations_that_fail_get_everything_once(tmp_path):
    assert failures(destinations.run(Trial(count=1, folder=tmp_path))) == []


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
