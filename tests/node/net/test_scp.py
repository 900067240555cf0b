import subprocess
import threading
import time

import pytest
from pydicom import dcmread
from pydicom.uid import generate_uid
from pynetdicom import AE
from pynetdicom.dsutils import split_dataset
from pynetdicom.presentation import build_context

from db import instances
from db.engine import reading, writing
from node.dicom.headers import identify
from node.errors import NotUnderstood, PeerUnavailable
from node.instance import Outgoing
from node.intake import Intake
from node.net import scu, syntaxes
from node.net.part10 import part10
from node.store import Store
from tests.arriving import kept

pytestmark = pytest.mark.associations


@pytest.fixture(params=[True, False], ids=["lean", "pynetdicom"])
def fast(request):
    return request.param


CT = "1.2.840.10008.5.1.4.1.1.2"


def send(peer, *objects, caller="PACS"):
    return scu.send(peer, objects, calling_ae_title=caller, timeout_s=10)


def data_set_of(path):
    """The bytes behind the file meta information."""
    _, offset = split_dataset(path)
    return path.read_bytes()[offset:]


def test_success_means_the_row_is_committed_and_the_bytes_are_the_ones_sent(
    listening, intake, engine, store, parcel, data_set
):
    sent = parcel(data_set("1.2.3.1.1", comment="as it came"), "1.2.3.1.1")

    (answer,) = send(listening(intake.receive), sent)

    assert answer.status == 0x0000
    with reading(engine) as connection:
        row = instances.find(connection, "1.2.3.1.1")
    assert store.read(row.path) == sent.path.read_bytes()
    assert (row.study_instance_uid, row.modality, row.calling_ae_title) == ("1.2.3", "CT", "PACS")


def test_success_is_not_answered_before_the_row_is_committed(
    listening, intake, engine, parcel, data_set
):
    """While another writer holds the database, the answer waits."""
    peer = listening(intake.receive)
    answers = []
    with writing(engine):
        sender = threading.Thread(
            target=lambda: answers.extend(send(peer, parcel(data_set("1.1"), "1.1")))
        )
        sender.start()
        time.sleep(0.3)
        assert answers == []
    sender.join()

    assert answers[0].status == 0x0000


def test_an_instance_of_storescu_is_stored(listening, intake, engine, store, test_data):
    """storescu writes the data set anew; the compressed pixels stay what they are."""
    path = test_data / "wg04-compression" / "JLSL" / "CT1_JLSL"
    peer = listening(intake.receive)

    subprocess.run(
        ["storescu", "-aec", peer.ae_title, "-xt", "127.0.0.1", str(peer.port), str(path)],
        check=True,
        timeout=20,
    )

    sent = dcmread(path)
    with reading(engine) as connection:
        row = instances.find(connection, sent.SOPInstanceUID)
    assert row.transfer_syntax_uid == "1.2.840.10008.1.2.4.80"
    assert dcmread(store.path(row.path)).PixelData == sent.PixelData


def test_echoscu_is_answered(listening, intake):
    peer = listening(intake.receive)

    subprocess.run(["echoscu", "127.0.0.1", str(peer.port)], check=True, timeout=20)


def storable(folder):
    """What of a folder we say that we take, each UID once."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        try:
            identify(path.read_bytes())
            one = scu.outgoing(path)
        except NotUnderstood:
            continue
        if (
            one.sop_class_uid in syntaxes.STORED
            and one.transfer_syntax_uid in syntaxes.TRANSFER_SYNTAXES
        ):
            found.setdefault(one.sop_instance_uid, one)
    return list(found.values())


@pytest.mark.filterwarnings("ignore::UserWarning")  # what pydicom says of odd files
@pytest.mark.parametrize("folder", ["pydicom-odd-and-malformed", "wg04-compression"])
def test_every_encoding_is_kept_bit_for_bit(listening, intake, engine, store, test_data, folder):
    """Big endian, deflated, JPEG 2000, JPEG-LS ... : what lies behind the meta is what was sent."""
    objects = storable(test_data / folder)
    assert len(objects) >= 6

    answers = send(listening(intake.receive), *objects)

    assert {answer.status for answer in answers} == {0x0000}
    with reading(engine) as connection:
        for one in objects:
            row = instances.find(connection, one.sop_instance_uid)
            assert row.transfer_syntax_uid == one.transfer_syntax_uid
            assert store.read(row.path).endswith(data_set_of(one.path))


@pytest.mark.filterwarnings("ignore::UserWarning")  # what pydicom says of odd files
def test_no_malformed_file_brings_the_node_down(listening, intake, engine, parcel, test_data):
    """Each is pushed raw as a CT, in four encodings; the answer is Success or a clear refusal."""
    peer = listening(intake.receive)
    contents = [
        path.read_bytes()
        for path in sorted((test_data / "pydicom-odd-and-malformed").iterdir())
        if path.suffix not in {".txt", ".gz"}
    ]
    for syntax in syntaxes.TRANSFER_SYNTAXES[:3] + syntaxes.TRANSFER_SYNTAXES[9:11]:
        parcels = [parcel(content, generate_uid(), syntax=syntax) for content in contents]
        statuses = {answer.status for answer in send(peer, *parcels)}
        assert statuses <= {0x0000, 0xC000}
        assert 0xC000 in statuses

    scu.echo(peer, calling_ae_title="PACS")


@pytest.mark.parametrize("content", [b"", b"\x00", b"\xff" * 64, b"\x08\x00\x18\x00UI\xff\xff1"])
def test_garbage_is_not_understood(listening, intake, parcel, content):
    (answer,) = send(listening(intake.receive), parcel(content, "1.1"))

    assert answer.status in {0xC000, 0x0110, None} or answer.status >= 0xC000


def test_a_data_set_under_another_uid_than_the_request_is_refused(
    listening, intake, engine, parcel, data_set
):
    (answer,) = send(listening(intake.receive), parcel(data_set("1.1"), "1.2"))

    assert answer.status == 0xC000
    assert "differ" in answer.comment
    with reading(engine) as connection:
        assert instances.find(connection, "1.1") is None


def test_a_full_disk_is_answered_with_out_of_resources(
    listening, engine, clock, tmp_path, parcel, data_set
):
    full = Intake(engine, Store(tmp_path / "full", free_bytes_min=2**62), identify, clock)
    peer = listening(full.receive)

    (answer,) = send(peer, parcel(data_set("1.1"), "1.1"))

    assert answer.status == 0xA700
    with reading(engine) as connection:
        assert instances.find(connection, "1.1") is None
    assert not list((tmp_path / "full").rglob("*.dcm"))
    scu.echo(peer, calling_ae_title="PACS")


def test_a_failing_database_is_answered_with_out_of_resources(
    listening, intake, engine, parcel, data_set
):
    with writing(engine) as connection:
        connection.exec_driver_sql("ALTER TABLE instances RENAME TO elsewhere")

    (answer,) = send(listening(intake.receive), parcel(data_set("1.1"), "1.1"))

    assert answer.status == 0xA700


def test_other_bytes_under_a_known_uid_are_refused_and_kept_aside(
    listening, intake, engine, store, parcel, data_set
):
    peer = listening(intake.receive)
    first = parcel(data_set("1.1", comment="first"), "1.1")
    other = parcel(data_set("1.1", comment="other"), "1.1")

    statuses = [answer.status for answer in send(peer, first, other, first)]

    assert statuses == [0x0000, 0xC001, 0x0000]
    with reading(engine) as connection:
        row = instances.find(connection, "1.1")
        (aside,) = instances.kept_aside(connection, "1.2.3")
    assert store.read(row.path) == first.path.read_bytes()
    assert store.read(aside.path) == other.path.read_bytes()


def test_an_instance_beyond_the_limit_gets_an_answer_and_the_next_one_is_taken(
    listening, intake, engine, parcel, data_set
):
    peer = listening(intake.receive, max_instance_bytes=1_000_000, max_pdu_bytes=16384)
    large = parcel(data_set("1.1") + bytes(5_000_000), "1.1")
    small = parcel(data_set("1.2"), "1.2")

    statuses = [answer.status for answer in send(peer, large, small)]

    assert statuses == [0xA700, 0x0000]


def test_no_more_than_the_limit_is_held_of_an_instance(listening, parcel, data_set):
    """A bug in receive would show here: it is not called for what is too long."""
    taken = []
    peer = listening(taken.append, max_instance_bytes=1_000_000)

    send(peer, parcel(data_set("1.1") + bytes(5_000_000), "1.1"))

    assert taken == []


def test_a_bug_of_ours_costs_one_status_and_not_the_association(listening, parcel, data_set):
    calls = []

    def receive(arrival):
        calls.append(arrival.sop_instance_uid)
        if len(calls) == 1:
            raise ZeroDivisionError

    statuses = [
        answer.status
        for answer in send(
            listening(receive), parcel(data_set("1.1"), "1.1"), parcel(data_set("1.2"), "1.2")
        )
    ]

    assert statuses == [0x0110, 0x0000]
    assert calls == ["1.1", "1.2"]


def test_an_unknown_caller_is_rejected_and_a_known_one_is_taken(listening, intake):
    peer = listening(intake.receive, calling_ae_titles=("PACS",))

    scu.echo(peer, calling_ae_title="PACS")
    with pytest.raises(PeerUnavailable, match=r"(?i)calling AE title"):
        scu.echo(peer, calling_ae_title="INTRUDER")


@pytest.mark.parametrize(("required", "taken"), [(True, False), (False, True)])
def test_who_calls_us_by_another_title_is_rejected_where_that_is_required(
    listening, intake, required, taken
):
    peer = listening(intake.receive, require_called_ae_title=required)
    mistaken = peer.model_copy(update={"ae_title": "SOMEONE"})

    if taken:
        scu.echo(mistaken, calling_ae_title="PACS")
    else:
        with pytest.raises(PeerUnavailable, match=r"(?i)called AE title"):
            scu.echo(mistaken, calling_ae_title="PACS")


def test_one_association_too_many_is_rejected_for_now(listening, intake):
    peer = listening(intake.receive, max_associations=1)
    ae = AE()
    first = ae.associate("127.0.0.1", peer.port, contexts=[build_context("1.2.840.10008.1.1")])
    assert first.is_established

    with pytest.raises(PeerUnavailable, match=r"(?i)rejected"):
        scu.echo(peer, calling_ae_title="PACS")

    first.release()


def test_what_is_not_stored_is_not_accepted_and_the_rest_is(listening, intake, parcel, data_set):
    peer = listening(intake.receive)
    ultrasound = parcel(data_set("1.1"), "1.1", sop_class="1.2.840.10008.5.1.4.1.1.6.1")
    mpeg = parcel(data_set("1.2"), "1.2", syntax="1.2.840.10008.1.2.4.102")
    ct = parcel(data_set("1.3"), "1.3")

    answers = send(peer, ultrasound, mpeg, ct)

    assert [answer.status for answer in answers] == [None, None, 0x0000]
    assert "does not take" in answers[0].comment


@pytest.mark.parametrize("how", ["release", "abort"])
def test_the_end_of_an_association_is_told_once_whatever_it_was(listening, data_set, parcel, how):
    ended = []
    told = threading.Event()
    arrivals = []

    def closed(association):
        ended.append(association)
        told.set()

    peer = listening(kept(arrivals), closed=closed)
    contexts = [build_context(CT, "1.2.840.10008.1.2.1")]
    association = AE().associate("127.0.0.1", peer.port, contexts=contexts)
    association.send_c_store(parcel(data_set("1.1"), "1.1").path)
    getattr(association, how)()

    assert told.wait(5)
    time.sleep(0.2)
    assert ended == [arrivals[0].association]


def test_a_peer_that_vanishes_ends_its_association(listening, data_set):
    told = threading.Event()
    peer = listening(lambda _arrival: None, closed=lambda _association: told.set())
    association = AE().associate("127.0.0.1", peer.port, contexts=[build_context(CT)])

    association.dul.socket.socket.close()

    assert told.wait(5)
    association.kill()


def test_the_same_data_set_gives_the_same_bytes_by_hand():
    """Preamble, DICM, group length 12, then (0002,0001) ... as PS3.10 7.1 lists them."""
    content = part10(
        b"data", sop_class_uid="1.2", sop_instance_uid="1.3", transfer_syntax_uid="1.2.840"
    )

    assert content[:132] == bytes(128) + b"DICM"
    assert content[132:140] == b"\x02\x00\x00\x00UL\x04\x00"
    assert content[144:158] == b"\x02\x00\x01\x00OB\x00\x00\x02\x00\x00\x00\x00\x01"
    assert content[158:170] == b"\x02\x00\x02\x00UI\x04\x001.2\x00"
    assert int.from_bytes(content[140:144], "little") == len(content) - 144 - len(b"data")
    assert content.endswith(b"data")


def test_ten_instances_follow_each_other_without_a_stall(listening, intake, parcel, data_set):
    """With Nagle against delayed acknowledgements each would take 40 ms more."""
    peer = listening(intake.receive)
    objects = [parcel(data_set(f"1.{n}") + bytes(10_000), f"1.{n}") for n in range(1, 11)]

    start = time.monotonic()
    answers = send(peer, *objects)

    assert {answer.status for answer in answers} == {0x0000}
    assert time.monotonic() - start < 5


def test_outgoing_reads_the_meta_of_a_file(parcel, data_set):
    made = parcel(data_set("1.1"), "1.1")

    assert scu.outgoing(made.path) == Outgoing(
        sop_class_uid=CT,
        sop_instance_uid="1.1",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        path=made.path,
    )
