import random
import subprocess
import threading
import time
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest

from db import deliveries
from db.deliveries import DeliveryState
from db.engine import reading
from node.backoff import Backoff
from node.config import Peer
from node.delivery import Outbox
from node.errors import PeerUnavailable
from node.net import scu
from tests.postgresql import BOTH

BACKOFF = Backoff(first=timedelta(seconds=5), longest=timedelta(seconds=600), chance=lambda: 0.0)

# pynetdicom 3.0.4 leaves the socket of a refused connection to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


@pytest.fixture(params=BOTH)
def database(request):
    return request.param


@pytest.fixture
def outbox(engine, store):
    made = []

    def make(send, *, node="node", backoff=BACKOFF, **destinations):
        made.append(Outbox(engine, store, destinations, node=node, send=send, backoff=backoff))
        return made[-1]

    yield make
    for one in made:
        one.close()


def states(engine):
    with reading(engine) as connection:
        return {
            (one.destination, one.sop_instance_uid): one
            for one in deliveries.of_study(connection, "1.2.3")
        }


def peer(title="PACS", port=104):
    return Peer(ae_title=title, host="127.0.0.1", port=port)


def answer_all(status):
    def send(_peer, objects):
        return [scu.Sent(sop_instance_uid=one.sop_instance_uid, status=status) for one in objects]

    return send


@pytest.mark.associations
def test_a_pacs_that_is_down_gets_its_results_when_it_is_up(
    engine, owe, outbox, clock, free_port, tmp_path
):
    send = partial(scu.send, calling_ae_title="NODE", timeout_s=5)
    box = outbox(send, pacs=peer(port=free_port))
    owe("2.25.1", "2.25.2")

    assert box.deliver(clock.now) == 0
    waiting = states(engine)["pacs", "2.25.1"]
    assert waiting.state is DeliveryState.OWED
    assert f"127.0.0.1:{free_port}" in waiting.last_error
    assert waiting.due_at == clock.now + timedelta(seconds=5)

    folder = tmp_path / "pacs"
    folder.mkdir()
    command = ["storescp", "-od", str(folder), "+xa", str(free_port)]
    with subprocess.Popen(command) as storescp:
        for _ in range(100):
            if box.deliver(clock.forward(600)):
                break
            time.sleep(0.05)
        storescp.kill()

    assert {one.state for one in states(engine).values()} == {DeliveryState.SENT}
    assert len(list(folder.iterdir())) == 2


def test_what_was_sent_is_not_sent_again(engine, owe, outbox, clock):
    owe("2.25.1")
    sent = []

    def send(_peer, objects):
        sent.extend(objects)
        return answer_all(0x0000)(_peer, objects)

    box = outbox(send, pacs=peer())
    assert box.deliver(clock.now) == 1
    assert box.deliver(clock.forward(3600)) == 0

    assert [one.sop_instance_uid for one in sent] == ["2.25.1"]
    assert states(engine)["pacs", "2.25.1"].sent_at is not None


def test_a_crash_before_the_mark_sends_the_same_object_again(engine, owe, outbox, clock):
    owe("2.25.1")
    sent = []

    def send_and_die(_peer, objects):
        sent.extend(one.sop_instance_uid for one in objects)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        outbox(send_and_die, pacs=peer()).deliver(clock.now)

    after = outbox(answer_all(0x0000), pacs=peer())
    assert after.deliver(clock.now) == 0, "the one that died may still be sending it"
    assert after.deliver(clock.forward(31)) == 1
    assert sent == ["2.25.1"]


def test_a_warning_counts_as_sent_and_is_kept(engine, owe, outbox, clock):
    owe("2.25.1")

    outbox(answer_all(0xB000), pacs=peer()).deliver(clock.now)

    delivery = states(engine)["pacs", "2.25.1"]
    assert (delivery.state, delivery.last_error) == (DeliveryState.SENT, "status 0xB000")


@pytest.mark.parametrize("status", [0xA700, 0xA900, 0xC000, 0x0122, None])
def test_a_refusal_is_kept_and_tried_again(engine, owe, outbox, clock, status):
    owe("2.25.1")

    outbox(answer_all(status), pacs=peer()).deliver(clock.now)

    delivery = states(engine)["pacs", "2.25.1"]
    assert (delivery.state, delivery.attempts) == (DeliveryState.OWED, 1)
    assert delivery.last_error == ("no answer" if status is None else f"status 0x{status:04X}")
    assert outbox(answer_all(0x0000), pacs=peer()).deliver(clock.forward(5)) == 1


def test_fifty_objects_owed_to_a_pacs_that_is_down_are_tried_in_one_call(
    engine, store, owe, outbox, clock
):
    calls = []

    def send(_peer, objects):
        calls.append(len(objects))
        raise PeerUnavailable("it is down")

    spread = replace(BACKOFF, chance=random.Random(1).random)
    owe(*(f"2.25.{number}" for number in range(1, 51)))
    box = outbox(send, backoff=spread, pacs=peer())
    for _ in range(100):
        box.deliver(clock.forward(1))

    # 5, 10, 20 and 40 s, each less up to half, and the first at once: 5 or 6 calls in 100 s.
    assert calls in ([50] * 5, [50] * 6)


def test_one_object_that_is_refused_does_not_hold_up_the_next(engine, owe, outbox, clock):
    owe("2.25.1", "2.25.2")

    def send(_peer, objects):
        return [
            scu.Sent(
                sop_instance_uid=one.sop_instance_uid,
                status=0xA900 if one.sop_instance_uid == "2.25.1" else 0x0000,
            )
            for one in objects
        ]

    assert outbox(send, pacs=peer()).deliver(clock.now) == 1
    assert states(engine)["pacs", "2.25.1"].state is DeliveryState.OWED
    assert states(engine)["pacs", "2.25.2"].state is DeliveryState.SENT


@pytest.mark.parametrize("status", [0xA700, 0xB000])
def test_what_a_destination_says_is_kept_and_does_not_reach_the_log(
    engine, owe, outbox, clock, caplog, status
):
    """It may name the patient; the status is enough for a log."""
    owe("2.25.1")

    def send(_peer, objects):
        comment = "patient 4711 is unknown"
        return [
            scu.Sent(sop_instance_uid=one.sop_instance_uid, status=status, comment=comment)
            for one in objects
        ]

    outbox(send, pacs=peer()).deliver(clock.now)

    assert "4711" in states(engine)["pacs", "2.25.1"].last_error
    assert f"status 0x{status:04X}" in caplog.text
    assert "4711" not in caplog.text


def test_a_destination_that_is_down_does_not_hold_up_another(engine, owe, outbox, clock):
    owe("2.25.1", destinations=("archive", "pacs"))

    def send(to, objects):
        if to.ae_title == "ARCHIVE":
            raise PeerUnavailable("ARCHIVE is down")
        return answer_all(0x0000)(to, objects)

    box = outbox(send, archive=peer("ARCHIVE"), pacs=peer())

    assert box.deliver(clock.now) == 1
    assert states(engine)["archive", "2.25.1"].last_error == "ARCHIVE is down"
    assert states(engine)["pacs", "2.25.1"].state is DeliveryState.SENT


def test_a_destination_that_hangs_is_left_alone_and_the_others_are_served(
    engine, owe, outbox, clock, monkeypatch
):
    monkeypatch.setattr("node.lanes.ROUND_S", 2.0)
    owe("2.25.1", destinations=("archive", "pacs"))
    hangs = threading.Event()
    calls = []

    def send(to, objects):
        calls.append(to.ae_title)
        if to.ae_title == "ARCHIVE":
            hangs.wait(20)
        return answer_all(0x0000)(to, objects)

    box = outbox(send, archive=peer("ARCHIVE"), pacs=peer())
    assert box.deliver(clock.now) == 1
    assert box.deliver(clock.now) == 0
    hangs.set()
    box.close()

    assert sorted(calls) == ["ARCHIVE", "PACS"]
    assert {one.state for one in states(engine).values()} == {DeliveryState.SENT}


def test_a_destination_that_is_not_configured_any_more_is_visible(engine, owe, outbox, clock):
    owe("2.25.1", destinations=("gone",))

    assert outbox(answer_all(0x0000)).deliver(clock.now) == 0

    assert "not configured" in states(engine)["gone", "2.25.1"].last_error
