from datetime import timedelta

import pytest
from sqlalchemy import update

from db import instances, pledges
from db.engine import reading, writing
from db.pledges import PledgeState
from db.tables import instances as table
from node.backoff import Backoff
from node.config import Peer
from node.errors import PeerUnavailable
from node.net.commitment import Reference, Request
from node.pledges import Channels, Pledges
from tests.postgresql import BOTH

CT = "1.2.840.10008.5.1.4.1.1.2"
SR = "1.2.840.10008.5.1.4.1.1.88.34"
BACKOFF = Backoff(first=timedelta(seconds=5), longest=timedelta(seconds=600))
DAY = 86400
PACS = Peer(ae_title="PACS", host="h", port=104)


class Line:
    """Both ways to a peer: its own association, and one of ours; remembers what went over each."""

    def __init__(self):
        self.over, self.to = [], []
        self.is_open = False
        self.answer = 0x0000

    def report_over(self, association, told):
        if not self.is_open:
            return None
        self.over.append((association, told))
        return self.answer

    def report_to(self, peer, told):
        if self.answer is None:
            raise PeerUnavailable("PACS is down")
        self.to.append((peer, told))
        return self.answer


@pytest.fixture(params=BOTH)
def database(request):
    return request.param


@pytest.fixture
def line():
    return Line()


@pytest.fixture
def node(engine, store, line):
    started = []

    def start(name="node", *, peers=(PACS,)):
        one = Pledges(
            engine,
            store,
            {peer.ae_title: peer for peer in peers},
            node=name,
            channels=Channels(over=line.report_over, to=line.report_to),
            backoff=BACKOFF,
        )
        started.append(one)
        return one

    yield start
    for one in started:
        one.close()


@pytest.fixture
def ask(clock):
    def put(node, *uids, kind=CT, transaction="2.25.77", association="a"):
        references = tuple(Reference(sop_class_uid=kind, sop_instance_uid=uid) for uid in uids)
        return node.asked(
            Request(transaction_uid=transaction, references=references),
            ae_title="PACS",
            association=association,
            now=clock.now,
        )

    return put


@pytest.fixture
def received(intake, arrival):
    def keep(*uids):
        for uid in uids:
            intake.receive(arrival(uid))

    return keep


def only(engine):
    with reading(engine) as connection:
        (one,) = pledges.of_peer(connection, "PACS")
        return one


def outcome(told):
    committed = [one.sop_instance_uid for one in told.committed]
    return committed, {one.reference.sop_instance_uid: one.reason for one in told.failed}


def test_what_lies_here_as_it_came_is_committed(node, ask, received, line, clock, engine):
    received("1.2.3.1", "1.2.3.2")
    here = node()

    assert ask(here, "1.2.3.1", "1.2.3.2") == 0x0000
    assert only(engine).state is PledgeState.ASKED
    assert here.keep(clock.now) == 1

    ((peer, told),) = line.to
    assert peer == PACS
    assert told.transaction_uid == "2.25.77"
    assert outcome(told) == (["1.2.3.1", "1.2.3.2"], {})
    assert only(engine).state is PledgeState.REPORTED
    assert here.keep(clock.forward(DAY)) == 0


def test_our_own_results_are_committed_too(node, ask, owe, line, clock):
    owe("2.25.1")
    here = node()
    ask(here, "2.25.1")
    here.keep(clock.now)

    assert outcome(line.to[0][1]) == (["2.25.1"], {})


@pytest.fixture
def file_of(engine, store):
    """Tells where the file of an instance lies."""

    def find(uid):
        with reading(engine) as connection:
            return store.path(instances.find(connection, uid).path)

    return find


def test_an_instance_that_is_not_as_it_came_fails(node, ask, received, line, clock, file_of):
    received(*(f"1.2.3.{number}" for number in range(1, 5)))
    file_of("1.2.3.2").unlink()
    shorter, changed = file_of("1.2.3.3"), file_of("1.2.3.4")
    shorter.write_bytes(shorter.read_bytes()[:-1])
    changed.write_bytes(changed.read_bytes()[:-1] + b"?")
    here = node()

    ask(here, *(f"1.2.3.{number}" for number in range(1, 5)))
    here.keep(clock.now)

    expected = {"1.2.3.2": 0x0112, "1.2.3.3": 0x0110, "1.2.3.4": 0x0110}
    assert outcome(line.to[0][1]) == (["1.2.3.1"], expected)


def test_what_an_older_version_digested_is_compared_as_it_did(
    node, ask, received, owe, line, *, clock, file_of, by_an_older_version
):
    received("1.2.3.1", "1.2.3.2")
    owe("2.25.1")
    by_an_older_version()
    changed = file_of("1.2.3.2")
    changed.write_bytes(changed.read_bytes()[:-1] + b"?")
    here = node()

    ask(here, "1.2.3.1", "1.2.3.2", "2.25.1")
    here.keep(clock.now)

    assert outcome(line.to[0][1]) == (["1.2.3.1", "2.25.1"], {"1.2.3.2": 0x0110})


def test_an_instance_that_never_came_or_was_deleted_fails(node, ask, received, line, clock, engine):
    received("1.2.3.1")
    with writing(engine) as connection:
        connection.execute(update(table).values(deleted_at=clock.now))
    here = node()

    ask(here, "1.2.3.1", "1.2.3.2")
    here.keep(clock.now)

    assert outcome(line.to[0][1]) == ([], {"1.2.3.1": 0x0112, "1.2.3.2": 0x0112})


def test_another_class_than_the_stored_one_is_a_conflict(node, ask, received, line, clock):
    received("1.2.3.1")
    here = node()
    ask(here, "1.2.3.1", kind=SR)
    here.keep(clock.now)

    assert outcome(line.to[0][1]) == ([], {"1.2.3.1": 0x0119})


def test_the_report_goes_over_the_association_that_is_still_open(
    node, ask, received, line, clock, engine
):
    received("1.2.3.1")
    line.is_open = True
    here = node()
    ask(here, "1.2.3.1", association="mine")
    here.keep(clock.now)

    ((association, _),) = line.over
    assert (association, line.to) == ("mine", [])
    assert only(engine).state is PledgeState.REPORTED


def test_a_peer_that_is_down_is_told_later_even_by_another_node(
    node, ask, received, line, clock, engine
):
    received("1.2.3.1")
    line.answer = None
    first = node("first")
    ask(first, "1.2.3.1")
    assert first.keep(clock.now) == 0
    waiting = only(engine)
    assert (waiting.state, waiting.last_error) == (PledgeState.CHECKED, "PACS is down")
    assert waiting.due_at == clock.now + timedelta(seconds=5)

    line.answer = 0x0000
    second = node("second")
    assert second.keep(clock.forward(4)) == 0
    assert second.keep(clock.forward(1)) == 1
    assert outcome(line.to[0][1]) == (["1.2.3.1"], {})


def test_a_report_that_is_refused_is_made_again(node, ask, received, line, clock, engine):
    received("1.2.3.1")
    line.answer = 0x0110
    here = node()
    ask(here, "1.2.3.1")
    here.keep(clock.now)
    assert only(engine).last_error == "answered with status 0x0110"

    line.answer = 0x0000
    assert here.keep(clock.forward(5)) == 1


def test_a_peer_whose_address_nobody_knows_is_told_on_its_own_association_or_never(
    node, ask, received, clock, engine, caplog
):
    received("1.2.3.1")
    here = node(peers=())
    ask(here, "1.2.3.1")
    here.keep(clock.now)

    assert only(engine).state is PledgeState.ABANDONED
    assert "address of PACS is not configured" in caplog.text


def test_a_peer_that_cannot_be_told_for_three_days_is_given_up(
    node, ask, received, line, clock, engine
):
    received("1.2.3.1")
    line.answer = None
    here = node()
    ask(here, "1.2.3.1")

    here.keep(clock.forward(3 * DAY))
    assert only(engine).state is PledgeState.CHECKED
    here.keep(clock.forward(DAY))
    assert only(engine).state is PledgeState.ABANDONED


def test_a_node_that_dies_leaves_its_requests_to_another_when_its_lease_ends(
    node, ask, received, line, clock
):
    received("1.2.3.1")
    dead, other = node("dead"), node("other")
    ask(dead, "1.2.3.1")

    assert other.keep(clock.forward(30)) == 0
    assert other.keep(clock.forward(1)) == 1


def test_the_same_request_again_is_reported_again(node, ask, received, line, clock, engine):
    received("1.2.3.1")
    here = node()
    ask(here, "1.2.3.1", association="first")
    here.keep(clock.now)
    line.is_open = True

    assert ask(here, "1.2.3.1", association="second") == 0x0000
    assert here.keep(clock.now) == 1

    assert only(engine).association == "second"
    assert line.over[0][0] == "second"


def test_another_request_under_a_used_transaction_uid_fails_as_a_whole(
    node, ask, received, line, clock
):
    received("1.2.3.1", "1.2.3.2")
    here = node()
    ask(here, "1.2.3.1")
    here.keep(clock.now)

    ask(here, "1.2.3.2")
    here.keep(clock.now)

    assert outcome(line.to[1][1]) == ([], {"1.2.3.2": 0x0131})


def test_a_peer_cannot_fill_the_database_with_requests(node, ask, received, monkeypatch):
    monkeypatch.setattr("node.pledges.OPEN_REQUESTS_MAX", 3)
    here = node()

    answers = [ask(here, "1.2.3.1", transaction=f"2.25.{number}") for number in range(5)]

    assert answers == [0x0000, 0x0000, 0x0000, 0x0213, 0x0213]


def test_what_was_reported_long_ago_is_forgotten(node, ask, received, clock, engine):
    received("1.2.3.1")
    here = node()
    ask(here, "1.2.3.1")
    here.keep(clock.now)
    here.keep(clock.forward(29 * DAY))
    assert only(engine).state is PledgeState.REPORTED

    here.keep(clock.forward(2 * DAY))
    with reading(engine) as connection:
        assert pledges.of_peer(connection, "PACS") == []


def test_what_is_open_is_counted(node, ask, received, clock, engine):
    here = node()
    ask(here, "1.2.3.1")
    ask(here, "1.2.3.1", transaction="2.25.78")
    here.keep(clock.now)

    with reading(engine) as connection:
        assert pledges.counts(connection) == {
            ("PACS", PledgeState.ASKED): 1,
            ("PACS", PledgeState.REPORTED): 1,
        }
