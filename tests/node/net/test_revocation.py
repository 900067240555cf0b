"""Revocation lists are read, and what is none or of no use is refused."""

import base64
from datetime import UTC, datetime

import pytest

from node.access import ListenerTls
from node.net import revocation


def test_a_list_is_of_no_use_where_no_certificate_is_asked_for():
    with pytest.raises(ValueError, match="crl is of no use"):
        ListenerTls(certificate="node.pem", client_certificate="none", crl="ca.crl")


@pytest.mark.parametrize(
    ("until", "moment"),
    [
        # RFC 5280 5.1.2.5: UTCTime through 2049, GeneralizedTime after it.
        ("20310203040506Z", datetime(2031, 2, 3, 4, 5, 6, tzinfo=UTC)),
        ("20510203040506Z", datetime(2051, 2, 3, 4, 5, 6, tzinfo=UTC)),
    ],
)
def test_when_a_list_runs_out_is_read_from_it(authority, until, moment):
    lost = [authority.issue("lost-1"), authority.issue("lost-2")]

    assert revocation.next_update(authority.revoke(*lost, until=until)) == moment


def test_of_several_lists_the_first_to_run_out_counts(authority, stranger, tmp_path):
    several = tmp_path / "several.crl"
    ends = ("20310203040506Z", "20300203040506Z")
    lists = [one.revoke(until=end) for one, end in zip((authority, stranger), ends, strict=True)]
    several.write_bytes(b"".join(one.read_bytes() for one in lists))

    assert revocation.next_update(several) == datetime(2030, 2, 3, 4, 5, 6, tzinfo=UTC)


@pytest.mark.parametrize("der", [b"", b"\x30", b"\x30\x02\x30\x00", b"0\x04\x30\x02\x05\x00"])
def test_what_is_no_list_is_refused(tmp_path, der):
    file = tmp_path / "list.crl"
    text = base64.b64encode(der)
    file.write_bytes(b"-----BEGIN X509 CRL-----\n" + text + b"\n-----END X509 CRL-----\n")

    with pytest.raises(ValueError, match="not a revocation list"):
        revocation.next_update(file)
