"""Keeps the audit trail: every event in a file at once, and at a collector when it answers.

Nothing here waits for a collector or fails with its caller: what is recorded has happened.
"""

import logging
import os
import re
import socket
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from queue import Empty, Full, Queue
from threading import Event as Flag
from threading import Lock, Thread

from node.audit import Event, Origin, Outcome, Participant, Record, Study, instances_received
from node.audit import message as audit_message

logger = logging.getLogger(__name__)

SECURITY = 10
"""Syslog's facility for what concerns security and authorization (RFC 5424 6.2.1)."""
NOTICE, WARNING = 5, 4
APP_NAME = "petct-node"
MESSAGE_ID = "DICOM+RFC3881"  # PS3.15 A.6
NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
LAST_WORDS_S = 5.0
"""How long the end of the node waits for a collector to take what is left."""
FILE_MODE = 0o640

Send = Callable[[bytes], None]
"""Brings one syslog line to a collector; raises OSError where it cannot."""
PatientId = Callable[[str], str]
"""Finds the Patient ID of a study, ``""`` where there is none."""


def no_patient(_study_instance_uid: str) -> str:
    """Find no Patient ID."""
    return ""


def syslog_line(event: Event, origin: Origin, *, when: datetime, patient_id: str = "") -> bytes:
    """Write an event as one line of RFC 5424, in ASCII, without its line feed."""
    severity = NOTICE if event.outcome is Outcome.SUCCESS else WARNING
    content = audit_message(event, origin, when=when, patient_id=patient_id)
    one_line = " ".join(NOT_XML.sub("?", content).split())
    host = re.sub(r"[^\x21-\x7e]", "-", socket.gethostname())[:255] or "-"
    stamp = when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    head = f"<{SECURITY * 8 + severity}>1 {stamp} {host} {APP_NAME} {os.getpid()} {MESSAGE_ID} -"
    return f"{head} {one_line}".encode("ascii", "xmlcharrefreplace")


class Trail:
    """Where this process records; ``record`` is safe to call from many threads."""

    def __init__(
        self,
        origin: Origin,
        clock: Callable[[], datetime],
        *,
        file: Path | None = None,
        send: Send | None = None,
        queue_length: int = 10_000,
        patient_id: PatientId = no_patient,
    ) -> None:
        self._origin = origin
        self._clock = clock
        self._file = None if file is None else _File(file)
        self._collector = None if send is None else _Collector(send, queue_length)
        self._patient_id = patient_id

    def record(self, event: Event) -> None:
        """Write an event down; never waits for a collector, never fails."""
        if self._file is None and self._collector is None:
            return
        patient_id = "" if event.study is None else self._patient_id(event.study.study_instance_uid)
        line = syslog_line(event, self._origin, when=self._clock(), patient_id=patient_id)
        if self._file is not None:
            self._file.append(line)
        if self._collector is not None:
            self._collector.take(line)

    def close(self) -> None:
        """Give the collector a last chance to take what waits for it."""
        if self._collector is not None:
            self._collector.close()


class _File:
    """A file that others may rotate: a line goes to whatever bears its name now."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._failing = False
        self._lock = Lock()

    def append(self, line: bytes) -> None:
        try:
            with self._lock:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
                descriptor = os.open(self._path, flags, FILE_MODE)
                try:
                    # One call for the whole line: lines of several processes do not mix.
                    os.write(descriptor, line + b"\n")
                finally:
                    os.close(descriptor)
            self._failing = False
        except OSError as error:
            if not self._failing:
                logger.error("no audit trail in %s: %s", self._path, error.strerror)  # noqa: TRY400  the traceback says no more
            self._failing = True


class _Collector:
    """What waits for a collector, in order, and the thread that brings it there."""

    def __init__(self, send: Send, length: int) -> None:
        self._send = send
        self._waiting: Queue[bytes] = Queue(length)
        self._dropped = 0
        self._closing = Flag()
        self._thread = Thread(target=self._run, name="audit", daemon=True)
        self._thread.start()

    def take(self, line: bytes) -> None:
        try:
            self._waiting.put_nowait(line)
        except Full:
            self._dropped += 1
            if self._dropped == 1:
                logger.error("the audit collector does not answer: messages are dropped")  # noqa: TRY400  a full queue has no traceback worth reading

    def close(self) -> None:
        self._closing.set()
        self._thread.join(LAST_WORDS_S)
        left = self._waiting.qsize() + self._dropped
        if left:
            logger.error("%d audit messages never reached the collector", left)

    def _run(self) -> None:
        pause = FIRST_PAUSE_S
        while not (self._closing.is_set() and self._waiting.empty()):
            try:
                line = self._waiting.get(timeout=0.1)
            except Empty:
                continue
            while not self._sent(line):
                if self._closing.wait(pause):
                    # The last one was tried as the node ended; the file has it.
                    self._dropped += 1
                    return
                pause = min(2 * pause, LONGEST_PAUSE_S)
            pause = FIRST_PAUSE_S
            self._tell_of_drops()

    def _sent(self, line: bytes) -> bool:
        try:
            self._send(line)
        except OSError as error:
            logger.warning("the audit collector takes nothing: %s", error.strerror or error)
            return False
        return True

    def _tell_of_drops(self) -> None:
        dropped, self._dropped = self._dropped, 0
        if dropped:
            logger.error("%d audit messages were dropped before the collector answered", dropped)


@dataclass(kw_only=True, slots=True)
class _Brought:
    who: Participant
    studies: dict[str, Counter[str]] = field(default_factory=dict)


class Receptions:
    """What each open association has brought, recorded study by study when it ends."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._open: dict[str, _Brought] = {}
        self._lock = Lock()

    def received(
        self, association: str, who: Callable[[], Participant], *, study: str, sop_class: str
    ) -> None:
        """Count one instance that is safe in the store; ``who`` tells who brought it."""
        with self._lock:
            brought = self._open.get(association)
            if brought is None:
                brought = self._open[association] = _Brought(who=who())
            counts = brought.studies.get(study)
            if counts is None:
                counts = brought.studies[study] = Counter()
            counts[sop_class] += 1

    def closed(self, association: str) -> None:
        """Record what the association brought, if anything."""
        with self._lock:
            brought = self._open.pop(association, None)
        if brought is not None:
            for study, counts in brought.studies.items():
                self._record(
                    instances_received(
                        brought.who, Study(study_instance_uid=study, counts=counts, life_cycle="2")
                    )
                )
