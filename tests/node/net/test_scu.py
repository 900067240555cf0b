import subprocess
import time

import pytest
from pynetdicom import AE, StoragePresentationContexts, build_context, evt
from pynetdicom.dimse_primitives import C_ECHO

from node.config import Peer
from node.errors import NotUnderstood, PeerUnavailable
from node.net import scu
from node.net.association import associate
from node.net.syntaxes import VERIFICATION

# pynetdicom 3.0.4 leaves the socket of a refused connection to the garbage collector.
pytestmark = [
    pytest.mark.associations,
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]


@pytest.fixture
def storescp(free_port, tmp_path):
    """Starts DCMTK's storescp; gives the peer and the folder that it fills."""
    started = []

    def start(*options):
        folder = tmp_path / "pacs"
        folder.mkdir()
        command = ["storescp", "-od", str(folder), "+xa", *options, str(free_port)]
        started.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))
        peer = Peer(ae_title="PACS", host="127.0.0.1", port=free_port)
        deadline = time.monotonic() + 10
        while True:
            try:
                scu.echo(peer, calling_ae_title="NODE", timeout_s=2)
            except PeerUnavailable:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return peer, folder

    yield start
    for one in started:
        one.kill()
        one.wait()


def send(peer, *objects):
    return scu.send(peer, objects, calling_ae_title="NODE", timeout_s=2)


def test_another_implementation_takes_what_we_send(storescp, parcel, data_set):
    peer, folder = storescp("--bit-preserving")
    content = data_set("1.2.3.4", comment="as it is")

    (answer,) = send(peer, parcel(content, "1.2.3.4"))

    assert (answer.status, answer.taken, answer.warning) == (0x0000, True, False)
    (path,) = folder.iterdir()
    assert path.read_bytes().endswith(content)


def test_a_peer_that_is_down_is_unavailable(free_port, parcel, data_set):
    peer = Peer(ae_title="PACS", host="127.0.0.1", port=free_port)

    with pytest.raises(PeerUnavailable, match=rf"PACS at 127\.0\.0\.1:{free_port}"):
        send(peer, parcel(data_set("1.1"), "1.1"))
    with pytest.raises(PeerUnavailable):
        scu.echo(peer, calling_ae_title="NODE", timeout_s=1)


def test_a_host_without_a_name_is_unavailable():
    peer = Peer(ae_title="PACS", host="no-such-host.invalid", port=104)

    with pytest.raises(PeerUnavailable, match="no-such-host"):
        scu.echo(peer, calling_ae_title="NODE", timeout_s=1)


def test_a_peer_that_refuses_every_association_is_unavailable(listening, parcel, data_set):
    peer = listening(lambda _arrival: None, calling_ae_titles=("PACS",))

    with pytest.raises(PeerUnavailable, match=r"(?i)rejected"):
        send(peer, parcel(data_set("1.1"), "1.1"))


def test_an_association_that_breaks_leaves_the_rest_unanswered(storescp, parcel, data_set):
    peer, _ = storescp("--abort-during")
    objects = [parcel(data_set(f"1.{n}"), f"1.{n}") for n in (1, 2)]

    answers = send(peer, *objects)

    assert [answer.status for answer in answers] == [None, None]
    assert not any(answer.taken for answer in answers)


def test_after_an_object_without_an_answer_no_other_is_sent(free_port, parcel, data_set):
    """pynetdicom still calls an association established that the peer has just aborted."""
    seen = []

    def abort(event: evt.Event) -> int:
        seen.append(str(event.request.AffectedSOPInstanceUID))
        event.assoc.abort()
        return 0x0000

    ae = AE(ae_title="PACS")
    ae.supported_contexts = StoragePresentationContexts
    handlers = [(evt.EVT_C_STORE, abort)]
    server = ae.start_server(("127.0.0.1", free_port), block=False, evt_handlers=handlers)
    peer = Peer(ae_title="PACS", host="127.0.0.1", port=free_port)
    objects = [parcel(data_set(f"1.{n}"), f"1.{n}") for n in (1, 2, 3)]

    answers = send(peer, *objects)

    server.shutdown()
    assert [str(answer) for answer in answers] == [
        "no answer",
        "the association broke before",
        "the association broke before",
    ]
    assert seen == ["1.1"]


def test_nothing_to_send_opens_no_association(free_port):
    assert send(Peer(ae_title="PACS", host="127.0.0.1", port=free_port)) == []


@pytest.mark.parametrize(
    ("status", "taken", "warning"),
    [(0x0000, True, False), (0xB000, True, True), (0xB007, True, True), (0xA700, False, False)],
)
def test_a_warning_is_kept_and_a_failure_is_not(status, taken, warning):
    """PS3.4 table B.2-1: 0xBxxx is stored all the same."""
    answer = scu.Sent(sop_instance_uid="1.1", status=status)

    assert (answer.taken, answer.warning) == (taken, warning)
    assert f"0x{status:04X}" in str(answer)


def test_a_file_that_is_no_part_10_file_is_not_understood(tmp_path):
    path = tmp_path / "x.dcm"
    path.write_bytes(b"text")

    with pytest.raises(NotUnderstood, match="x"):
        scu.outgoing(path)


def test_the_reactor_leaves_an_answer_to_who_waits_for_it_and_the_order_as_it_came(storescp):
    peer, _ = storescp()
    first, second = C_ECHO(), C_ECHO()
    first.MessageIDBeingRespondedTo, second.MessageIDBeingRespondedTo = 1, 2
    with associate(
        peer, calling_ae_title="NODE", contexts=[build_context(VERIFICATION)], timeout_s=10
    ) as association:
        association._reactor_checkpoint.clear()  # as every send does before it asks
        association.dimse.msg_queue.put((1, first))
        association.dimse.msg_queue.put((1, second))

        for _ in range(3):
            assert association.dimse.get_msg(block=False) == (None, None)  # as the reactor looks

        assert association.dimse.get_msg(block=True) == (1, first)
        assert association.dimse.get_msg(block=True) == (1, second)
        association._reactor_checkpoint.set()
