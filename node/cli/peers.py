"""What ``petct-node check`` asks of the network: do peers answer, and will they keep results."""

from datetime import timedelta
from pathlib import Path

from node import bootstrap
from node.access import ListenerTls
from node.cli.ground import CheckFailed, CheckWarned
from node.config import Destination, Peer, Settings
from node.errors import PeerUnavailable, TlsUnusable
from node.net import commitment, revocation, scu
from node.net import tls as transport

TIMEOUT_S = 5
REVOCATION_WARNED = timedelta(days=1)


def tls(settings: ListenerTls) -> str:
    """Check that the listener's certificate, key and revocation list can be used."""
    try:
        transport.accepting(settings)
    except TlsUnusable as error:
        raise CheckFailed(str(error)) from error
    return f"profile {settings.profile}, certificates of callers {settings.client_certificate}"


def verify(peer: Peer, settings: Settings) -> str:
    """Check that the peer answers C-ECHO."""
    where = f"{peer.ae_title} at {peer.host}:{peer.port}"
    try:
        scu.echo(peer, calling_ae_title=settings.listener.ae_title, timeout_s=TIMEOUT_S)
    except PeerUnavailable as error:
        raise CheckFailed(f"{where} does not answer C-ECHO: {error}") from error
    return f"{where} answers C-ECHO"


def keeps_results(destination: Destination, settings: Settings) -> str:
    """Check that the destination answers, and commits where it is required to."""
    answers = verify(destination, settings)
    if destination.commitment in {"none", "find"}:
        return answers
    try:
        is_offered = commitment.is_offered(
            destination, calling_ae_title=settings.listener.ae_title, timeout_s=TIMEOUT_S
        )
    except PeerUnavailable as error:
        raise CheckFailed(f"{answers}, but takes no request for commitment: {error}") from error
    if is_offered:
        return f"{answers} and takes requests for storage commitment"
    if destination.commitment == "required":
        raise CheckFailed(
            f"{answers}, but offers no storage commitment, which is required: "
            "its results will never count as delivered"
        )
    return f"{answers}; it offers no storage commitment and will be asked by C-FIND"


def revocation_list(path: Path) -> str:
    """Check that the list has not run out: nobody with a certificate would be taken any more."""
    try:
        until = revocation.next_update(path)
    except (OSError, ValueError) as error:
        raise CheckFailed(f"{path}: {error}") from error
    if until is None:
        return f"{path} holds without an end"
    told = f"{path} holds until {until:%Y-%m-%d %H:%M} UTC"
    left = until - bootstrap.now()
    if left <= timedelta():
        raise CheckFailed(f"{told}: every caller with a certificate is refused until it is renewed")
    if left < REVOCATION_WARNED:
        raise CheckWarned(f"{told}: renew it, or callers with a certificate will be refused")
    return told
