"""The lean reader at the level of bytes: whatever the pieces, the instance is what was sent."""

import socket
import threading
import tracemalloc

import pytest
from pynetdicom import AE
from pynetdicom.pdu_primitives import AsynchronousOperationsWindowNegotiation
from pynetdicom.presentation import build_context

from node.config import Listener as Policy
from node.net import command
from node.net.command import Malformed
from node.net.scp import Listener
from tests.arriving import kept
from tests.node.net.messages import (
    COMMAND,
    CT,
    DATA_SET,
    LAST,
    P_DATA,
    answered,
    element,
    item,
    pdu,
    store_request,
)

pytestmark = pytest.mark.associations

PUSH_MODEL = "1.2.840.10008.1.20.1"
RELEASED, ABORT = 0x06, 0x07
RELEASE_RQ = bytes.fromhex("05 00 00000004 00000000")
A_ABORT = bytes.fromhex("07 00 00000004 00000000")


ECHO_REQUEST = (
    element(0x0002, b"1.2.840.10008.1.1\0")
    + element(0x0100, b"\x30\0")
    + element(0x0110, b"\x09\0")
    + element(0x0800, b"\x01\x01")
)


@pytest.fixture(params=[True, False], ids=["together", "one by one"])
def taken(listening, request):
    """A listener that keeps what it is given, the port, and the ends it was told of."""

    class Taken:
        def __init__(self):
            self.arrivals, self.ended = [], threading.Semaphore(0)

        def listen(self, **policy):
            keep = kept(self.arrivals)

            def together(arrivals):
                for one in arrivals if request.param else []:
                    keep(one)
                return [request.param] * len(arrivals)

            told = {"closed": lambda _: self.ended.release(), "together": together}
            return listening(keep, **told, **policy).port

        def is_whole(self):
            (arrival,) = self.arrivals
            self.arrivals.clear()
            return arrival.part10.endswith(DATA_SET) and arrival.sop_instance_uid == "1.2.3.4"

    return Taken()


def in_small_pieces():
    """Command and data set in fragments of few bytes, several of them in one PDU."""
    asked = store_request()
    commands = [
        item(COMMAND, asked[:5]),
        item(COMMAND, asked[5:11]),
        item(COMMAND | LAST, asked[11:]),
    ]
    data = [
        item(0, DATA_SET[:1]),
        item(0, b""),
        item(0, DATA_SET[1:200]),
        item(LAST, DATA_SET[200:]),
    ]
    return {
        "one PDU for all": pdu(*commands, *data),
        "one PDU for each": b"".join(pdu(one) for one in commands + data),
        "the data set begins in the PDU of its command": pdu(*commands, data[0]) + pdu(*data[1:]),
        "the command ends in the PDU of its data set": pdu(commands[0]) + pdu(*commands[1:], *data),
        "the last fragment is empty": pdu(*commands)
        + pdu(item(0, DATA_SET))
        + pdu(item(LAST, b"")),
    }


@pytest.mark.parametrize("stream", in_small_pieces().values(), ids=in_small_pieces())
def test_fragments_make_the_instance_that_was_cut(taken, associated, read_pdu, stream):
    connection = associated(taken.listen())
    connection.sendall(stream)

    assert answered(read_pdu, connection)[0x0900] == b"\0\0"
    assert taken.is_whole()


def test_the_stream_may_be_cut_at_every_byte(taken, raw, associate_request, read_pdu):
    """Request, instance, echo and release arrive in two parts, wherever the cut is."""
    port = taken.listen()
    rest = (
        pdu(item(COMMAND | LAST, store_request()))
        + pdu(item(0, DATA_SET[:9]), item(LAST, DATA_SET[9:]))
        + pdu(item(COMMAND | LAST, ECHO_REQUEST, context=1))
        + RELEASE_RQ
    )
    for cut in range(1, len(associate_request), 16):
        with raw(port) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(associate_request[:cut])
            connection.sendall(associate_request[cut:])
            assert read_pdu(connection)[0] == 0x02
    for cut in range(1, len(rest)):
        with raw(port) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(associate_request)
            assert read_pdu(connection)[0] == 0x02
            connection.sendall(rest[:cut])
            connection.sendall(rest[cut:])
            kinds = [read_pdu(connection)[0] for _ in range(3)]
        assert kinds == [P_DATA, P_DATA, RELEASED]
        assert taken.is_whole()


def test_messages_that_do_not_wait_are_answered_in_their_order(taken, associated, read_pdu):
    """Nothing is read ahead: what comes meanwhile waits in the connection."""
    connection = associated(taken.listen())
    one = [
        pdu(item(COMMAND | LAST, store_request(f"1.{n}", message_id=n)), item(LAST, DATA_SET))
        for n in range(1, 101)
    ]
    connection.sendall(b"".join(one))

    numbers = [answered(read_pdu, connection)[0x0120] for _ in one]

    assert [int.from_bytes(number, "little") for number in numbers] == list(range(1, 101))
    assert [arrival.sop_instance_uid for arrival in taken.arrivals] == [
        f"1.{n}" for n in range(1, 101)
    ]


BROKEN = {
    "a command within a data set": pdu(item(COMMAND | LAST, store_request()))
    + pdu(item(0, b"ab"))
    + pdu(item(COMMAND | LAST, ECHO_REQUEST, context=1)),
    "a data set in another context": pdu(item(COMMAND | LAST, store_request()))
    + pdu(item(LAST, b"ab", context=1)),
    "a command in two contexts": pdu(item(COMMAND, b"ab"), item(COMMAND | LAST, b"cd", context=1)),
    "a context that was not accepted": pdu(item(COMMAND | LAST, store_request(), context=5)),
    "an empty PDU": pdu(),
    "a PDU of an unknown type": pdu(kind=0x0B),
    "a second request for an association": pdu(bytes(68), kind=0x01),
    "half a head at the end of a PDU": pdu(item(COMMAND, b"ab"), b"\0\0\0"),
    "a length that is less than its item": pdu(b"\0\0\0\1\3\1"),
    "a length that is more than the PDU": pdu(b"\0\0\1\0\3\1ab"),
    "a length of four gigabytes": pdu(b"\xff\xff\xff\xff\3\1ab"),
    "C-FIND": pdu(
        item(COMMAND | LAST, store_request().replace(b"\x01\0\0\0\x10\x01", b"\x20\0\0\0\x10\x01"))
    ),
    "a request without a UID": pdu(item(COMMAND | LAST, store_request("")), item(LAST, b"ab")),
    "a request with 65 digits": pdu(
        item(COMMAND | LAST, store_request("1" * 65)), item(LAST, b"ab")
    ),
}


@pytest.mark.parametrize("stream", BROKEN.values(), ids=BROKEN)
def test_what_breaks_the_protocol_is_aborted_and_nothing_is_stored(
    taken, associated, read_pdu, stream
):
    connection = associated(taken.listen())
    connection.sendall(stream)

    assert read_pdu(connection)[0] == ABORT
    assert read_pdu(connection) == b""
    assert taken.ended.acquire(timeout=10)
    assert taken.arrivals == []


@pytest.mark.parametrize("last_words", [A_ABORT, b"", RELEASE_RQ])
def test_half_an_instance_is_never_stored(taken, associated, last_words):
    """Aborted, gone or released in the midst of it."""
    connection = associated(taken.listen())
    connection.sendall(pdu(item(COMMAND | LAST, store_request())) + pdu(item(0, DATA_SET)))
    connection.sendall(last_words)
    connection.shutdown(socket.SHUT_WR)

    assert taken.ended.acquire(timeout=10)
    assert taken.arrivals == []


def test_a_request_without_a_data_set_gets_its_answer(taken, associated, read_pdu):
    connection = associated(taken.listen())
    connection.sendall(pdu(item(COMMAND | LAST, store_request(data_set_type=0x0101))))

    answer = answered(read_pdu, connection)

    assert answer[0x0900] == b"\x00\xc0"
    assert answer[0x0902].startswith(b"the request has no data set")


def test_an_instance_beyond_the_limit_is_read_past_and_answered(taken, associated, read_pdu):
    connection = associated(taken.listen(max_instance_bytes=1_000_000))
    connection.sendall(pdu(item(COMMAND | LAST, store_request())))
    for _ in range(12):
        connection.sendall(pdu(item(0, bytes(100_000))))
    connection.sendall(pdu(item(LAST, b"")) + pdu(item(COMMAND | LAST, ECHO_REQUEST, context=1)))

    assert answered(read_pdu, connection)[0x0900] == b"\x00\xa7"
    assert answered(read_pdu, connection)[0x0900] == b"\0\0"
    assert taken.arrivals == []


def test_fragments_of_two_bytes_take_little_more_room_than_their_bytes(taken, associated, read_pdu):
    """Each by itself would take some forty: 100,000 of them four megabytes."""
    content = b"".join(number.to_bytes(4, "big") for number in range(50_000))
    items = [item(0, content[at : at + 2]) for at in range(0, len(content), 2)]
    pdus = [pdu(*items[at : at + 10_000]) for at in range(0, len(items), 10_000)]
    connection = associated(taken.listen())
    tracemalloc.start()
    try:
        connection.sendall(pdu(item(COMMAND | LAST, store_request())) + b"".join(pdus))
        connection.sendall(pdu(item(LAST, b"")))
        answer = answered(read_pdu, connection)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert answer[0x0900] == b"\0\0"
    assert taken.arrivals[0].part10.endswith(content)
    assert most < 3_000_000


def test_an_answer_keeps_to_the_length_that_the_peer_can_take(
    taken, raw, associate_request, read_pdu
):
    """A maximum length of 64 (PS3.8 D.1): 58 bytes of a fragment and its head of 6."""
    longest = b"\x51\0\0\4" + (16384).to_bytes(4, "big")
    assert longest in associate_request
    connection = raw(taken.listen())
    connection.sendall(associate_request.replace(longest, b"\x51\0\0\4" + (64).to_bytes(4, "big")))
    assert read_pdu(connection)[0] == 0x02
    connection.sendall(pdu(item(COMMAND | LAST, store_request()), item(LAST, DATA_SET)))

    pieces = [read_pdu(connection)]
    while not pieces[-1][11] & LAST:
        pieces.append(read_pdu(connection))

    assert len(pieces) > 1
    assert max(map(len, pieces)) <= 6 + 64
    told = command.elements(b"".join(piece[12:] for piece in pieces))
    assert told[0x0900] == b"\0\0"
    assert told[0x1000] == b"1.2.3.4\0"


def test_who_asks_for_commitment_too_is_served_by_pynetdicom(listening, parcel, data_set):
    """The request was read before; nothing of it is lost on the way."""
    arrivals = []
    peer = listening(kept(arrivals))
    contexts = [build_context(CT, "1.2.840.10008.1.2.1"), build_context(PUSH_MODEL)]
    ae = AE(ae_title="PACS")
    association = ae.associate(
        "127.0.0.1", peer.port, contexts=contexts, ext_neg=[_asynchronous_operations()]
    )

    status = association.send_c_store(parcel(data_set("1.1"), "1.1").path)
    window = association.acceptor.asynchronous_operations
    association.release()

    assert status.Status == 0x0000
    assert window == (1, 1)
    assert len(arrivals) == 1


def _asynchronous_operations():
    asked = AsynchronousOperationsWindowNegotiation()
    asked.maximum_number_operations_invoked = 5
    asked.maximum_number_operations_performed = 5
    return asked


def test_both_ways_accept_the_same_contexts(listening):
    """What pynetdicom negotiates from our table, the lean reader negotiates, too."""
    asked = [
        build_context(CT, ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1"]),
        build_context("1.2.840.10008.1.1"),
        build_context("1.2.840.10008.5.1.4.1.1.6.1"),
        build_context("1.2.840.10008.5.1.4.1.1.128", "1.2.840.10008.1.2.4.102"),
    ]

    def negotiated(*, fast):
        peer = listening(lambda _arrival: None, fast=fast)
        association = AE().associate("127.0.0.1", peer.port, contexts=asked)
        contexts = association.accepted_contexts + association.rejected_contexts
        told = association.acceptor
        association.release()
        return (
            sorted((one.context_id, one.result, one.transfer_syntax[0]) for one in contexts),
            told.maximum_length,
            told.implementation_class_uid,
            told.implementation_version_name,
        )

    lean = negotiated(fast=True)

    assert lean == negotiated(fast=False)
    assert [result for _, result, _ in lean[0]] == [0, 0, 3, 4]


def test_closing_the_listener_aborts_who_is_served(free_port, associate_request, raw, read_pdu):
    ended = threading.Event()
    listener = Listener(
        Policy(port=free_port), receive=lambda _: None, closed=lambda _: ended.set()
    )
    connection = raw(free_port)
    connection.sendall(associate_request)
    assert read_pdu(connection)[0] == 0x02

    listener.close()

    assert read_pdu(connection)[0] == ABORT
    assert ended.is_set()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        store_request()[:-1],
        store_request()[:20],
        b"\x08\0" + store_request()[2:],
        store_request().replace(b"\x02\0\x1a\0\0\0", b"\x02\0\xff\0\0\0"),
    ],
)
def test_a_command_that_cannot_be_read_is_malformed(content):
    with pytest.raises(Malformed):
        command.read(content)


def test_an_answer_is_what_the_standard_lists():
    """PS3.7 9.3.1.2, of a request with message ID 7: 0xA700 and a comment, in order of the tags."""
    request = command.read(store_request("1.2.3"))

    told = command.elements(command.answer(request, 0xA700, "no room"))

    assert told == {
        0x0000: len(command.answer(request, 0xA700, "no room")[12:]).to_bytes(4, "little"),
        0x0002: CT.encode() + b"\0",
        0x0100: b"\x01\x80",
        0x0120: b"\x07\0",
        0x0800: b"\x01\x01",
        0x0900: b"\x00\xa7",
        0x0902: b"no room ",
        0x1000: b"1.2.3\0",
    }
    assert list(told) == sorted(told)


def test_a_comment_of_any_letters_and_length_fits():
    request = command.read(ECHO_REQUEST)

    told = command.elements(command.answer(request, 0xC000, "ä" * 100))

    assert told[0x0902] == b"?" * 64
