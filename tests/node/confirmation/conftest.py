"""A node and its PACS, on both databases."""

from datetime import timedelta
from itertools import count

import pytest

from db import deliveries
from db.engine import reading
from node.commitment import Confirmation, Pace
from node.config import Destination
from node.delivery import Outbox
from tests.node.confirmation.confirming import BACKOFF, HOUR, Pacs
from tests.postgresql import BOTH


@pytest.fixture(params=BOTH)
def database(request):
    return request.param


@pytest.fixture
def pacs():
    return Pacs()


@pytest.fixture
def node(engine, store, pacs, clock):
    """Starts a node that delivers to the PACS; what it does is done when its ``turn`` is over."""
    started = []
    numbers = count()

    class Node:
        def __init__(self, name="node", *, commitment="auto", network=pacs):
            to = Destination(ae_title="PACS", host="h", port=104, commitment=commitment)
            self.outbox = Outbox(
                engine, store, {"pacs": to}, node=name, send=network.send, backoff=BACKOFF
            )
            self.confirmation = Confirmation(
                engine,
                {"pacs": to},
                node=name,
                network=network,
                pace=Pace(timeout=timedelta(seconds=HOUR), backoff=BACKOFF),
                new_uid=lambda: f"2.25.7{next(numbers)}",
            )
            started.append(self)

        def turn(self, seconds=0):
            now = clock.forward(seconds)
            self.outbox.deliver(now)
            return self.confirmation.confirm(now)

        def hear(self, report, ae_title="PACS"):
            return self.confirmation.heard(report, ae_title=ae_title, now=clock.now)

    yield Node
    for one in started:
        one.outbox.close()
        one.confirmation.close()


@pytest.fixture
def standing(engine):
    """Tells where the deliveries of the study stand, by SOP Instance UID."""

    def now():
        with reading(engine) as connection:
            found = deliveries.of_study(connection, "1.2.3")
        return {one.sop_instance_uid: one for one in found}

    return now
