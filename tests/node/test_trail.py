"""The audit trail in a file and at a collector: UDP, TCP and TLS, each a real socket."""

import contextlib
import logging
import re
import socket
import ssl
import threading
import time
from datetime import UTC, datetime

import pytest

from node import audit, recording
from node.access import Remote
from node.audit import Origin, Study
from node.net.syslog import Syslog
from node.trail import Receptions, Trail, syslog_line

ORIGIN = Origin(source_id="node 1", site="", ae_title="PETCTNODE", process_id=77)
WHEN = datetime(2026, 1, 2, 12, 30, 0, 125000, tzinfo=UTC)
# RFC 5424 6: priority, version, timestamp, host, application, process, message, no data.
LINE = re.compile(
    r"<(85|84)>1 2026-01-02T12:30:00\.125Z [\x21-\x7e]{1,255} petct-node \d+ DICOM\+RFC3881 - "
    r"<AuditMessage>.*</AuditMessage>"
)


@pytest.fixture
def trail():
    opened = []

    def make(**options):
        opened.append(Trail(ORIGIN, lambda: WHEN, **options))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


def lines(path):
    return path.read_text(encoding="ascii").splitlines()


def test_an_event_is_one_line_of_syslog_at_once(trail, tmp_path):
    kept = trail(file=tmp_path / "deep" / "audit.log")
    kept.record(audit.application_started())
    kept.record(audit.connection_refused("10.0.0.9", "wrong\nversion \x00 number"))

    started, refused = lines(tmp_path / "deep" / "audit.log")

    assert LINE.fullmatch(started).group(1) == "85"
    assert LINE.fullmatch(refused).group(1) == "84"
    assert "no TLS: wrong version ? number" in refused
    assert (tmp_path / "deep" / "audit.log").stat().st_mode & 0o007 == 0


def test_what_is_not_ascii_is_written_as_a_reference(trail, tmp_path):
    line = syslog_line(audit.connection_refused("é", "日"), ORIGIN, when=WHEN)

    assert line.isascii()
    assert b"&#233;" in line
    assert b"&#26085;" in line


def test_a_rotated_file_is_left_and_a_new_one_begun(trail, tmp_path):
    path = tmp_path / "audit.log"
    kept = trail(file=path)
    kept.record(audit.application_started())
    path.rename(tmp_path / "audit.log.1")
    kept.record(audit.application_stopped())

    assert "Application Start" in lines(tmp_path / "audit.log.1")[0]
    assert "Application Stop" in lines(path)[0]


def test_lines_of_many_threads_do_not_mix(trail, tmp_path):
    kept = trail(file=tmp_path / "audit.log")
    other = trail(file=tmp_path / "audit.log")
    study = Study(study_instance_uid="1.2.3", counts={f"1.2.{n}": n for n in range(100)})

    def write(into):
        for _ in range(50):
            into.record(audit.instances_created(study))

    threads = [threading.Thread(target=write, args=(into,)) for into in (kept, other) * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(lines(tmp_path / "audit.log")) == 300
    assert all(LINE.fullmatch(line) for line in lines(tmp_path / "audit.log"))


def test_a_file_that_cannot_be_written_is_said_once_and_harms_nobody(trail, tmp_path, caplog):
    (tmp_path / "audit.log").mkdir()
    kept = trail(file=tmp_path / "audit.log")
    for _ in range(3):
        kept.record(audit.application_started())

    assert caplog.text.count("no audit trail in") == 1


def test_without_a_place_nothing_is_recorded_and_nobody_is_asked_for_a_patient(trail):
    def never(_study):
        raise AssertionError

    trail(patient_id=never).record(audit.instances_created(Study(study_instance_uid="1.2")))


def test_a_patient_id_stands_in_the_trail_only_where_the_settings_ask_for_it(trail, tmp_path):
    event = audit.instances_created(Study(study_instance_uid="1.2"))
    trail(file=tmp_path / "without").record(event)
    trail(file=tmp_path / "with", patient_id=lambda study: f"4711 of {study}").record(event)

    assert 'ParticipantObjectID="withheld"' in lines(tmp_path / "without")[0]
    assert 'ParticipantObjectID="4711 of 1.2"' in lines(tmp_path / "with")[0]


class Collector:
    """Takes connections one after the other and keeps what came, until it is closed."""

    def __init__(self, context=None, port=0):
        self.received = bytearray()
        self._context = context
        self._server = socket.create_server(("127.0.0.1", port))
        self.port = self._server.getsockname()[1]
        self._open = []
        self._thread = threading.Thread(target=self._take, daemon=True)
        self._thread.start()

    def _take(self):
        while True:
            try:
                connection, _ = self._server.accept()
                if self._context is not None:
                    connection = self._context.wrap_socket(connection, server_side=True)
            except OSError:
                return
            self._open.append(connection)
            with connection:
                while more := self._read(connection):
                    self.received += more

    @staticmethod
    def _read(connection):
        try:
            return connection.recv(65536)
        except OSError:
            return b""

    def close(self):
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)

    def messages(self):
        """The messages, by their octet counts (RFC 5425 4.3)."""
        rest, found = bytes(self.received), []
        while rest:
            length, _, rest = rest.partition(b" ")
            found.append(rest[: int(length)].decode("ascii"))
            rest = rest[int(length) :]
        return found


@pytest.fixture
def collector():
    opened = []

    def make(*arguments, **options):
        opened.append(Collector(*arguments, **options))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


@pytest.fixture
def sender(trail):
    """Sends over syslog, until the trail that uses it is closed."""
    opened = []

    def make(**remote):
        remote.setdefault("host", "127.0.0.1")
        opened.append(Syslog(Remote.model_validate(remote)))
        return opened[-1].send

    yield make
    for one in opened:
        one.close()


def eventually(holds, seconds=20):
    until = time.monotonic() + seconds
    while not holds() and time.monotonic() < until:
        time.sleep(0.01)
    return holds()


def test_udp_carries_one_line_a_datagram(trail, sender):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)
        send = sender(port=server.getsockname()[1], transport="udp")
        trail(send=send).record(audit.application_started())

        assert LINE.fullmatch(server.recv(65536).decode("ascii"))


def test_tcp_carries_lines_by_their_length_and_in_order(trail, sender, collector):
    server = collector()
    kept = trail(send=sender(port=server.port, transport="tcp"))
    for _ in range(20):
        kept.record(audit.application_started())
        kept.record(audit.application_stopped())
    kept.close()

    assert eventually(lambda: len(server.messages()) == 40)
    assert all(LINE.fullmatch(message) for message in server.messages())
    assert ["Start" in message for message in server.messages()] == [True, False] * 20


def test_tls_carries_them_to_a_collector_whose_certificate_fits(
    trail, sender, collector, authority
):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.folder / "node.pem", authority.folder / "node.key")
    server = collector(context)
    kept = trail(send=sender(port=server.port, tls={"ca": authority.ca}))
    kept.record(audit.application_started())

    assert eventually(lambda: len(server.messages()) == 1)


def test_a_collector_of_another_authority_hears_nothing(sender, collector, authority, stranger):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(stranger.folder / "intruder.pem", stranger.folder / "intruder.key")
    server = collector(context)

    with pytest.raises(OSError, match="certificate is not valid"):
        sender(port=server.port, tls={"ca": authority.ca})(b"line")
    assert server.received == b""


def test_what_was_recorded_while_the_collector_was_away_arrives(
    trail, sender, collector, free_port, monkeypatch
):
    monkeypatch.setattr("node.trail.FIRST_PAUSE_S", 0.05)
    kept = trail(send=sender(port=free_port, transport="tcp"))
    for _ in range(5):
        kept.record(audit.application_started())

    server = collector(port=free_port)

    assert eventually(lambda: len(server.messages()) == 5)


def test_a_collector_that_hangs_costs_the_node_no_time_and_drops_are_counted(trail, caplog):
    hangs, passed = threading.Event(), []

    def send(line):
        hangs.wait(30)
        passed.append(line)

    kept = trail(send=send, queue_length=3)
    start = time.monotonic()
    for _ in range(50):
        kept.record(audit.application_started())
    assert time.monotonic() - start < 5
    hangs.set()

    assert eventually(lambda: re.search(r"(\d+) audit messages were dropped", caplog.text))
    dropped = int(re.search(r"(\d+) audit messages were dropped", caplog.text).group(1))
    assert eventually(lambda: len(passed) + dropped == 50)


def test_what_never_reached_the_collector_is_counted_at_the_end(sender, caplog, free_port):
    caplog.set_level(logging.ERROR)
    kept = Trail(ORIGIN, lambda: WHEN, send=sender(port=free_port, transport="tcp"))
    for _ in range(4):
        kept.record(audit.application_started())
    time.sleep(0.01)
    kept.close()

    assert "4 audit messages never reached the collector" in caplog.text


def test_an_association_is_recorded_study_by_study_when_it_ends():
    recorded = []
    brought = Receptions(recorded.append)
    pacs = audit.peer("PACS", "10.0.0.5")
    for study, sop_class in [("1.1", "CT"), ("1.1", "PT"), ("1.2", "CT"), ("1.1", "CT")]:
        brought.received("a", lambda: pacs, study=study, sop_class=sop_class)
    brought.received("b", lambda: pacs, study="1.3", sop_class="CT")
    assert recorded == []

    brought.closed("a")
    brought.closed("a")
    brought.closed("unknown")

    assert {event.study.study_instance_uid: event.study.counts for event in recorded} == {
        "1.1": {"CT": 2, "PT": 1},
        "1.2": {"CT": 1},
    }


def test_a_change_of_the_settings_is_recorded_at_the_next_start(settings_of, tmp_path):
    """Once for the first start, once for the change, and no more; no password in the digest."""
    changes = []

    def start(**sections):
        events = []
        with recording.running(settings_of(**sections), events.append):
            pass
        changes.append([e.description for e in events if "became" in e.description])

    start()
    start()
    start(log_level="DEBUG")

    first, same, changed = changes
    assert first[0].startswith("settings none became sha256:")
    assert same == []
    assert len(changed) == 1


def test_the_digest_of_the_settings_does_not_know_the_password(settings_of):
    digests = {
        recording.settings_digest(
            settings_of(database={"url": f"postgresql://node:{password}@db/petct"})
        )
        for password in ("one", "other")
    }

    assert len(digests) == 1
