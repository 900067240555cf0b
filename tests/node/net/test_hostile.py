"""Peers that stall, flood or crowd: each loses its own association, and no other does."""

import select
import socket
import threading
import time
import tracemalloc
from contextlib import suppress

import pytest

from node.config import Listener as Policy
from node.config import Peer
from node.errors import PeerUnavailable
from node.net import scu
from node.net.scp import Listener

pytestmark = pytest.mark.associations


@pytest.fixture(params=[True, False], ids=["lean", "pynetdicom"])
def fast(request):
    return request.param


ABORT, REJECT = 0x07, 0x03
QUICK = {"handshake_timeout_s": 0.5, "idle_timeout_s": 0.5}


def pdv(control, fragment, context=3):
    """One P-DATA-TF with one fragment (PS3.8 9.3.5)."""
    item = bytes([context, control]) + fragment
    body = len(item).to_bytes(4, "big") + item
    return b"\x04\x00" + len(body).to_bytes(4, "big") + body


C_ECHO_RQ = bytes.fromhex(
    "00000000 04000000 38000000"
    "00000200 12000000 312e322e3834302e31303030382e312e3100"
    "00000001 02000000 3000"
    "00001001 02000000 0100"
    "00000008 02000000 0101".replace(" ", "")
)
C_STORE_RQ = bytes.fromhex(
    "00000000 04000000 4a000000"
    "00000200 1a000000 312e322e3834302e31303030382e352e312e342e312e312e3200"
    "00000001 02000000 0100"
    "00001001 02000000 0100"
    "00000007 02000000 0000"
    "00000008 02000000 0000"
    "00000010 04000000 312e3200".replace(" ", "")
)


def others_are_served(peer):
    scu.echo(peer, calling_ae_title="PACS", timeout_s=5)


def closed_within(connection, seconds):
    """Whether the peer closes; what it says before is read and dropped."""
    connection.settimeout(seconds)
    try:
        while connection.recv(4096):
            pass
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False
    return True


def test_who_says_nothing_is_closed_and_keeps_nobody_waiting(listening, intake, raw):
    peer = listening(intake.receive, max_associations=1, **QUICK)
    silent = [raw(peer.port) for _ in range(5)]

    others_are_served(peer)

    assert all(closed_within(connection, 5) for connection in silent)


@pytest.mark.parametrize("sent", [1, 5, 6, 40])
def test_a_request_that_never_ends_is_closed(listening, intake, raw, associate_request, sent):
    peer = listening(intake.receive, **QUICK)
    connection = raw(peer.port)
    connection.sendall(associate_request[:sent])

    others_are_served(peer)

    assert closed_within(connection, 5)


def test_a_request_of_a_byte_now_and_then_is_closed(listening, intake, raw, associate_request):
    """Each byte alone comes in time; the whole does not."""
    peer = listening(intake.receive, handshake_timeout_s=0.5)
    connection = raw(peer.port)
    sent = 0
    for sent in range(100):
        try:
            connection.sendall(associate_request[sent : sent + 1])
        except OSError:
            break
        time.sleep(0.05)

    assert sent < 90


def test_an_association_that_goes_silent_is_aborted(listening, intake, associated, read_pdu):
    peer = listening(intake.receive, **QUICK)

    assert read_pdu(associated(peer.port))[0] == ABORT


@pytest.mark.parametrize("sent", [3, 6, 500])
def test_a_pdu_that_never_ends_is_aborted(listening, intake, associated, read_pdu, sent):
    ended = threading.Event()
    peer = listening(intake.receive, closed=lambda _: ended.set(), **QUICK)
    connection = associated(peer.port)
    connection.sendall(pdv(0x02, bytes(1000))[:sent])

    others_are_served(peer)

    assert read_pdu(connection)[0] == ABORT
    assert ended.wait(5)


def test_a_data_set_of_a_fragment_now_and_then_is_aborted(listening, intake, associated, read_pdu):
    """Each PDU comes in time; the message does not."""
    peer = listening(intake.receive, idle_timeout_s=5, message_timeout_s=0.5)
    connection = associated(peer.port)
    connection.sendall(pdv(0x03, C_STORE_RQ))
    stop = threading.Event()

    def trickle():
        while not stop.wait(0.05):
            try:
                connection.sendall(pdv(0x00, b"\0\0"))
            except OSError:
                return

    sender = threading.Thread(target=trickle)
    sender.start()
    try:
        assert read_pdu(connection)[0] == ABORT
    finally:
        stop.set()
        sender.join()


def test_messages_one_after_the_other_are_not_one_long_message(
    listening, intake, associated, read_pdu
):
    peer = listening(intake.receive, message_timeout_s=0.3)
    connection = associated(peer.port)
    for _ in range(5):
        connection.sendall(pdv(0x03, C_ECHO_RQ, context=1))
        assert read_pdu(connection)[0] == 0x04
        time.sleep(0.1)


def test_who_does_not_read_our_answers_is_given_up(listening, intake, associated):
    """Answers fill the buffers of both sides; then ours cannot be sent."""
    ended = threading.Event()
    peer = listening(intake.receive, closed=lambda _: ended.set(), idle_timeout_s=0.5)
    connection = associated(peer.port, receive_buffer=4096)
    connection.settimeout(0.2)
    asked = pdv(0x03, C_ECHO_RQ, context=1) * 20
    until = time.monotonic() + 20
    while not ended.is_set() and time.monotonic() < until:
        try:
            connection.sendall(asked)
        except TimeoutError:
            continue
        except OSError:
            break
        time.sleep(0.02)  # the node answers meanwhile: it is not flooded, only unread

    assert ended.wait(10)
    others_are_served(peer)


def test_who_does_not_read_our_answers_keeps_nobody_waiting(listening, intake, associated):
    """Until it is given up, which takes a minute here, others are served as ever."""
    peer = listening(intake.receive, idle_timeout_s=60)
    connection = associated(peer.port, receive_buffer=4096)
    connection.settimeout(0.5)
    asked = pdv(0x03, C_ECHO_RQ, context=1) * 200
    until = time.monotonic() + 20
    with suppress(OSError):  # until we are not read any more, or given up for other reasons
        while time.monotonic() < until:
            connection.sendall(asked)
            time.sleep(0.01)

    others_are_served(peer)
    others_are_served(peer)


def test_a_command_without_end_is_aborted(listening, intake, associated, read_pdu):
    peer = listening(intake.receive)
    connection = associated(peer.port)
    connection.sendall(pdv(0x01, bytes(16000)) * 5)

    assert read_pdu(connection)[0] == ABORT


def test_requests_without_end_are_aborted_before_they_fill_the_memory(
    listening, associated, read_pdu
):
    """The first is never answered; hundreds follow it all the same, and pynetdicom reads on."""
    hold = threading.Event()
    peer = listening(lambda _arrival: hold.wait(20) and None, fast=False)
    connection = associated(peer.port)
    connection.sendall(pdv(0x03, C_STORE_RQ) + pdv(0x02, b"\0\0"))
    connection.sendall(pdv(0x03, C_ECHO_RQ, context=1) * 300)

    said = read_pdu(connection)
    hold.set()

    assert said[0] == ABORT


def test_instances_that_do_not_wait_for_an_answer_are_aborted_before_they_fill_the_memory(
    listening, associated, read_pdu
):
    """One of 600 kB is held while the next one comes: beyond the 1 MB of one instance."""
    hold, taken = threading.Event(), []

    def receive(arrival):
        hold.wait(20)
        taken.append(arrival)

    peer = listening(receive, max_instance_bytes=1_000_000, fast=False)
    connection = associated(peer.port)
    one = pdv(0x03, C_STORE_RQ) + pdv(0x00, bytes(100_000)) * 6 + pdv(0x02, b"\0\0")
    connection.sendall(one * 2)
    said = read_pdu(connection)
    hold.set()

    assert said[0] == ABORT
    assert all(len(arrival.part10) > 600_000 for arrival in taken)  # never half an instance


@pytest.mark.parametrize("associated_first", [False, True])
def test_a_pdu_of_four_gigabytes_is_aborted_before_it_comes(
    listening, intake, raw, associated, read_pdu, associated_first
):
    peer = listening(intake.receive, max_pdu_bytes=16384)
    connection = (associated if associated_first else raw)(peer.port)
    tracemalloc.start()
    try:
        connection.sendall(bytes([0x04 if associated_first else 0x01]) + b"\x00\xff\xff\xff\xff")
        answer = read_pdu(connection)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert answer[0] == ABORT
    assert peak < 10_000_000


def test_a_pdu_longer_than_we_asked_for_is_aborted(listening, intake, associated, read_pdu):
    """16384 bytes are what we told; 6 of the item come on top of the fragment."""
    peer = listening(intake.receive, max_pdu_bytes=16384)
    fits, too_long = bytes(16384 - 6), bytes(16384 - 5)

    connection = associated(peer.port)
    connection.sendall(pdv(0x03, C_STORE_RQ) + pdv(0x00, fits) + pdv(0x00, too_long)[:6])

    assert read_pdu(connection)[0] == ABORT


@pytest.mark.parametrize("what", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01" * 40])
def test_what_is_no_dicom_is_aborted(listening, intake, raw, read_pdu, what):
    peer = listening(intake.receive)
    connection = raw(peer.port)
    connection.sendall(what)

    assert closed_within(connection, 5)
    others_are_served(peer)


def test_one_address_gets_no_more_than_its_share(listening, intake, associated, raw, read_pdu):
    ends = threading.Semaphore(0)
    peer = listening(
        intake.receive,
        closed=lambda _: ends.release(),
        max_associations=16,
        max_associations_per_address=2,
    )
    first, second = associated(peer.port), associated(peer.port)

    with pytest.raises(PeerUnavailable, match=r"(?i)local limit exceeded"):
        scu.echo(peer, calling_ae_title="PACS")

    first.close()
    second.close()
    assert ends.acquire(timeout=10)
    assert ends.acquire(timeout=10)
    others_are_served(peer)


def test_one_address_cannot_open_connections_without_end(listening, intake, raw):
    """Two for associations and four that have not spoken yet are left, of ten."""
    peer = listening(intake.receive, max_associations_per_address=2, handshake_timeout_s=60)
    connections = [raw(peer.port) for _ in range(10)]

    until = time.monotonic() + 10
    while len(closed_of(connections)) < 4 and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(0.1)

    assert len(closed_of(connections)) == 4


def closed_of(connections):
    return select.select(connections, [], [], 0)[0]


def test_a_listener_of_ipv6_takes_known_peers_too(intake, free_port):
    known = {"ae_title": "PACS", "addresses": ["::1/128"]}
    policy = Policy.model_validate({"host": "::1", "port": free_port, "peers": [known]})
    peer = Peer(ae_title="PETCTNODE", host="::1", port=free_port)
    try:
        listener = Listener(policy, receive=intake.receive, closed=lambda _association: None)
    except OSError:
        pytest.skip("no IPv6 on this machine")
    with listener:
        others_are_served(peer)
        with pytest.raises(PeerUnavailable, match=r"(?i)calling AE title"):
            scu.echo(peer, calling_ae_title="CT1")


def test_the_listener_stops_at_once_whatever_its_peers_are_doing(
    free_port, intake, raw, associated, associate_request
):
    listener = Listener(
        Policy(port=free_port), receive=intake.receive, closed=lambda _association: None
    )
    raw(free_port)
    raw(free_port).sendall(associate_request[:20])
    associated(free_port)
    associated(free_port).sendall(pdv(0x02, bytes(1000))[:30])

    start = time.monotonic()
    listener.close()

    assert time.monotonic() - start < 6


def test_a_destination_that_stalls_does_not_hold_the_sender(free_port):
    """It takes the connection, sends the first byte of an answer and says no more."""
    with socket.create_server(("127.0.0.1", free_port)) as server:

        def half_an_answer():
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"\x02")
                done.wait(20)

        done = threading.Event()
        thread = threading.Thread(target=half_an_answer)
        thread.start()
        peer = Peer(ae_title="PACS", host="127.0.0.1", port=free_port)
        start = time.monotonic()
        with pytest.raises(PeerUnavailable):
            scu.echo(peer, calling_ae_title="NODE", timeout_s=0.5)
        took = time.monotonic() - start
        done.set()
        thread.join()

    assert took < 5
