"""A PACS that plays a part, and what it says, for the tests of what makes sure of deliveries."""

from contextlib import contextmanager
from datetime import timedelta

from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from db.deliveries import DeliveryState, Evidence
from node.backoff import Backoff
from node.net.association import NothingAccepted
from node.net.commitment import Failure, Report
from node.net.scu import Sent

BACKOFF = Backoff(first=timedelta(seconds=5), longest=timedelta(seconds=600))
HOUR = 3600
SUCCESS, INVALID_ARGUMENT, NO_SUCH_INSTANCE = 0x0000, 0x0115, 0x0112


def say_nothing(_request, _heard):
    """Report nothing now."""


class Pacs:
    """Takes everything, and then says and finds what a test tells it to."""

    def __init__(self):
        self.kept = []
        self.requests = []
        self.finds = 0
        self.status = SUCCESS
        self.on_ask = say_nothing
        self.has_commitment = True
        self.has_find = False

    def send(self, _peer, objects):
        self.kept += [one.sop_instance_uid for one in objects]
        return [Sent(sop_instance_uid=one.sop_instance_uid, status=SUCCESS) for one in objects]

    def ask(self, peer, request, *, heard, answered):
        assert not answered.is_set()
        if not self.has_commitment:
            raise NothingAccepted(f"{peer.ae_title}: no presentation context accepted")
        self.requests.append(request)
        self.on_ask(request, heard)
        return self.status

    def find(self, _peer, wanted):
        self.finds += 1
        if not self.has_find:
            return None
        return {uid for uids in wanted.values() for uid in uids if uid in self.kept}


def all_of(request):
    return report_on(request, committed=request.references)


def report_on(request, committed=(), failed=(), reason=NO_SUCH_INSTANCE):
    return Report(
        transaction_uid=request.transaction_uid,
        committed=tuple(committed),
        failed=tuple(Failure(reference=one, reason=reason) for one in failed),
    )


def state(delivery):
    return delivery.state, delivery.evidence


@contextmanager
def failing(engine):
    """Let every statement fail, as where the disk is full."""

    def fail(*_):
        raise OperationalError("no statement", None, Exception("the disk is full"))

    event.listen(engine, "before_cursor_execute", fail)
    try:
        yield
    finally:
        event.remove(engine, "before_cursor_execute", fail)


COMMITTED = (DeliveryState.COMMITTED, Evidence.COMMITMENT)
FOUND = (DeliveryState.COMMITTED, Evidence.FIND)
FINAL = (DeliveryState.SENT, Evidence.NONE)
WAITING = (DeliveryState.SENT, None)
OWED = (DeliveryState.OWED, None)
