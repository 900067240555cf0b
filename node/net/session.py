"""One association that a peer opened with us."""

from collections import deque
from time import monotonic
from uuid import uuid4

from pynetdicom.association import Association
from pynetdicom.pdu import P_DATA_TF
from pynetdicom.pdu_items import PresentationDataValueItem

from node.net.commitment import MAX_BYTES, PUSH_MODEL

COMMAND_BYTES = 65536
"""No command of PS3.7 comes near to it."""
UNANSWERED = 256
"""One is the rule without an asynchronous operations window (PS3.7 D.3.3.3); we grant none."""


class Session:
    """Who speaks, since when, and how much of the present message has come."""

    def __init__(self, address: str, port: int | None, calling_ae_title: str) -> None:
        self.identity = uuid4().hex
        self.calling_ae_title = calling_ae_title
        self.address = address
        self.peer = f"{address}:{port}"
        self.established = False
        self._data_set_bytes = 0
        self._command_bytes = 0
        self._waiting: deque[int] = deque()
        self._begun: float | None = None
        self._command_is_whole = False
        self._last = monotonic()
        self._unanswered = 0
        self._about_commitment: frozenset[int | None] = frozenset()

    def establish(self, association: Association | None = None) -> None:
        """Note what was negotiated; None: storage and verification alone."""
        self.established = True
        if association is None:
            return
        self._about_commitment = frozenset(
            one.context_id
            for one in association.accepted_contexts
            if one.abstract_syntax == PUSH_MODEL
        )

    def message_came(self) -> None:
        """Note that a whole message has come, which is answered next."""
        self._unanswered += 1
        self._waiting.append(self._data_set_bytes)
        self._data_set_bytes = 0

    def message_went(self) -> None:
        """Note that a message of ours goes."""
        self._unanswered -= 1
        self._last = monotonic()
        if self._unanswered <= 0:
            self._waiting.clear()
        elif self._waiting:
            self._waiting.popleft()

    def quiet_s(self) -> float:
        """Return for how long the peer has waited for nothing and sent nothing."""
        return 0.0 if self._unanswered else monotonic() - self._last

    def excess(self, message_timeout_s: float, limit: int) -> str | None:
        """Return why the peer is to be given up, or None where it keeps within bounds."""
        if self._begun is not None and monotonic() - self._begun > message_timeout_s:
            return "a message takes too long"
        if self._command_bytes > COMMAND_BYTES:
            return f"a command has more than {COMMAND_BYTES} bytes"
        if self._unanswered > UNANSWERED:
            return f"{UNANSWERED} messages wait for their answers"
        if self._waiting and sum(self._waiting) + self._data_set_bytes > limit:
            return f"more than {limit} bytes wait for their answers"
        return None

    def bound(self, pdu: P_DATA_TF, limit: int) -> None:
        """Drop what comes of a data set beyond ``limit``, so that no peer can fill the memory.

        What is no instance, but a request or a report, needs little room and gets no more.
        The fragment that crosses the limit stays: the data set is seen to be too long, and the
        peer gets its answer.
        """
        self._last = monotonic()
        for item in pdu.presentation_data_value_items:
            fragment = item.presentation_data_value or b"\x00"
            self._time(fragment[0])
            if fragment[0] & 1:  # PS3.8 E.2: a command fragment, which a new message begins with
                self._command_bytes += len(fragment) - 1
                self._data_set_bytes = 0
            elif self._data_set_bytes > self._limit(item, limit):
                item.presentation_data_value = fragment[:1]
            else:
                self._data_set_bytes += len(fragment) - 1

    def _limit(self, item: PresentationDataValueItem, limit: int) -> int:
        return MAX_BYTES if item.presentation_context_id in self._about_commitment else limit

    def _time(self, control: int) -> None:
        """Note where messages begin and end (PS3.8 E.2: bit 0 is the command, bit 1 the last)."""
        is_command, is_last = bool(control & 1), bool(control & 2)
        if is_command and (self._begun is None or self._command_is_whole):
            self._begun = monotonic()
            self._command_bytes = 0
        if is_command:
            self._command_is_whole = is_last
        elif is_last:
            self._begun = None
