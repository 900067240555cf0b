"""One thread reads for many associations: none of them waits for what another one does."""

import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from node.net import command
from node.net.inbox import TURN_RECEIVES, Gone, Inbox
from node.net.rounds import Rounds
from tests.node.net.messages import COMMAND, DATA_SET, LAST, answered, item, pdu, store_request

pytestmark = pytest.mark.associations

ENOUGH_S = 20


def an_instance(uid="1.2.3.4"):
    return pdu(item(COMMAND | LAST, store_request(uid))) + pdu(item(LAST, DATA_SET))


def status(read_pdu, connection):
    return answered(read_pdu, connection)[0x0900]


def test_whoever_is_kept_alone_keeps_nobody_waiting(listening, associated, read_pdu):
    """The first instance is on its way to a slow disk while the second comes and is answered."""
    came, goes_on = threading.Event(), threading.Event()

    def receive(arrival):
        if arrival.sop_instance_uid == "1.1":
            came.set()
            assert goes_on.wait(ENOUGH_S)

    port = listening(receive).port
    slow, quick = associated(port), associated(port)
    slow.sendall(an_instance("1.1"))
    assert came.wait(ENOUGH_S)
    quick.sendall(an_instance("1.2"))

    assert status(read_pdu, quick) == b"\0\0"
    goes_on.set()
    assert status(read_pdu, slow) == b"\0\0"


def test_what_came_meanwhile_is_kept_together(listening, associated, read_pdu):
    begun, goes_on, groups = threading.Event(), threading.Event(), []

    def together(arrivals):
        groups.append(sorted(one.sop_instance_uid for one in arrivals))
        begun.set()
        assert goes_on.wait(ENOUGH_S)
        return [True] * len(arrivals)

    port = listening(lambda _: pytest.fail("all are kept together"), together=together).port
    first, *others = [associated(port) for _ in range(4)]
    first.sendall(an_instance("1.1"))
    assert begun.wait(ENOUGH_S)
    for at, one in enumerate(others):
        one.sendall(an_instance(f"1.{at + 2}"))
    goes_on.set()

    assert [status(read_pdu, one) for one in (first, *others)] == [b"\0\0"] * 4
    assert groups[0] == ["1.1"]
    assert sorted(uid for group in groups[1:] for uid in group) == ["1.2", "1.3", "1.4"]
    assert len(groups) < 4


def test_of_a_group_only_what_has_to_be_is_kept_one_by_one(listening, associated, read_pdu):
    alone = []
    port = listening(
        lambda arrival: alone.append(arrival.sop_instance_uid),
        together=lambda arrivals: [one.sop_instance_uid != "1.2" for one in arrivals],
    ).port
    connections = [associated(port) for _ in range(3)]
    for at, one in enumerate(connections):
        one.sendall(an_instance(f"1.{at + 1}"))

    assert [status(read_pdu, one) for one in connections] == [b"\0\0"] * 3
    assert alone == ["1.2"]


def test_what_fails_together_is_kept_one_by_one(listening, associated, read_pdu, caplog):
    def together(_arrivals):
        raise ZeroDivisionError

    alone = []
    connection = associated(listening(alone.append, together=together).port)
    connection.sendall(an_instance())

    assert status(read_pdu, connection) == b"\0\0"
    assert [one.sop_instance_uid for one in alone] == ["1.2.3.4"]
    assert "1 instances could not be kept together" in caplog.text


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_bug_costs_one_association_and_no_other(listening, associated, read_pdu, monkeypatch):
    def fail_once(content):
        monkeypatch.undo()
        raise ZeroDivisionError(content)

    port = listening(lambda _: None).port
    ill, well = associated(port), associated(port)
    monkeypatch.setattr(command, "read", fail_once)
    ill.sendall(an_instance("1.1"))

    assert ill.recv(1) == b""
    well.sendall(an_instance("1.2"))
    assert status(read_pdu, well) == b"\0\0"


def test_who_sends_faster_than_we_read_lets_others_have_their_turn():
    """All bytes are here, and still no more than so many receives come without a pause."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(bytes(65536))
        inbox = Inbox(ours, ENOUGH_S, bytearray(512))
        steps = inbox.skip(65536)

        pauses = sum(1 for _ in steps)

    assert pauses >= 65536 / 512 / TURN_RECEIVES


def test_a_connection_that_was_closed_meanwhile_has_gone():
    ours, theirs = socket.socketpair()
    with theirs:
        ours.close()

        class Closed:
            connection, until = ours, float("inf")

            def steps(self):
                yield None

        rounds = Rounds(lambda _: [], lambda *_: (0, ""))
        with pytest.raises(Gone):
            rounds.serve(Closed())
        rounds.close()


def test_what_is_left_at_the_end_ends_as_if_its_peer_had_gone():
    ours, theirs = socket.socketpair()
    waits = threading.Event()

    class Waiting:
        connection, until = ours, float("inf")

        def steps(self):
            waits.set()
            yield None

    rounds, how = Rounds(lambda _: [], lambda *_: (0, "")), []

    def serve():
        with pytest.raises(Gone):
            rounds.serve(Waiting())
        how.append("gone")

    with ours, theirs:
        threads = [threading.Thread(target=serve) for _ in range(2)]
        threads[0].start()
        assert waits.wait(ENOUGH_S)
        rounds.close()
        threads[1].start()
        for one in threads:
            one.join(ENOUGH_S)

    assert how == ["gone", "gone"]


def test_without_a_thread_one_association_ends_and_the_next_finds_one(monkeypatch):
    """The system has no thread for us in one moment and has one in the next."""
    ours, theirs = socket.socketpair()

    class Brief:
        connection, until = ours, float("inf")

        def steps(self):
            return "released"
            yield

    def refuse(_thread):
        raise RuntimeError("can't start new thread")

    rounds = Rounds(lambda _: [], lambda *_: (0, ""))
    with ours, theirs:
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", refuse)
            with pytest.raises(RuntimeError):
                rounds.serve(Brief())
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(rounds.serve, Brief()).result(ENOUGH_S) == "released"
        rounds.close()


def test_what_fails_in_the_thread_for_all_costs_who_is_there_and_nobody_after(caplog):
    """No association waits for a thread that has ended."""
    ours, theirs = socket.socketpair()

    class Ill:
        connection = ours

        @property
        def until(self):
            raise MemoryError

        def steps(self):
            yield None

    class Well(Ill):
        until = float("inf")

        def steps(self):
            return "released"
            yield

    rounds = Rounds(lambda _: [], lambda *_: (0, ""))
    with ours, theirs, ThreadPoolExecutor(1) as pool:
        with pytest.raises(Gone):
            pool.submit(rounds.serve, Ill()).result(ENOUGH_S)
        assert pool.submit(rounds.serve, Well()).result(ENOUGH_S) == "released"
        rounds.close()
    assert "reading for all associations failed" in caplog.text
