"""Hands the trace of each study on once it is over, to a file or a collector of OpenTelemetry."""

import logging
import os
from collections.abc import Callable
from datetime import datetime, timedelta
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from urllib.parse import urlsplit

from sqlalchemy import Engine

from db import attempts, jobs
from db.engine import reading, writing
from node import course, otlp
from node.access import Tls
from node.errors import TlsUnusable
from node.net import tls as net_tls

logger = logging.getLogger(__name__)

TIMEOUT_S = 10.0
OLDEST = timedelta(days=1)
"""What was begun before is not handed on any more: a collector came too late for it."""
AT_ONCE = 100
"""So many traces in one call; what is left follows in the next one."""
FILE_MODE = 0o640
RETRYABLE = frozenset({429, 502, 503, 504})
"""OTLP/HTTP, Failures: what these say is to be sent again, all else is to be dropped."""

Export = Callable[[bytes], None]
"""Hands one trace on; raises OSError where that may succeed later."""


class Telemetry:
    """The traces that are due, and where they go; call it from one thread."""

    def __init__(self, engine: Engine, export: Export, *, version: str, wait: timedelta) -> None:
        self._engine = engine
        self._export = export
        self._version = version
        self._wait = wait
        self._failing = False

    def hand_on(self, now: datetime) -> int:
        """Export what is due and return how many traces that were.

        A trace is due when all results are delivered, or ``wait`` after the job ended. What a
        collector does not take is due again at the next call; a crash in between loses the trace,
        and nothing else.
        """
        for count in range(AT_ONCE):
            with writing(self._engine) as connection:
                job_id = attempts.take_untraced(
                    connection, now=now, finished_before=now - self._wait, begun_after=now - OLDEST
                )
            if job_id is None:
                return count
            try:
                self._export(self._trace(job_id))
            except (OSError, HTTPException) as error:
                with writing(self._engine) as connection:
                    attempts.put_back(connection, job_id)
                self._say(f"traces are not exported: {type(error).__name__}: {error}")
                return count
            self._failing = False
        return AT_ONCE

    def _trace(self, job_id: int) -> bytes:
        with reading(self._engine) as connection:
            of_job = course.of_job(connection, jobs.find(connection, job_id))
        return otlp.encode(of_job, version=self._version)

    def _say(self, what: str) -> None:
        if not self._failing:
            logger.warning("%s", what)
        self._failing = True


def to_file(path: Path) -> Export:
    """Append each trace to a file, a line each; whoever rotates it need not tell the node."""

    def append(trace: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, FILE_MODE)
        with open(descriptor, "ab", buffering=0) as file:  # noqa: PTH123  a descriptor, for its mode
            file.write(trace + b"\n")

    return append


def to_collector(endpoint: str, tls: Tls | None) -> Export:
    """Post each trace to an OTLP/HTTP endpoint; no proxy is asked and no redirection followed."""
    place = urlsplit(endpoint)
    assert place.hostname is not None  # the settings hold no other

    def post(trace: bytes) -> None:
        connection = _connection(str(place.hostname), place.port, tls)
        try:
            headers = {"Content-Type": "application/json"}
            connection.request("POST", place.path or "/", body=trace, headers=headers)
            answer = connection.getresponse()
            said = answer.read(1000)
        finally:
            connection.close()
        if answer.status in RETRYABLE:
            raise OSError(f"{place.hostname} answered {answer.status}")
        if answer.status != 200:
            logger.warning(
                "%s dropped a trace: %d, %d bytes", place.hostname, answer.status, len(said)
            )

    return post


def _connection(host: str, port: int | None, tls: Tls | None) -> HTTPConnection:
    if tls is None:
        return HTTPConnection(host, port, timeout=TIMEOUT_S)
    try:
        context = net_tls.calling(tls)
    except TlsUnusable as unusable:
        raise OSError(str(unusable)) from unusable
    return HTTPSConnection(host, port, timeout=TIMEOUT_S, context=context)
