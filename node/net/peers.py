"""Decides who may open an association with us."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv6Address, ip_address

from node.access import KnownPeer
from node.config import Listener as Policy
from node.net.tls import Certificate


class Rejection(Enum):
    """Why not: result, source and reason of an A-ASSOCIATE-RJ (PS3.8 9.3.4)."""

    CALLING_AE_TITLE = (1, 1, 3)
    CALLED_AE_TITLE = (1, 1, 7)
    LOCAL_LIMIT = (2, 3, 2)


@dataclass(frozen=True, kw_only=True, slots=True)
class Caller:
    """Who asks for an association, and what is known of the connection."""

    calling_ae_title: str
    called_ae_title: str
    address: str
    tls: bool
    certificate: Certificate | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """What the caller is answered, and what our log says."""

    rejection: Rejection
    why: str


def refusal(policy: Policy, caller: Caller) -> Refusal | None:
    """Return why this caller is not taken, or None where it is.

    The answer names the calling AE title whatever of the caller did not fit: who guesses learns
    nothing of what would.
    """
    title = caller.calling_ae_title
    if policy.calling_ae_titles and title not in {one.strip() for one in policy.calling_ae_titles}:
        return _unknown("its AE title is not in listener.calling_ae_titles")
    if policy.peers:
        misfits = _misfits(policy.peers, caller)
        if misfits is not None:
            return _unknown(misfits)
    if policy.require_called_ae_title and caller.called_ae_title != policy.ae_title.strip():
        return Refusal(
            rejection=Rejection.CALLED_AE_TITLE, why=f"it called {caller.called_ae_title}"
        )
    return None


def crowded(policy: Policy, address: str, open_from: Iterable[str]) -> Refusal | None:
    """Return why one more association from ``address`` is too many, beside those from the others.

    Says None where there is room.
    """
    others = [normal(one) for one in open_from]
    if len(others) >= policy.max_associations:
        why = f"{policy.max_associations} associations are open"
    elif others.count(normal(address)) >= policy.max_associations_per_address:
        why = f"{policy.max_associations_per_address} associations of its address are open"
    else:
        return None
    return Refusal(rejection=Rejection.LOCAL_LIMIT, why=why)


def normal(address: str) -> IPv4Address | IPv6Address:
    """Return the address; one of IPv4 that came through a socket of IPv6 is one of IPv4."""
    parsed = ip_address(address.partition("%")[0])
    return getattr(parsed, "ipv4_mapped", None) or parsed


def _unknown(why: str) -> Refusal:
    return Refusal(rejection=Rejection.CALLING_AE_TITLE, why=why)


def _misfits(peers: Iterable[KnownPeer], caller: Caller) -> str | None:
    """Return what is wrong with the caller for the last peer of its title, None where one fits."""
    why: str | None = "its AE title is not in listener.peers"
    for peer in peers:
        if peer.ae_title.strip() == caller.calling_ae_title:
            why = _misfit(peer, caller)
            if why is None:
                return None
    return why


def _misfit(peer: KnownPeer, caller: Caller) -> str | None:
    address = normal(caller.address)
    if peer.addresses and not any(address in network for network in peer.addresses):
        return "it does not call from an address of this peer"
    if (peer.require_tls or peer.names_a_certificate) and not caller.tls:
        return "it does not speak TLS"
    if peer.names_a_certificate and not _belongs_to(peer, caller.certificate):
        return "it does not show a certificate of this peer"
    return None


def _belongs_to(peer: KnownPeer, certificate: Certificate | None) -> bool:
    if certificate is None:
        return False
    fingerprints = {one.replace(":", "").lower() for one in peer.certificate_fingerprints}
    names = {name.lower() for name in peer.certificate_names}
    by_fingerprint = not fingerprints or certificate.fingerprint in fingerprints
    by_name = not names or bool(names & {name.lower() for name in certificate.names})
    return by_fingerprint and by_name
