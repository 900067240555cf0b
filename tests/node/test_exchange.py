"""What a node and a PACS say to each other about results, over real associations."""

import threading
import time
from contextlib import ExitStack

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, build_role, evt

from db import deliveries
from db.engine import reading
from node.exchange import Host, build_exchange
from node.net.scp import Listener

CT = "1.2.840.10008.5.1.4.1.1.2"
FIND = "1.2.840.10008.5.1.4.1.2.2.1"
PUSH_MODEL = "1.2.840.10008.1.20.1"
INSTANCE = "1.2.840.10008.1.20.1.1"
UIDS = ("2.25.1", "2.25.2")
WITHIN_S = 30

pytestmark = [
    pytest.mark.associations,
    # pynetdicom 3.0.4 leaves the socket of a refused connection to the garbage collector.
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]


class Pacs:
    """Keeps what it gets, and reports in the way that a test names."""

    def __init__(self, port, node_port, *, reports, contexts=(CT, PUSH_MODEL, FIND)):
        self.kept, self.stores, self.asked, self.statuses = set(), [], 0, []
        self._node_port, self._reports = node_port, reports
        self._threads = []
        ae = AE(ae_title="PACS")
        for context in contexts:
            ae.add_supported_context(context)
        handlers = [
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_C_FIND, self._find),
            (evt.EVT_N_ACTION, self._take),
        ]
        self._server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)

    def _store(self, event):
        uid = event.request.AffectedSOPInstanceUID
        self.stores.append(uid)
        if not (self._reports == "loses each once" and self.stores.count(uid) == 1):
            self.kept.add(uid)
        return 0x0000

    def _find(self, event):
        wanted = event.identifier.SOPInstanceUID
        for uid in [wanted] if isinstance(wanted, str) else wanted:
            if uid in self.kept:
                answer = Dataset()
                answer.QueryRetrieveLevel = "IMAGE"
                answer.SOPInstanceUID = uid
                yield 0xFF00, answer

    def _take(self, event):
        self.asked += 1
        told = self._told(event.action_information)
        if self._reports == "on the same association":
            self._begin(self._report_on, event.assoc, told)
        elif self._reports != "never":
            self._begin(self._report_later, told)
        return 0x0000, None

    def _told(self, asked):
        told = Dataset()
        told.TransactionUID = asked.TransactionUID
        here = [one.ReferencedSOPInstanceUID in self.kept for one in asked.ReferencedSOPSequence]
        items = list(zip(asked.ReferencedSOPSequence, here, strict=True))
        told.ReferencedSOPSequence = [one for one, is_here in items if is_here]
        told.FailedSOPSequence = [one for one, is_here in items if not is_here]
        for item in told.FailedSOPSequence:
            item.FailureReason = 0x0112
        return told

    def _begin(self, what, *of):
        self._threads.append(threading.Thread(target=what, args=of))
        self._threads[-1].start()

    def _report_on(self, association, told):
        event_type = 2 if told.FailedSOPSequence else 1
        answer, _ = association.send_n_event_report(told, event_type, PUSH_MODEL, INSTANCE)
        self.statuses.append(answer.get("Status"))

    def _report_later(self, told):
        """On an association of its own, as it likes twice, and once under a false name."""
        for title in ("IMPOSTOR", "PACS", "PACS"):
            ae = AE(ae_title=title)
            ae.add_requested_context(PUSH_MODEL)
            role = build_role(PUSH_MODEL, scp_role=True)
            association = ae.associate("127.0.0.1", self._node_port, ext_neg=[role])
            self._report_on(association, told)
            association.release()

    def is_busy(self):
        return any(one.is_alive() for one in self._threads)

    def finish(self):
        for thread in self._threads:
            thread.join(WITHIN_S)

    def close(self):
        self.finish()
        self._server.shutdown()


@pytest.fixture
def meet(engine, store, settings_of, clock, free_ports, owe):
    """Owes two results to a PACS, and lets the clock run until both are delivered."""
    with ExitStack() as stack:

        def run(reports, *, commitment="auto", **of_pacs):
            port, node_port = free_ports(), free_ports()
            peer = {"ae_title": "PACS", "host": "127.0.0.1", "port": port}
            settings = settings_of(
                listener={"port": node_port},
                destinations={"pacs": {**peer, "commitment": commitment}},
                delivery={"commitment_wait_s": 0.5, "commitment_timeout_s": 600},
            )
            pacs = Pacs(port, node_port, reports=reports, **of_pacs)
            stack.callback(pacs.close)
            host = Host(node="n", clock=clock, report_over=lambda *_: None, chance=lambda: 0.0)
            exchange = build_exchange(settings, engine, store, host)
            stack.callback(exchange.close)
            stack.enter_context(
                Listener(
                    settings.listener,
                    receive=lambda _arrival: None,
                    closed=lambda _association: None,
                    commitment=exchange.commitment,
                )
            )
            owe(*UIDS)
            until_delivered(exchange, pacs)
            pacs.finish()
            return pacs

        def until_delivered(exchange, pacs):
            end = time.monotonic() + WITHIN_S
            while not all(one.delivered for one in standing()):
                assert time.monotonic() < end, "not delivered in time"
                for task in exchange.tasks().values():
                    task()
                assert {one.sop_instance_uid for one in standing() if one.delivered} <= pacs.kept
                # A PACS that reports does so within simulated minutes, however slow the machine.
                clock.forward(60 if pacs.asked and not pacs.is_busy() else 1)

        def standing():
            with reading(engine) as connection:
                return deliveries.of_study(connection, "1.2.3")

        run.standing = standing
        yield run


@pytest.mark.parametrize("reports", ["on the same association", "on one of its own"])
def test_what_a_pacs_commits_to_is_delivered_wherever_its_report_comes(meet, reports):
    pacs = meet(reports, commitment="required")

    assert [str(one.evidence) for one in meet.standing()] == ["commitment"] * 2
    assert (sorted(pacs.stores), pacs.asked) == (list(UIDS), 1)


def test_what_a_pacs_loses_is_sent_again_and_only_that_is_delivered_that_it_keeps(meet):
    pacs = meet("loses each once", commitment="required")

    assert sorted(pacs.stores) == sorted(UIDS * 2)
    assert {one.rejections for one in meet.standing()} == {1}


def test_who_reports_under_a_false_name_is_refused_and_a_report_twice_is_taken(meet):
    pacs = meet("on one of its own", commitment="required")

    assert pacs.statuses == [0x0115, 0x0000, 0x0000]


def test_a_pacs_that_never_reports_is_searched_after_the_time_out(meet):
    pacs = meet("never")

    assert [str(one.evidence) for one in meet.standing()] == ["find"] * 2
    assert pacs.asked == 1


@pytest.mark.parametrize(
    ("contexts", "evidence"), [((CT, FIND), "find"), ((CT,), "none")], ids=["C-FIND", "C-STORE"]
)
def test_a_pacs_without_commitment_is_believed_for_what_it_can_tell(meet, contexts, evidence):
    pacs = meet("never", contexts=contexts)

    assert [str(one.evidence) for one in meet.standing()] == [evidence] * 2
    assert pacs.asked == 0
