"""What is read of a request for an association, and what of it is remembered."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from node.net import syntaxes
from node.net.opening import REMEMBERED_BYTES, Openings

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
LONGEST_PDU = 131072


@pytest.fixture
def openings():
    return Openings(syntaxes.accepted(), LONGEST_PDU)


def with_item(request, kind, content):
    """The request with one more item behind the others."""
    item = bytes([kind, 0]) + len(content).to_bytes(2, "big") + content
    body = request[6:] + item
    return request[:2] + len(body).to_bytes(4, "big") + body


def test_a_request_tells_who_calls_and_what_is_accepted(openings, associate_request):
    opening = openings.of(associate_request)

    assert (opening.calling_ae_title, opening.called_ae_title) == ("PACS", "PETCTNODE")
    assert opening.transfer_syntaxes[3] == EXPLICIT
    assert opening.longest_answer == 16384
    assert opening.acceptance[0] == 0x02


def test_the_same_request_again_is_not_read_again(openings, associate_request):
    first = openings.of(associate_request)

    assert openings.of(bytes(bytearray(associate_request))) is first


def test_another_caller_with_the_same_contexts_is_another(openings, associate_request):
    other = associate_request.replace(b"PACS            ", b"ARCHIVE         ")
    assert other != associate_request

    titles = [openings.of(one).calling_ae_title for one in (associate_request, other)]

    assert titles == ["PACS", "ARCHIVE"]
    assert b"ARCHIVE" in openings.of(other).acceptance


def test_who_asks_for_more_than_storage_is_left_to_pynetdicom_every_time(
    openings, associate_request
):
    """Extended negotiation for CT (PS3.7 D.3.3.5), which the lean reader does not answer."""
    user_information = associate_request.rindex(b"\x50\x00")
    extended = b"\x56\x00\x00\x1c\x00\x19" + CT.encode() + b"\x02"
    length = int.from_bytes(associate_request[user_information + 2 : user_information + 4], "big")
    body = (
        associate_request[6:user_information]
        + b"\x50\x00"
        + (length + len(extended)).to_bytes(2, "big")
        + associate_request[user_information + 4 :]
        + extended
    )
    asked = associate_request[:2] + len(body).to_bytes(4, "big") + body

    assert [openings.of(asked), openings.of(asked)] == [None, None]


def lengthened(request, beyond):
    """With a context of an abstract syntax that nobody knows, many times (PS3.8 9.3.2.2)."""
    syntax = b"\x30\x00\x00\x05" + b"1.2.3" + b"\x40\x00\x00\x11" + b"1.2.840.10008.1.2"
    while len(request) <= beyond:
        request = with_item(request, 0x20, b"\x05\x00\x00\x00" + syntax)
    return request


def test_many_that_come_at_once_with_the_same_request_have_it_read_once(
    openings, associate_request
):
    """Half the length that is remembered: it takes several turns of the interpreter."""
    long = lengthened(associate_request, REMEMBERED_BYTES // 2)
    together = Barrier(4)

    def read(_):
        together.wait(timeout=10)
        return openings.of(long)

    with ThreadPoolExecutor(4) as threads:
        first, *others = threads.map(read, range(4))

    assert all(one is first for one in others)


def test_a_request_of_great_length_is_read_and_not_remembered(openings, associate_request):
    long = lengthened(associate_request, REMEMBERED_BYTES)

    first, second = openings.of(long), openings.of(long)

    assert first == second
    assert first is not second
