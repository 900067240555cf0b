"""A raw socket to a listener, and an association that is negotiated by hand."""

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from pynetdicom import AE
from pynetdicom.pdu import A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import A_ASSOCIATE, MaximumLengthNotification
from pynetdicom.pdu_primitives import ImplementationClassUIDNotification as ClassUid
from pynetdicom.presentation import build_context

VERIFICATION = "1.2.840.10008.1.1"
CT = "1.2.840.10008.5.1.4.1.1.2"


@pytest.fixture
def raw() -> Iterator[Callable[..., socket.socket]]:
    """Opens a plain connection, as no DICOM library would use it."""
    with ExitStack() as stack:

        def connect(port: int, *, receive_buffer: int = 0) -> socket.socket:
            connection = stack.enter_context(socket.socket())
            if receive_buffer:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            connection.settimeout(10)
            connection.connect(("127.0.0.1", port))
            return connection

        yield connect


@pytest.fixture(scope="session")
def associate_request() -> bytes:
    """The A-ASSOCIATE-RQ of a caller PACS who offers Verification and CT."""
    asked = A_ASSOCIATE()
    asked.application_context_name = "1.2.840.10008.3.1.1.1"
    asked.calling_ae_title, asked.called_ae_title = "PACS", "PETCTNODE"
    longest, implementation = MaximumLengthNotification(), ClassUid()
    longest.maximum_length_received = 16384
    implementation.implementation_class_uid = AE().implementation_class_uid
    asked.user_information = [longest, implementation]
    contexts = [build_context(VERIFICATION), build_context(CT, "1.2.840.10008.1.2.1")]
    for number, context in enumerate(contexts):
        context.context_id = 2 * number + 1
    asked.presentation_context_definition_list = contexts
    pdu = A_ASSOCIATE_RQ()
    pdu.from_primitive(asked)
    return pdu.encode()


def read_pdu(connection: socket.socket) -> bytes:
    """The next PDU; empty where the peer has closed."""
    header = _exactly(connection, 6)
    return header + _exactly(connection, int.from_bytes(header[2:6], "big")) if header else b""


def _exactly(connection: socket.socket, length: int) -> bytes:
    read = b""
    while len(read) < length:
        try:
            more = connection.recv(length - len(read))
        except ConnectionResetError:
            more = b""
        if not more:
            return b""
        read += more
    return read


@pytest.fixture(name="read_pdu")
def _read_pdu() -> Callable[[socket.socket], bytes]:
    return read_pdu


@pytest.fixture
def associated(raw, associate_request) -> Callable[[int], socket.socket]:
    """Opens a connection and negotiates an association by hand."""

    def associate(port: int, **options: int) -> socket.socket:
        connection = raw(port, **options)
        connection.sendall(associate_request)
        assert read_pdu(connection)[0] == 0x02
        return connection

    return associate
