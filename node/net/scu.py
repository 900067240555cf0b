"""Sends instances to a peer, as the bytes that they are."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext, build_context
from typing_extensions import override

from node.config import Peer
from node.errors import NotUnderstood, PeerUnavailable
from node.instance import Outgoing
from node.net.association import associate
from node.net.syntaxes import VERIFICATION

logger = logging.getLogger(__name__)

SUCCESS = 0x0000
MAX_CONTEXTS = 128  # PS3.8 9.3.2.2: a context ID is an odd number from 1 to 255


@dataclass(frozen=True, kw_only=True, slots=True)
class Sent:
    """What became of one instance; without ``status`` the peer gave no answer."""

    sop_instance_uid: str
    status: int | None
    comment: str = ""

    @property
    def taken(self) -> bool:
        """Whether the peer keeps the instance: Success, or a warning (0xBxxx)."""
        return self.status == SUCCESS or self.warning

    @property
    def warning(self) -> bool:
        """Whether the peer keeps the instance and found something to say (PS3.4 B.2.3)."""
        return self.status is not None and self.status & 0xF000 == 0xB000

    @property
    def told(self) -> str:
        """Return what may stand in a log: a peer's comment may name the patient."""
        return str(self) if self.status is None else f"status 0x{self.status:04X}"

    @override
    def __str__(self) -> str:
        if self.status is None:
            return self.comment or "no answer"
        return f"status 0x{self.status:04X} {self.comment}".rstrip()


def outgoing(path: Path) -> Outgoing:
    """Read what has to be negotiated for the instance in a file; NotUnderstood where it is none."""
    try:
        meta = dcmread(path, stop_before_pixels=True, specific_tags=["SOPInstanceUID"]).file_meta
        return Outgoing(
            sop_class_uid=str(meta.MediaStorageSOPClassUID),
            sop_instance_uid=str(meta.MediaStorageSOPInstanceUID),
            transfer_syntax_uid=str(meta.TransferSyntaxUID),
            path=path,
        )
    except (InvalidDicomError, AttributeError) as error:
        raise NotUnderstood(f"{path.name} has no file meta information") from error


def echo(peer: Peer, *, calling_ae_title: str, timeout_s: float = 10) -> None:
    """Verify the peer by C-ECHO; raise PeerUnavailable where it does not answer Success."""
    with associate(
        peer,
        calling_ae_title=calling_ae_title,
        contexts=[build_context(VERIFICATION)],
        timeout_s=timeout_s,
    ) as association:
        if association.accepted_contexts:
            answer = association.send_c_echo()
            if "Status" in answer and answer.Status == SUCCESS:
                return
    raise PeerUnavailable(f"{peer.ae_title} at {peer.host}:{peer.port} does not verify")


def send(
    peer: Peer, objects: Sequence[Outgoing], *, calling_ae_title: str, timeout_s: float = 30
) -> list[Sent]:
    """Send each object over one association; return what became of each, in their order.

    Raises PeerUnavailable where there is no association. Where it breaks on the way, the objects
    that were not answered have no status; after one without an answer no other is sent, as each
    would wait for the whole of ``timeout_s``.
    """
    if not objects:
        return []
    answers: list[Sent] = []
    with associate(
        peer,
        calling_ae_title=calling_ae_title,
        contexts=_contexts(objects),
        timeout_s=timeout_s,
    ) as association:
        for number, one in enumerate(objects):
            try:
                answers.append(_store(association, one, message_id=number % 65535 + 1))
            except _NoAnswer:
                answers.append(_unanswered(one, "no answer"))
                break
    rest = objects[len(answers) :]
    return [*answers, *(_unanswered(one, "the association broke before") for one in rest)]


class _NoAnswer(Exception):
    """The peer owes us an answer; pynetdicom learns only later that the association has ended."""


def _unanswered(one: Outgoing, why: str) -> Sent:
    return Sent(sop_instance_uid=one.sop_instance_uid, status=None, comment=why)


def _contexts(objects: Sequence[Outgoing]) -> list[PresentationContext]:
    """Propose exactly what is sent, each encoding by itself so that each gets its own answer."""
    kinds = dict.fromkeys((one.sop_class_uid, one.transfer_syntax_uid) for one in objects)
    if len(kinds) > MAX_CONTEXTS:
        raise ValueError(f"one association carries {MAX_CONTEXTS} contexts, got {len(kinds)}")
    return [build_context(UID(sop_class), UID(syntax)) for sop_class, syntax in kinds]


def _store(association: Association, one: Outgoing, *, message_id: int) -> Sent:
    if not association.is_established:
        return _unanswered(one, "the association broke before")
    kind = (one.sop_class_uid, one.transfer_syntax_uid)
    accepted = {
        (context.abstract_syntax, context.transfer_syntax[0])
        for context in association.accepted_contexts
    }
    if kind not in accepted:
        return _unanswered(one, f"the peer does not take {kind[0]}")
    try:
        answer = association.send_c_store(one.path, msg_id=message_id)
    except (RuntimeError, OSError) as error:
        return _unanswered(one, f"could not be sent: {error}")
    if "Status" not in answer:
        raise _NoAnswer
    comment = str(answer.get("ErrorComment", ""))
    return Sent(sop_instance_uid=one.sop_instance_uid, status=int(answer.Status), comment=comment)
