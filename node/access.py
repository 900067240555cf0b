"""The settings that say who may talk to the node, how it is protected and where it is recorded."""

from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, InstanceOf, StringConstraints, model_validator

from node.section import AETitle, Port, Section

TlsProfile = Literal["bcp195", "bcp195-nondowngrade", "bcp195-extended"]
"""PS3.15 B.12 (BCP 195: RFC 8996 and 9325), B.10 and B.11."""
Network = Annotated[InstanceOf[IPv4Network] | InstanceOf[IPv6Network], BeforeValidator(ip_network)]
"""An address or a network: 10.0.0.5, 10.1.0.0/16, fe80::/10."""
Fingerprint = Annotated[
    str, StringConstraints(to_lower=True, pattern=r"^([0-9A-Fa-f]{2}:?){31}[0-9A-Fa-f]{2}$")
]
"""SHA-256 of a certificate in DER, in hexadecimal, as ``openssl x509 -fingerprint`` prints it."""


class Tls(Section):
    """How an association that we open is protected."""

    ca: Path
    crl: Path | None = None
    certificate: Path | None = None
    private_key: Path | None = None
    private_key_password_file: Path | None = None
    check_hostname: bool = True
    profile: TlsProfile = "bcp195"

    @model_validator(mode="after")
    def _names_a_certificate_for_its_key(self) -> Self:
        if self.private_key is not None and self.certificate is None:
            raise ValueError("a private key needs its certificate")
        return self


class ListenerTls(Section):
    """How associations with our listener are protected."""

    certificate: Path
    private_key: Path | None = None
    private_key_password_file: Path | None = None
    ca: Path | None = None
    crl: Path | None = None
    client_certificate: Literal["required", "optional", "none"] = "required"
    profile: TlsProfile = "bcp195"
    port: Port | None = None

    @model_validator(mode="after")
    def _can_check_who_calls(self) -> Self:
        if self.client_certificate != "none" and self.ca is None:
            raise ValueError("certificates of callers cannot be checked without ca")
        if self.client_certificate == "none" and self.crl is not None:
            raise ValueError("crl is of no use where callers are asked for no certificate")
        return self


class KnownPeer(Section):
    """Who may open associations: an AE title, and what else must be true of the caller."""

    ae_title: AETitle
    addresses: tuple[Network, ...] = ()
    require_tls: bool = False
    certificate_fingerprints: tuple[Fingerprint, ...] = ()
    certificate_names: tuple[str, ...] = ()

    @property
    def names_a_certificate(self) -> bool:
        """Whether this peer is only taken with a certificate of its own."""
        return bool(self.certificate_fingerprints or self.certificate_names)


class Remote(Section):
    """A collector of audit messages."""

    host: str = Field(min_length=1)
    port: Port
    transport: Literal["udp", "tcp", "tls"] = "tls"
    tls: Tls | None = None

    @model_validator(mode="after")
    def _has_tls_where_it_is_spoken(self) -> Self:
        if (self.transport == "tls") != (self.tls is not None):
            raise ValueError("transport tls needs the section tls, and only it takes one")
        return self


class Audit(Section):
    """Where audit messages go, and what stands in them."""

    file: Path | None = None
    remote: Remote | None = None
    patient_id: bool = False
    source_id: str = Field(default="petct-node", min_length=1)
    site: str = ""
    queue_length: int = Field(default=10_000, ge=1)
