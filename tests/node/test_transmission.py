from pathlib import Path

import pytest

from node.config import Peer
from node.errors import PeerUnavailable
from node.instance import Outgoing
from node.net.scu import Sent
from node.transmission import transmission

PACS = Peer(ae_title="PACS", host="10.0.0.5", port=104)
SR, SEG = "1.2.840.10008.5.1.4.1.1.88.34", "1.2.840.10008.5.1.4.1.1.66.4"


def outgoing(uid, sop_class=SR, *, study="1.2.3"):
    return Outgoing(
        sop_class_uid=sop_class,
        sop_instance_uid=uid,
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        path=Path("nowhere"),
        study_instance_uid=study,
    )


def told(events):
    """Each event as its code, its outcome, its study and what of it was counted."""
    return [
        (one.id.value, str(one.outcome), one.study.study_instance_uid, dict(one.study.counts))
        for one in events
    ]


def test_what_was_taken_and_what_was_not_are_two_messages():
    events = []
    objects = [outgoing("1.1"), outgoing("1.2", SEG), outgoing("1.3", SEG)]

    with transmission(PACS, objects, events.append) as answers:
        answers.append(Sent(sop_instance_uid="1.1", status=0x0000))
        answers.append(Sent(sop_instance_uid="1.2", status=0xB000))
        answers.append(Sent(sop_instance_uid="1.3", status=0xA700, comment="patient 4711"))

    assert told(events) == [
        ("110102", "0", "1.2.3", {SR: 1, SEG: 2}),
        ("110104", "0", "1.2.3", {SR: 1, SEG: 1}),
        ("110104", "4", "1.2.3", {SEG: 1}),
    ]
    assert "4711" not in repr(events)


def test_each_study_has_messages_of_its_own():
    events = []
    objects = [outgoing("1.1", study="1"), outgoing("1.2", study="2")]

    with transmission(PACS, objects, events.append) as answers:
        answers += [Sent(sop_instance_uid=one.sop_instance_uid, status=0) for one in objects]

    assert [event.study.study_instance_uid for event in events] == ["1", "2", "1", "2"]
    assert {event.participants[0].ae_title for event in events} == {"PACS"}


def test_a_peer_that_is_down_took_nothing():
    events = []

    with (
        pytest.raises(PeerUnavailable),
        transmission(PACS, [outgoing("1.1")], events.append),
    ):
        raise PeerUnavailable("down")

    assert told(events) == [("110102", "0", "1.2.3", {SR: 1}), ("110104", "4", "1.2.3", {SR: 1})]
