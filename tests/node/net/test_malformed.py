"""Messages that pynetdicom cannot take: each ends its own association, and the end is heard of."""

import threading
from collections import Counter

import pytest
from pynetdicom import AE, evt
from pynetdicom.sop_class import Verification

from node.config import Peer
from node.errors import PeerUnavailable
from node.net import scu

pytestmark = pytest.mark.associations


@pytest.fixture(params=[True, False], ids=["lean", "pynetdicom"])
def fast(request):
    return request.param


ABORT = 0x07
LIMIT = 2

# PDVs of one P-DATA-TF each: length, context, control (3: a whole command; PS3.8 E.2), value.
MALFORMED = {
    "no command field": "0000000c 01 03 00000008 02000000 0101",
    "an unknown command field": "00000016 01 03 00000001 02000000 9999 00000008 02000000 0101",
    "an empty command field": "00000014 01 03 00000001 00000000 00000008 02000000 0101",
    "an empty command": "00000002 01 03",
    "a command of rubbish": "0000000c 01 03 ffffffffffffffffffff",
    "a command cut off": "00000008 01 03 000000010200",
    "a data set before any command": "00000004 01 02 0000",
    "a fragment without a header": "00000001 01",
    "a fragment of no bytes": "00000000",
    "a fragment longer than its PDU": "0000ffff 01 03 00",
}


def p_data(pdvs):
    body = bytes.fromhex(pdvs.replace(" ", ""))
    return b"\x04\x00" + len(body).to_bytes(4, "big") + body


@pytest.mark.parametrize("pdvs", MALFORMED.values(), ids=MALFORMED)
def test_it_is_aborted_and_the_next_ones_are_served(
    listening, intake, associated, read_pdu, pdvs, capfd
):
    """Were one of them left open, the third would be one too many of its address."""
    ends = threading.Semaphore(0)
    peer = listening(
        intake.receive, closed=lambda _: ends.release(), max_associations_per_address=LIMIT
    )
    for _ in range(LIMIT + 1):
        connection = associated(peer.port)
        connection.sendall(p_data(pdvs))

        assert read_pdu(connection)[0] == ABORT
        assert read_pdu(connection) == b""
        assert ends.acquire(timeout=10)

    scu.echo(peer, calling_ae_title="PACS", timeout_s=5)
    assert "Traceback" not in capfd.readouterr().err


def test_each_end_is_told_once(listening, intake, associated, read_pdu):
    told: Counter[str] = Counter()
    ends = threading.Semaphore(0)

    def closed(association):
        told[association] += 1
        ends.release()

    peer = listening(intake.receive, closed=closed)
    for pdvs in MALFORMED.values():
        associated(peer.port).sendall(p_data(pdvs))
    for _ in MALFORMED:
        assert ends.acquire(timeout=10)

    assert sorted(told.values()) == [1] * len(MALFORMED)


@pytest.mark.parametrize("pdvs", MALFORMED.values(), ids=MALFORMED)
def test_a_destination_that_answers_so_is_given_up(free_port, pdvs):
    def answer(event):
        event.assoc.dul.socket.send(p_data(pdvs))
        return 0x0000

    ae = AE(ae_title="PACS")
    ae.add_supported_context(Verification)
    server = ae.start_server(
        ("127.0.0.1", free_port), block=False, evt_handlers=[(evt.EVT_C_ECHO, answer)]
    )
    try:
        peer = Peer(ae_title="PACS", host="127.0.0.1", port=free_port)
        with pytest.raises(PeerUnavailable):
            scu.echo(peer, calling_ae_title="NODE", timeout_s=1)
    finally:
        server.shutdown()
