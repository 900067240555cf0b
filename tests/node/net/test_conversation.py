"""What is said on one association, cut wherever bytes can be cut: in the connection and in PDUs."""

import socket
import ssl
import threading

import pytest

from node.config import Listener as Policy
from node.net.conversation import Conversation, Delivery
from node.net.inbox import PIECE_BYTES, Gone, Inbox
from node.net.opening import Opening
from node.net.part10 import file_head
from node.net.rounds import alone
from node.net.session import Session
from node.sheet import Sheet
from tests.node.net.messages import COMMAND, CT, DATA_SET, LAST, item, pdu, store_request

EXPLICIT = "1.2.840.10008.1.2.1"
RELEASE_RQ = bytes.fromhex("05 00 00000004 00000000")
ENOUGH_S = 20
WAITS = "waits"
POLICY = Policy(port=11112)
OPENING = Opening(
    calling_ae_title="PACS",
    called_ae_title="PETCTNODE",
    acceptance=b"",
    transfer_syntaxes={3: EXPLICIT},
    longest_answer=0,
)
ASKED = store_request()
HEAD = file_head(sop_class_uid=CT, sop_instance_uid="1.2.3.4", transfer_syntax_uid=EXPLICIT)
STREAM = (
    pdu(item(COMMAND | LAST, ASKED))
    + pdu(item(0, DATA_SET[:100]), item(0, b""), item(LAST, DATA_SET[100:]))
    + pdu(item(COMMAND | LAST, ASKED), item(LAST, DATA_SET))
    + RELEASE_RQ
)


def conversation(connection, *, inbox_bytes=PIECE_BYTES):
    return Conversation(
        connection,
        OPENING,
        Session("127.0.0.1", 1, "PACS"),
        policy=POLICY,
        inbox=Inbox(connection, ENOUGH_S, bytearray(inbox_bytes)),
        sheet=Sheet(),
    )


class Gathered(list):
    """The data sets that came, each answered with Success."""

    def __call__(self, _session, delivery):
        assert (delivery.sop_class_uid, delivery.sop_instance_uid) == (CT, "1.2.3.4")
        self.append(bytes(delivery.part10).removeprefix(HEAD))
        return 0, ""


def gone_through(pieces, **inbox):
    """Send each piece when all before it has been read; return what came and how it ended.

    That is that it waits where nothing is left to send.
    """
    ours, theirs = socket.socketpair()
    with ours, theirs:
        steps, came, left = conversation(ours, **inbox).steps(), Gathered(), iter(pieces)
        answer = None
        try:
            while True:
                asked, answer = steps.send(answer), None
                if isinstance(asked, Delivery):
                    answer = came(None, asked)
                elif not _has_more(ours):
                    if (piece := next(left, None)) is None:
                        return came, WAITS
                    theirs.sendall(piece)
        except StopIteration as end:
            return came, end.value


def _has_more(connection):
    try:
        return bool(connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
    except BlockingIOError:
        return False


def test_a_connection_may_be_cut_at_every_byte():
    for cut in range(1, len(STREAM)):
        assert gone_through([STREAM[:cut], STREAM[cut:]]) == ([DATA_SET] * 2, "released")


@pytest.mark.parametrize("inbox_bytes", range(len(ASKED), len(ASKED) + 24, 5))
def test_what_waits_moves_where_the_inbox_has_no_room_behind_it(inbox_bytes):
    for cut in range(1, len(STREAM)):
        came, how = gone_through([STREAM[:cut], STREAM[cut:]], inbox_bytes=inbox_bytes)
        assert (came, how) == ([DATA_SET] * 2, "released")


def test_a_connection_may_bring_byte_after_byte():
    pieces = [bytes([one]) for one in STREAM]

    assert gone_through(pieces) == ([DATA_SET] * 2, "released")


@pytest.mark.parametrize("in_one_pdu", [True, False], ids=["in one PDU", "a PDU each"])
@pytest.mark.parametrize("part", ["command", "data set"])
def test_fragments_may_end_at_every_byte(part, in_one_pdu):
    for cut in range(len(ASKED if part == "command" else DATA_SET) + 1):
        items = [item(COMMAND | LAST, ASKED), item(LAST, DATA_SET)]
        if part == "command":
            items[:1] = [item(COMMAND, ASKED[:cut]), item(COMMAND | LAST, ASKED[cut:])]
        else:
            items[1:] = [item(0, DATA_SET[:cut]), item(LAST, DATA_SET[cut:])]
        stream = pdu(*items) if in_one_pdu else b"".join(map(pdu, items))

        assert gone_through([stream, RELEASE_RQ]) == ([DATA_SET], "released")


def test_fragments_of_one_byte_each():
    commands = [item(COMMAND, bytes([one])) for one in ASKED] + [item(COMMAND | LAST, b"")]
    content = [item(0, bytes([one])) for one in DATA_SET] + [item(LAST, b"")]

    stream = b"".join(map(pdu, commands + content))

    assert gone_through([stream, RELEASE_RQ]) == ([DATA_SET], "released")


def _wrong_lengths():
    """The stream with each byte of each length in its first two PDUs one less, and one more."""
    second = STREAM.index(DATA_SET[:100]) - 12
    lengths = [*range(2, 10), *range(second + 2, second + 10)]
    for at in lengths:
        for by in (1, 255):
            yield STREAM[:at] + bytes([(STREAM[at] + by) % 256]) + STREAM[at + 1 :]


def test_a_length_that_is_wrong_never_makes_another_instance():
    """It is given up, or waits for what it announced; what came whole before is whole."""
    for stream in _wrong_lengths():
        came, how = gone_through([stream])

        assert how in {"given up", "released", WAITS}
        assert all(one == DATA_SET for one in came)


@pytest.fixture(scope="module")
def secured(authority):
    """Makes both ends of a connection with TLS, of which each record is received by itself."""

    def make():
        ours, theirs = socket.socketpair()
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(authority.folder / "node.pem", authority.folder / "node.key")
        client = ssl.create_default_context(cafile=authority.ca)
        client.check_hostname = False
        inner = client.wrap_socket(theirs, do_handshake_on_connect=False)
        shaking = threading.Thread(target=inner.do_handshake)
        shaking.start()
        outer = server.wrap_socket(ours, server_side=True)
        shaking.join()
        return outer, inner

    return make


def test_by_tls_too_a_connection_may_be_cut_at_every_byte(secured, read_pdu):
    """One association for all cuts: each is made in two instances of its own."""
    message = STREAM[: -len(RELEASE_RQ)]
    ours, theirs = secured()
    with ours, theirs:
        came, cuts = Gathered(), range(1, len(message))
        one_by_one = [bytes([one]) for one in message]

        def send():
            for pieces in [*((message[:cut], message[cut:]) for cut in cuts), one_by_one]:
                for piece in pieces:
                    theirs.sendall(piece)
                for _ in range(2):
                    read_pdu(theirs)
            theirs.sendall(RELEASE_RQ)

        sending = threading.Thread(target=send)
        sending.start()
        assert alone(conversation(ours), came) == "released"
        sending.join()

    assert came == [DATA_SET] * 2 * (len(cuts) + 1)


@pytest.mark.parametrize("end", [b"", b"\x07\0\0\0\0\4\0\0\0\0", b"\x0b\0\0\0\0\0"])
def test_by_tls_too_half_an_instance_is_none(secured, end):
    """Gone, aborted, or broken in the midst of it."""
    ours, theirs = secured()
    with ours, theirs:
        came = Gathered()
        theirs.sendall(pdu(item(COMMAND | LAST, ASKED)) + pdu(item(0, DATA_SET)) + end)
        socket.socket.shutdown(theirs, socket.SHUT_WR)
        if end:
            assert alone(conversation(ours), came) in {"aborted", "given up"}
        else:
            with pytest.raises(Gone):
                alone(conversation(ours), came)

    assert came == []
