"""Reads from a certificate revocation list until when it holds (RFC 5280 5.1)."""

import base64
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

LIST = re.compile(rb"-----BEGIN X509 CRL-----(.+?)-----END X509 CRL-----", re.DOTALL)
INTEGER, UTC_TIME, GENERALIZED_TIME = 0x02, 0x17, 0x18
FORMATS = {UTC_TIME: "%y%m%d%H%M%SZ", GENERALIZED_TIME: "%Y%m%d%H%M%SZ"}


def next_update(path: Path) -> datetime | None:
    """Return when the first of the file's lists runs out; None where none says when.

    Raises ValueError where one is no list.
    """
    lists = LIST.findall(path.read_bytes())
    moments = [_next_update(base64.b64decode(one)) for one in lists]
    return min((moment for moment in moments if moment is not None), default=None)


def _next_update(der: bytes) -> datetime | None:
    try:
        (_, signed), *_ = _elements(der)
        (_, told), *_ = _elements(signed)
        fields = list(_elements(told))
        # version OPTIONAL, signature, issuer, thisUpdate, nextUpdate OPTIONAL
        _this_update, *after = fields[3:] if fields[0][0] == INTEGER else fields[2:]
    except (IndexError, ValueError):
        raise ValueError("not a revocation list") from None
    if not after or after[0][0] not in FORMATS:
        return None
    kind, text = after[0]
    return datetime.strptime(text.decode("ascii"), FORMATS[kind]).replace(tzinfo=UTC)


def _elements(der: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield tag and content of each element; lengths are definite in DER."""
    at = 0
    while at < len(der):
        kind, length = der[at], der[at + 1]
        at += 2
        if length & 0x80:
            octets = length & 0x7F
            length = int.from_bytes(der[at : at + octets], "big")
            at += octets
        yield kind, der[at : at + length]
        at += length
