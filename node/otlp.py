"""Writes the course of a job as OpenTelemetry's JSON: one ExportTraceServiceRequest each.

OTLP 1.x, JSON Protobuf encoding: names in lowerCamelCase, ids as hex digits, 64-bit integers as
strings. The same document is a line of the OTLP File format and the body of a POST to a collector.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from node.course import Course, Span

NAME = "petct-node"
INTERNAL = 1
"""Span kind: nothing is called from outside."""
ERROR = 2
"""Status code; one that is not set says nothing."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def encode(course: Course, *, version: str) -> bytes:
    """Return the document of one trace on one line, without a line feed."""
    document = {
        "resourceSpans": [
            {
                "resource": {
                    "attributes": _attributes({"service.name": NAME, "service.version": version})
                },
                "scopeSpans": [
                    {
                        "scope": {"name": NAME, "version": version},
                        "spans": [
                            _span(course, number, span) for number, span in enumerate(course.spans)
                        ],
                    }
                ],
            }
        ]
    }
    return json.dumps(document, separators=(",", ":")).encode()


def _span(course: Course, number: int, span: Span) -> dict[str, Any]:
    written: dict[str, Any] = {
        "traceId": course.trace_id,
        "spanId": _span_id(course, number),
        "name": span.name,
        "kind": INTERNAL,
        "startTimeUnixNano": _nanoseconds(span.start),
        "endTimeUnixNano": _nanoseconds(span.end),
        "attributes": _attributes(span.attributes),
    }
    if span.parent is not None:
        written["parentSpanId"] = _span_id(course, span.parent)
    if span.failed:
        written["status"] = {"code": ERROR}
    return written


def _span_id(course: Course, number: int) -> str:
    return sha256(f"{course.trace_id} {number}".encode()).hexdigest()[:16]


def _nanoseconds(moment: datetime) -> str:
    return str((moment - EPOCH) // timedelta(microseconds=1) * 1000)


def _attributes(values: Mapping[str, str | int | float | bool]) -> list[dict[str, Any]]:
    return [{"key": name, "value": _value(value)} for name, value in values.items()]


def _value(value: str | float | bool) -> dict[str, Any]:  # noqa: FBT001  (a value, not a switch)
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    return {"stringValue": value}
