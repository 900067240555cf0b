"""Reads from a certificate revocation list until when it holds (RFC 5280 5.1)."""

from datetime import datetime
from pathlib import Path

from asn1crypto import pem
from asn1crypto.crl import CertificateList

KIND = "X509 CRL"


def next_update(path: Path) -> datetime | None:
    """Return when the first of the file's lists runs out; None where none says when.

    Raises ValueError where one is no list.
    """
    text = path.read_bytes()
    if not pem.detect(text):
        return None
    lists = [der for kind, _, der in pem.unarmor(text, multiple=True) if kind == KIND]
    moments = [_next_update(der) for der in lists]
    return min((moment for moment in moments if moment is not None), default=None)


def _next_update(der: bytes) -> datetime | None:
    try:
        moment: datetime | None = CertificateList.load(der)["tbs_cert_list"]["next_update"].native
    except (TypeError, ValueError):
        raise ValueError("not a revocation list") from None
    return moment
