"""Builds the TLS contexts of associations, in and out (PS3.15 B.10 to B.12).

None outlives its files: a renewed certificate or revocation list needs no restart.
"""

import hashlib
import logging
import ssl
from dataclasses import dataclass
from pathlib import Path
from ssl import SSLContext, SSLSocket, TLSVersion
from threading import Lock
from typing import Any, TypeVar, cast

from typing_extensions import override

from node.access import ListenerTls, Tls, TlsProfile
from node.errors import TlsUnusable

logger = logging.getLogger(__name__)

# Ephemeral keys and authenticated encryption alone (RFC 9325 4.2). Level 2 asks of every key and
# signature at least what 112 bits are worth: RSA and DH 2048, elliptic curves 224, SHA-2.
SUITES: dict[TlsProfile, tuple[str, ...]] = {
    "bcp195": (
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256",
    ),
    "bcp195-nondowngrade": (
        "ECDHE-RSA-AES256-GCM-SHA384",
        "DHE-RSA-AES256-GCM-SHA384",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "DHE-RSA-AES128-GCM-SHA256",
    ),
    "bcp195-extended": (
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "DHE-RSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "DHE-RSA-AES128-GCM-SHA256",
    ),
}
NEWEST: dict[TlsProfile, TLSVersion] = {
    "bcp195": TLSVersion.TLSv1_3,
    "bcp195-nondowngrade": TLSVersion.TLSv1_3,
    "bcp195-extended": TLSVersion.TLSv1_2,  # B.11 lists the suites that may be used, all of 1.2.
}
CN = "commonName"
REQUIREMENTS = {
    "required": ssl.CERT_REQUIRED,
    "optional": ssl.CERT_OPTIONAL,
    "none": ssl.CERT_NONE,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Certificate:
    """What a peer showed, after it was checked against the authorities that are trusted."""

    fingerprint: str
    """SHA-256 of its DER, 64 hexadecimal digits."""
    names: tuple[str, ...]
    """Its subject's Common Names and the DNS names that it holds for."""


class Calling(SSLContext):
    """Remembers why the handshake failed, which pynetdicom keeps to itself."""

    failure: str | None = None


class _Telling(SSLSocket):
    """Tells its context why a handshake failed."""

    @override
    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except OSError as error:
            assert isinstance(self.context, Calling)
            self.context.failure = f"TLS: {why(error)}"
            raise


Calling.sslsocket_class = _Telling
Context = TypeVar("Context", bound=SSLContext)


def accepting(settings: ListenerTls) -> SSLContext:
    """Build what protects associations with us; raise TlsUnusable where a file is of no use."""
    context = _bound_to(SSLContext(ssl.PROTOCOL_TLS_SERVER), settings.profile)
    # Every association stands for itself: nobody resumes what another certificate began.
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE | ssl.OP_NO_TICKET
    context.num_tickets = 0
    _identify(context, settings)
    _trust(context, settings)
    context.verify_mode = REQUIREMENTS[settings.client_certificate]
    return context


def calling(settings: Tls) -> "Calling":
    """Build what protects associations with a peer; raise TlsUnusable likewise."""
    context = _bound_to(Calling(ssl.PROTOCOL_TLS_CLIENT), settings.profile)
    context.check_hostname = settings.check_hostname
    _identify(context, settings)
    _trust(context, settings)
    return context


class Accepting:
    """What protects associations with us, built anew when one of its files has changed.

    Raises TlsUnusable where it cannot be built at first; later the last good one stays.
    """

    def __init__(self, settings: ListenerTls) -> None:
        self._settings = settings
        self._lock = Lock()
        self._seen = _stamps(settings)
        self._context = accepting(settings)

    def __call__(self) -> SSLContext:
        """Return it for one more association."""
        with self._lock:
            stamps = _stamps(self._settings)
            if stamps != self._seen:
                self._seen = stamps
                self._renew()
            return self._context

    def _renew(self) -> None:
        try:
            self._context = accepting(self._settings)
        except TlsUnusable as error:
            logger.error("the files of TLS changed and are of no use, the old stay: %s", error)  # noqa: TRY400  the words are ours
        else:
            logger.info("the files of TLS changed and are in use")


def shown(connection: SSLSocket) -> Certificate | None:
    """Return what the peer of a finished handshake showed, or None where it showed nothing."""
    der = connection.getpeercert(binary_form=True)
    # typeshed lumps every field of a certificate into one union.
    told = cast(dict[str, Any], connection.getpeercert() or {})
    if not der or not told:
        return None
    named = [value for part in told.get("subject", ()) for kind, value in part if kind == CN]
    named += [value for kind, value in told.get("subjectAltName", ()) if kind == "DNS"]
    return Certificate(fingerprint=hashlib.sha256(der).hexdigest(), names=tuple(named))


def why(error: OSError) -> str:
    """Return what made a handshake fail, in words that name no certificate."""
    if isinstance(error, TimeoutError):
        return "the peer was silent"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the peer's certificate is not valid: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return (error.reason or "the peer does not speak it").replace("_", " ").lower()
    return error.strerror or "the peer went away"


def _bound_to(context: Context, profile: TlsProfile) -> Context:
    context.minimum_version = TLSVersion.TLSv1_2
    context.maximum_version = NEWEST[profile]
    context.set_ciphers(":".join(SUITES[profile]) + ":@SECLEVEL=2")
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    return context


def _identify(context: SSLContext, settings: Tls | ListenerTls) -> None:
    if settings.certificate is None:
        return
    # Without a password here OpenSSL would ask for it at the terminal, and wait.
    password = _password(settings.private_key_password_file)
    try:
        context.load_cert_chain(settings.certificate, settings.private_key, lambda: password)
    except OSError as error:
        files = f"{settings.certificate} and {settings.private_key or 'the key in it'}"
        raise TlsUnusable(f"{files}: {error.strerror or error}") from error


def _trust(context: SSLContext, settings: Tls | ListenerTls) -> None:
    for path in (settings.ca, settings.crl):
        try:
            if path is not None:
                context.load_verify_locations(path)
        except OSError as error:
            raise TlsUnusable(f"{path}: {error.strerror or error}") from error
    if settings.crl is not None:
        if not context.cert_store_stats()["crl"]:
            raise TlsUnusable(f"{settings.crl}: there is no revocation list in it")
        # A list that is missing or has run out fails the handshake, as a revoked certificate does.
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF


def _stamps(settings: ListenerTls) -> list[tuple[int, int, int] | None]:
    """Return what differs when one of the files is another."""
    files = (
        *(settings.certificate, settings.private_key, settings.private_key_password_file),
        *(settings.ca, settings.crl),
    )
    return [None if file is None else _stamp(file) for file in files]


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _password(path: Path | None) -> bytes:
    if path is None:
        return b""
    try:
        return path.read_bytes().rstrip(b"\r\n")
    except OSError as error:
        raise TlsUnusable(f"{path}: {error.strerror or error}") from error
