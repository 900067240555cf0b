"""Records what becomes of objects on their way to a peer."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from node import audit
from node.audit import Record, Study
from node.config import Peer
from node.errors import PeerUnavailable
from node.instance import Outgoing
from node.net.scu import Sent


@contextmanager
def transmission(peer: Peer, objects: Sequence[Outgoing], record: Record) -> Iterator[list[Sent]]:
    """Record the beginning and the end of one association; the block gives the answers.

    What the peer took and what it did not take are two messages (PS3.15 A.5.2).
    """
    to = audit.peer(peer.ae_title, peer.host)
    for study in _studies(objects):
        record(audit.sending(to, study))
    answers: list[Sent] = []
    try:
        yield answers
    except PeerUnavailable:
        _record_failures(objects, "no association", to, record)
        raise
    taken = [one for one, answer in zip(objects, answers, strict=True) if answer.taken]
    for study in _studies(taken):
        record(audit.instances_sent(to, study))
    refused = [one for one, answer in zip(objects, answers, strict=True) if not answer.taken]
    _record_failures(refused, "not taken", to, record)


def _record_failures(
    objects: Iterable[Outgoing], failure: str, to: audit.Participant, record: Record
) -> None:
    for study in _studies(objects):
        record(audit.instances_sent(to, study, failure=failure))


def _studies(objects: Iterable[Outgoing]) -> list[Study]:
    studies: dict[str, Counter[str]] = {}
    for one in objects:
        studies.setdefault(one.study_instance_uid, Counter())[one.sop_class_uid] += 1
    return [
        Study(study_instance_uid=uid, counts=counts, life_cycle="10")
        for uid, counts in studies.items()
    ]
