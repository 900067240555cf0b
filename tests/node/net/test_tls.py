"""Real TLS over loopback: with DCMTK, with openssl and with our own SCU."""

import shutil
import socket
import ssl
import subprocess
import time

import pytest

from node.access import ListenerTls, Tls
from node.config import Peer
from node.errors import PeerUnavailable, TlsUnusable
from node.net import scu, tls

pytestmark = pytest.mark.associations


@pytest.fixture(params=[True, False], ids=["lean", "pynetdicom"])
def fast(request):
    return request.param


@pytest.fixture
def protected(listening, authority):
    """Starts a listener with TLS; gives the peer as one must call it, with the certificate PACS."""

    def listen(receive=lambda _arrival: None, *, out=None, **policy):
        mine = {
            "certificate": authority.folder / "node.pem",
            "private_key": authority.folder / "node.key",
            "ca": authority.ca,
            **policy.pop("tls", {}),
        }
        peer = listening(receive, tls=ListenerTls.model_validate(mine), **policy)
        return as_called(peer, authority, "pacs", **(out or {}))

    return listen


def as_called(peer, authority, name, **changes):
    own = {}
    if name is not None:
        own = {
            "certificate": authority.folder / f"{name}.pem",
            "private_key": authority.folder / f"{name}.key",
        }
    protection = Tls.model_validate({"ca": authority.ca, **own, **changes})
    return peer.model_copy(update={"tls": protection})


def echo(peer, caller="PACS"):
    scu.echo(peer, calling_ae_title=caller, timeout_s=5)


def awaited(holds):
    """In TLS 1.3 the caller hears of a refusal before our thread goes on."""
    until = time.monotonic() + 10
    while not holds() and time.monotonic() < until:
        time.sleep(0.01)
    assert holds()


@pytest.mark.parametrize("profile", ["bcp195", "bcp195-nondowngrade", "bcp195-extended"])
def test_an_instance_goes_through_tls_in_every_profile(
    protected, intake, parcel, data_set, profile, authority
):
    rsa = authority.issue(f"node-{profile}", rsa=2048)
    tls_of_rsa = {"certificate": rsa, "private_key": rsa.with_suffix(".key"), "profile": profile}
    peer = protected(intake.receive, tls=tls_of_rsa, out={"profile": profile})

    (answer,) = scu.send(peer, [parcel(data_set("1.1"), "1.1")], calling_ae_title="PACS")

    assert answer.status == 0x0000


def test_dcmtk_speaks_tls_with_us(protected, authority, intake):
    peer = protected(intake.receive)
    key, certificate = authority.folder / "pacs.key", authority.folder / "pacs.pem"

    subprocess.run(
        ["echoscu", "+tls", key, certificate, "+cf", authority.ca, "127.0.0.1", str(peer.port)],
        check=True,
        timeout=20,
    )


def test_dcmtk_takes_what_we_send_over_tls(authority, free_port, tmp_path, parcel, data_set):
    """storescp with a certificate for 127.0.0.1; it asks for ours."""
    key, certificate = authority.folder / "other.key", authority.folder / "other.pem"
    command = ["storescp", "+tls", key, certificate, "+cf", authority.ca, "-od", tmp_path / "in"]
    (tmp_path / "in").mkdir()
    with subprocess.Popen([*command, str(free_port)]) as server:
        try:
            peer = Peer(ae_title="ANY", host="127.0.0.1", port=free_port)
            peer = as_called(peer, authority, "pacs")
            until_it_answers(peer)
            (answer,) = scu.send(peer, [parcel(data_set("1.1"), "1.1")], calling_ae_title="NODE")
        finally:
            server.terminate()

    assert answer.status == 0x0000
    assert list((tmp_path / "in").iterdir())


def until_it_answers(peer):
    until = time.monotonic() + 20
    while time.monotonic() < until:
        try:
            return echo(peer, "NODE")
        except PeerUnavailable:
            time.sleep(0.05)
    return pytest.fail("the other side does not listen")


@pytest.mark.parametrize("name", [None, "intruder"])
def test_who_shows_no_certificate_that_we_trust_is_not_taken(
    protected, authority, stranger, name, caplog
):
    peer = protected()

    with pytest.raises(PeerUnavailable):
        echo(as_called(peer, authority, name))

    awaited(lambda: "no TLS with 127.0.0.1" in caplog.text)
    echo(peer)


def test_a_certificate_is_asked_for_and_not_required_where_the_settings_say_so(
    protected, authority, stranger
):
    peer = protected(tls={"client_certificate": "optional"})

    echo(as_called(peer, authority, None))
    echo(peer)
    with pytest.raises(PeerUnavailable):
        echo(as_called(peer, authority, "intruder"))


def test_a_title_is_bound_to_its_certificate(protected, authority):
    peer = protected(
        peers=[
            {"ae_title": "PACS", "certificate_names": ["pacs.example"], "addresses": ["127.0.0.1"]}
        ]
    )

    echo(peer)
    with pytest.raises(PeerUnavailable, match=r"(?i)calling AE title"):
        echo(as_called(peer, authority, "other"))
    with pytest.raises(PeerUnavailable, match=r"(?i)calling AE title"):
        echo(peer, caller="CT1")


def test_a_fingerprint_is_the_one_that_openssl_prints(protected, authority):
    printed = subprocess.run(
        [
            "openssl",
            "x509",
            "-noout",
            "-fingerprint",
            "-sha256",
            "-in",
            authority.folder / "pacs.pem",
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    fingerprint = printed.stdout.strip().partition("=")[2]
    peer = protected(peers=[{"ae_title": "PACS", "certificate_fingerprints": [fingerprint]}])

    echo(peer)
    with pytest.raises(PeerUnavailable):
        echo(as_called(peer, authority, "other"))


def test_plain_and_protected_peers_have_a_port_each(protected, free_ports):
    """The plain one is there for CT1 alone; PACS is taken with TLS and not without."""
    peer = protected(
        tls={"port": free_ports()},
        peers=[{"ae_title": "PACS", "require_tls": True}, {"ae_title": "CT1"}],
    )
    plain = peer.model_copy(update={"tls": None})

    echo(plain, caller="CT1")
    with pytest.raises(PeerUnavailable, match=r"(?i)calling AE title"):
        echo(plain)


def test_the_protected_port_takes_who_must_use_it(protected, free_ports):
    port = free_ports()
    peer = protected(tls={"port": port}, peers=[{"ae_title": "PACS", "require_tls": True}])

    echo(peer.model_copy(update={"port": port}))


def test_a_peer_without_tls_is_refused_at_once(protected, raw, associate_request, caplog):
    peer = protected(handshake_timeout_s=60)
    connection = raw(peer.port)
    connection.settimeout(5)

    connection.sendall(associate_request)

    assert connection.recv(4096)[:1] != b"\x02"
    echo(peer)
    assert "no TLS with 127.0.0.1: wrong version number" in caplog.text


def test_silent_handshakes_keep_nobody_waiting_and_end(protected, raw):
    peer = protected(handshake_timeout_s=1.5)
    silent = [raw(peer.port) for _ in range(5)]

    echo(peer)

    for connection in silent:
        connection.settimeout(10)
        assert connection.recv(1) == b""


@pytest.mark.parametrize(
    ("newest", "ciphers"),
    [
        (ssl.TLSVersion.TLSv1_1, "ALL:@SECLEVEL=0"),
        (ssl.TLSVersion.TLSv1_2, "AES128-SHA:AES256-SHA256"),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # that TLS 1.1 is old is the point
def test_old_versions_and_weak_suites_are_refused(protected, authority, newest, ciphers):
    peer = protected(tls={"client_certificate": "none"})
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.maximum_version = newest
    context.set_ciphers(ciphers)
    context.load_verify_locations(authority.ca)

    with (
        socket.create_connection(("127.0.0.1", peer.port), timeout=5) as connection,
        pytest.raises((ssl.SSLError, ConnectionError)),
    ):
        context.wrap_socket(connection, server_hostname="127.0.0.1")


def test_a_destination_is_called_only_by_the_name_in_its_certificate(protected, authority):
    peer = protected().model_copy(update={"host": "localhost"})

    with pytest.raises(PeerUnavailable, match=r"certificate is not valid: Hostname mismatch"):
        echo(peer)
    echo(as_called(peer, authority, "pacs", check_hostname=False))


def test_a_destination_of_another_authority_is_not_called(protected, authority, stranger):
    peer = protected(
        tls={
            "certificate": stranger.folder / "intruder.pem",
            "private_key": stranger.folder / "intruder.key",
        }
    )

    with pytest.raises(PeerUnavailable, match=r"certificate is not valid"):
        echo(peer)


def test_a_destination_that_speaks_no_tls_is_unavailable(listening, intake, authority):
    with pytest.raises(PeerUnavailable, match=r"TLS: "):
        echo(as_called(listening(intake.receive), authority, "pacs"))


def test_the_password_of_a_key_lies_in_a_file(protected, authority, tmp_path):
    locked = authority.issue("locked", password="open sesame")
    password = tmp_path / "password"
    password.write_text("open sesame\n")
    files = {"certificate": locked, "private_key": locked.with_suffix(".key")}

    echo(protected(tls={**files, "private_key_password_file": password}))
    with pytest.raises(TlsUnusable, match=r"locked\.pem"):
        protected(tls=files)


@pytest.mark.parametrize(
    "change", [{"certificate": "absent.pem"}, {"private_key": "pacs.key"}, {"ca": "node.key"}]
)
def test_a_file_that_does_not_fit_is_named(authority, change):
    good = {"certificate": "node.pem", "private_key": "node.key", "ca": authority.ca}
    files = {key: authority.folder / name for key, name in {**good, **change}.items()}

    with pytest.raises(TlsUnusable, match=str(next(iter(change.values())))):
        tls.accepting(ListenerTls(**files))


def test_a_destination_whose_certificates_are_gone_is_unavailable(listening, intake, authority):
    peer = as_called(listening(intake.receive), authority, "pacs", ca=authority.folder / "gone.pem")

    with pytest.raises(PeerUnavailable, match=r"gone\.pem"):
        echo(peer)


def test_a_revoked_certificate_is_not_taken_and_others_are(protected, authority, caplog):
    lost = authority.issue("lost")
    peer = protected(tls={"crl": authority.revoke(lost)})

    with pytest.raises(PeerUnavailable):
        echo(as_called(peer, authority, "lost"))

    awaited(lambda: "the peer's certificate is not valid: certificate revoked" in caplog.text)
    echo(peer)


def test_a_certificate_that_is_revoked_while_we_listen_is_not_taken_from_then_on(
    protected, authority, tmp_path, caplog
):
    caplog.set_level("INFO")
    lost, crl = authority.issue("lost-later"), tmp_path / "list.crl"
    shutil.copy(authority.revoke(), crl)
    peer = protected(tls={"crl": crl})
    echo(as_called(peer, authority, "lost-later"))

    shutil.copy(authority.revoke(lost), crl)

    with pytest.raises(PeerUnavailable):
        echo(as_called(peer, authority, "lost-later"))
    echo(peer)
    assert caplog.text.count("the files of TLS changed and are in use") == 1


def test_files_that_change_for_the_worse_leave_the_old_ones_in_use(
    protected, authority, tmp_path, caplog
):
    crl = tmp_path / "list.crl"
    shutil.copy(authority.revoke(), crl)
    peer = protected(tls={"crl": crl})

    crl.write_text("half a li")

    echo(peer)
    echo(peer)
    assert caplog.text.count("are of no use, the old stay") == 1


@pytest.mark.parametrize("until", ["20200102000000Z", "", "other"])
def test_a_list_that_says_nothing_of_today_or_of_the_authority_lets_nobody_in(
    protected, authority, stranger, until, caplog
):
    """One that has run out, one of another authority; the one that holds is the proof of both."""
    crl = stranger.revoke() if until == "other" else authority.revoke(until=until)
    peer = protected(tls={"crl": crl})

    if not until:
        echo(peer)
        return
    with pytest.raises(PeerUnavailable):
        echo(peer)
    why = "unable to get certificate CRL" if until == "other" else "CRL has expired"
    awaited(lambda: f"is not valid: {why}" in caplog.text)


def test_a_destination_whose_certificate_is_revoked_is_not_called(protected, authority):
    stolen = authority.issue("stolen")
    peer = protected(tls={"certificate": stolen, "private_key": stolen.with_suffix(".key")})
    echo(peer)

    with pytest.raises(PeerUnavailable, match="certificate revoked"):
        echo(as_called(peer, authority, "pacs", crl=authority.revoke(stolen)))


def test_a_file_without_a_revocation_list_is_named(authority):
    files = {
        "certificate": authority.folder / "node.pem",
        "private_key": authority.folder / "node.key",
        "ca": authority.ca,
    }

    for crl, why in ((authority.ca, "no revocation list"), (authority.folder / "gone", "gone")):
        with pytest.raises(TlsUnusable, match=why):
            tls.accepting(ListenerTls(**files, crl=crl))
