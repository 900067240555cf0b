"""Certificates made for the tests, a raw socket to a listener, and what it wrote to its log."""

import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from pynetdicom import AE
from pynetdicom.pdu import A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import A_ASSOCIATE, MaximumLengthNotification
from pynetdicom.pdu_primitives import ImplementationClassUIDNotification as ClassUid
from pynetdicom.presentation import build_context

VERIFICATION = "1.2.840.10008.1.1"
CT = "1.2.840.10008.5.1.4.1.1.2"


class Authority:
    """A certification authority of one test run."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.ca = folder / f"{name}-ca.pem"
        self._key = folder / f"{name}-ca.key"
        self._openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-keyout", self._key, "-out", self.ca, "-days", "2", "-subj", f"/CN={name} CA"),
        )

    def issue(self, name: str, *, days: int = 2, password: str = "", rsa: int = 0) -> Path:
        """Issue a certificate for loopback; its key lies beside it as ``.key``."""
        certificate = self.folder / f"{name}.pem"
        key, request = certificate.with_suffix(".key"), certificate.with_suffix(".csr")
        kind = [f"rsa:{rsa}"] if rsa else ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        secret = ["-passout", f"pass:{password}"] if password else ["-nodes"]
        self._openssl(
            *("req", "-newkey", *kind, *secret, "-keyout", key, "-out", request),
            *("-subj", f"/O=Tests/CN={name}"),
        )
        extensions = certificate.with_suffix(".ext")
        extensions.write_text(f"subjectAltName=IP:127.0.0.1,DNS:{name}.example\n")
        self._openssl(
            *("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self._key),
            *("-CAcreateserial", "-days", days, "-extfile", extensions, "-out", certificate),
        )
        return certificate

    @staticmethod
    def _openssl(*arguments: object) -> None:
        subprocess.run(
            ["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=60
        )


@pytest.fixture(scope="session")
def authority(tmp_path_factory) -> Authority:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make certificates with")
    made = Authority(tmp_path_factory.mktemp("certificates"), "hospital")
    for name in ("node", "pacs", "other"):
        made.issue(name)
    return made


@pytest.fixture(scope="session")
def stranger(authority) -> Authority:
    """Another authority, which nobody here trusts."""
    made = Authority(authority.folder, "stranger")
    made.issue("intruder")
    return made


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
