"""A study's trace is made of stored times, names nobody, and reaches a file or a collector."""

import json
import ssl
import threading
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

from db import attempts, deliveries, instances, jobs, studies
from db.deliveries import DeliveryState, Evidence, Lease
from db.engine import reading, writing
from db.jobs import JobState, Outcome, Readiness
from db.results import Result
from node import bootstrap, course
from node.access import Tls
from node.config import ConfigError, settings_from
from node.telemetry import Telemetry, to_collector, to_file

STUDY = "1.2.826.0.1.3680043.8.498.1"
LEASE = timedelta(minutes=5)


def stage(name, start_s, seconds, *, broken=False):
    return {"name": name, "start_s": start_s, "seconds": seconds, "broken": broken}


STAGES = [
    stage("read", 0.0, 0.5),
    stage("read.pet", 0.1, 0.2),
    stage("infer", 0.5, 0.25),
    stage("infer.network", 0.5, 0.1),
    stage("infer.network", 0.6, 0.1),
]


@pytest.fixture
def study(engine, intake, arrival, clock):
    """Ten seconds of images, complete after 1 s, begun after 2, done after 3, sent, committed."""

    def run(outcome=JobState.DONE, stages=STAGES, error=None):
        for number in (1, 2):
            intake.receive(arrival(f"{STUDY}.{number}", study=STUDY))
            clock.forward(10 if number == 1 else 1)
        with writing(engine) as connection:
            jobs.enqueue(
                connection,
                studies.find(connection, STUDY),
                instances.to_analyze(connection, STUDY),
                bundle_digest="sha256:b",
                readiness=Readiness(why_ready="PACS_COUNT"),
                now=clock.now,
            )
            job = jobs.claim(connection, worker="w", now=clock.forward(2), lease=LEASE)
            attempts.begin(connection, job, now=clock.now)
            done = clock.forward(3)
            made = [] if outcome is JobState.FAILED else [result(job)]
            jobs.conclude(
                connection,
                job,
                Outcome(state=outcome, error=error, results=made, destinations=["pacs"]),
                now=done,
            )
            attempts.end(connection, job, stages, now=done)
        return job

    return run


@pytest.fixture
def deliver(engine, clock):
    """The result is sent after 0.25 s and committed after another second."""

    def send():
        with writing(engine) as connection:
            lease = Lease(node="n", now=clock.forward(0.25), until=clock.now + LEASE)
            held = deliveries.claim(connection, "pacs", DeliveryState.OWED, lease=lease, limit=1)
            for one in held:
                deliveries.sent(connection, one, now=clock.now)
                at = clock.forward(1)
                deliveries.settle(connection, one, evidence=Evidence.COMMITMENT, now=at)

    return send


def result(job):
    return Result(
        sop_instance_uid="2.25.1",
        job_id=job.id,
        kind="SR",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.88.34",
        series_instance_uid="2.25.2",
        study_instance_uid=STUDY,
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        path="results/1.dcm",
        digest="sha256:" + "0" * 64,
    )


def course_of(engine, job):
    with reading(engine) as connection:
        return course.of_job(connection, jobs.find(connection, job.id))


def test_a_course_holds_every_stretch_from_the_first_image_to_the_commitment(
    engine, study, deliver
):
    job = study()
    deliver()

    found = course_of(engine, job)

    names = [one.name for one in found.spans]
    assert {span.name: span.seconds for span in found.spans if span.parent in {None, 0}} == {
        "study": 17.25,
        "receive": 10,
        "wait: complete": 1,
        "wait: worker": 2,
        "analyze": 3,
        "wait: outbox": 0.25,
        "deliver": 1,
    }
    assert found.waited_s == 3.25
    parents = {
        span.name: names[span.parent] for span in found.spans if span.parent not in {None, 0}
    }
    assert parents == {
        "read": "analyze",
        "read.pet": "read",
        "infer": "analyze",
        "infer.network": "infer",
    }
    assert found.spans[names.index("receive")].attributes == {"petct.images.CT": 2}


def test_a_course_is_told_as_far_as_it_has_come(engine, study):
    job = study()

    assert "deliver" not in [span.name for span in course_of(engine, job).spans]


def test_what_failed_says_so_and_where(engine, study):
    job = study(JobState.FAILED, [stage("read", 0, 1, broken=True)], error="MemoryError")

    failed = [span.name for span in course_of(engine, job).spans if span.failed]

    assert failed == ["study", "analyze", "read"]


def test_a_refusal_is_no_failure(engine, study):
    job = study(JobState.REFUSED, [stage("read", 0, 1, broken=True)])

    assert [span.name for span in course_of(engine, job).spans if span.failed] == ["read"]


class Told:
    """Takes traces, or does not."""

    def __init__(self) -> None:
        self.traces, self.error = [], None

    def __call__(self, trace) -> None:
        if self.error is not None:
            raise self.error
        self.traces.append(json.loads(trace))

    @property
    def spans(self):
        ((resource,),) = [one["resourceSpans"] for one in self.traces]
        (scope,) = resource["scopeSpans"]
        return scope["spans"]


@pytest.fixture
def told():
    return Told()


@pytest.fixture
def telemetry(engine, told):
    return Telemetry(engine, told, version="1.0", wait=timedelta(seconds=600))


def test_a_trace_is_written_as_opentelemetry_wants_it(study, deliver, telemetry, told, clock):
    """OTLP 1.x, JSON: hex ids, nanoseconds as strings, the root without a parent."""
    study()
    deliver()

    assert telemetry.hand_on(clock.now) == 1

    root, *others = told.spans
    assert root["name"] == "study"
    assert "parentSpanId" not in root
    assert {len(one["traceId"]) for one in told.spans} == {32}
    assert len({one["spanId"] for one in told.spans}) == len(told.spans)
    assert {len(one["spanId"]) for one in told.spans} == {16}
    assert {one["parentSpanId"] for one in others} <= {one["spanId"] for one in told.spans}
    first = datetime.fromisoformat("2026-03-01T12:00:00+00:00").timestamp()
    assert root["startTimeUnixNano"] == f"{first:.0f}000000000"
    assert root["endTimeUnixNano"] == f"{first + 17:.0f}250000000"
    attributes = {one["key"]: one["value"] for one in root["attributes"]}
    assert attributes["petct.state"] == {"stringValue": "done"}
    assert attributes["petct.attempts"] == {"intValue": "1"}


def test_a_trace_holds_no_uid(study, deliver, telemetry, told, clock):
    study()
    deliver()
    telemetry.hand_on(clock.now)

    written = json.dumps(told.traces)

    assert STUDY not in written
    assert "2.25." not in written


def test_each_trace_is_handed_on_once(study, deliver, telemetry, told, clock):
    study()
    assert telemetry.hand_on(clock.now) == 0, "its result is not delivered yet"
    deliver()

    assert telemetry.hand_on(clock.now) == 1
    assert telemetry.hand_on(clock.now) == 0
    assert len(told.traces) == 1


def test_what_a_collector_does_not_take_is_kept_for_it(
    study, deliver, telemetry, told, clock, caplog
):
    study()
    deliver()
    told.error = ConnectionRefusedError("nobody there")

    assert telemetry.hand_on(clock.now) == 0
    assert telemetry.hand_on(clock.now) == 0
    told.error = None

    assert telemetry.hand_on(clock.now) == 1
    assert [one.message for one in caplog.records if one.name == "node.telemetry"] == [
        "traces are not exported: ConnectionRefusedError: nobody there"
    ]


def test_a_file_gets_a_line_a_trace(tmp_path):
    export = to_file(tmp_path / "traces" / "one.jsonl")

    export(b'{"a":1}')
    export(b'{"b":2}')

    file = tmp_path / "traces" / "one.jsonl"
    assert file.read_bytes() == b'{"a":1}\n{"b":2}\n'
    assert file.stat().st_mode & 0o007 == 0


@pytest.fixture
def collecting():
    """Starts a collector on loopback that answers as it is told, and keeps what it was sent."""
    with ExitStack() as stack:
        yield lambda context=None: stack.enter_context(_collector(context))


@pytest.fixture
def collector(collecting):
    return collecting()


@contextmanager
def _collector(context):
    seen = SimpleNamespace(status=200, got=[])

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            seen.got.append((self.path, self.headers["Content-Type"], body))
            self.send_response(seen.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        scheme = "http" if context is None else "https"
        seen.endpoint = f"{scheme}://127.0.0.1:{server.server_port}/v1/traces"
        yield seen
        server.shutdown()
        thread.join()


def test_a_collector_gets_a_post_a_trace(collector):
    to_collector(collector.endpoint, None)(b"{}")

    assert collector.got == [("/v1/traces", "application/json", b"{}")]


@pytest.mark.parametrize("status", [429, 503])
def test_a_collector_that_is_busy_is_asked_again(collector, status):
    collector.status = status

    with pytest.raises(OSError, match=f"answered {status}"):
        to_collector(collector.endpoint, None)(b"{}")


@pytest.mark.parametrize("status", [302, 400, 404])
def test_a_collector_that_does_not_want_a_trace_is_left_alone(collector, status, caplog):
    collector.status = status

    to_collector(collector.endpoint, None)(b"{}")

    assert len(collector.got) == 1
    assert f"dropped a trace: {status}" in caplog.text


def test_no_proxy_of_the_environment_is_asked(collector, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")

    to_collector(collector.endpoint, None)(b"{}")

    assert len(collector.got) == 1


def test_a_collector_behind_tls_gets_its_traces(collecting, authority):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.folder / "node.pem", authority.folder / "node.key")
    secured = collecting(context)

    to_collector(secured.endpoint, Tls(ca=authority.ca))(b"{}")

    assert secured.got == [("/v1/traces", "application/json", b"{}")]


def test_a_collector_of_another_authority_gets_nothing(collecting, authority, stranger):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(stranger.folder / "intruder.pem", stranger.folder / "intruder.key")
    secured = collecting(context)

    with pytest.raises(OSError, match="certificate"):
        to_collector(secured.endpoint, Tls(ca=authority.ca))(b"{}")

    assert secured.got == []


def test_tls_that_cannot_be_is_tried_again(tmp_path):
    absent = Tls(ca=tmp_path / "absent.pem")

    with pytest.raises(OSError, match=r"absent\.pem"):
        to_collector("https://127.0.0.1:9/v1/traces", absent)(b"{}")


def test_nothing_is_handed_on_by_default(settings_of, engine):
    assert bootstrap.build_telemetry(settings_of(), engine) is None


def test_the_settings_name_where_traces_go(settings_of, study, deliver, engine, clock, tmp_path):
    study()
    deliver()
    settings = settings_of(telemetry={"file": str(tmp_path / "traces.jsonl")})

    assert bootstrap.build_telemetry(settings, engine).hand_on(clock.now) == 1

    (line,) = (tmp_path / "traces.jsonl").read_text().splitlines()
    assert "resourceSpans" in json.loads(line)


@pytest.mark.parametrize(
    "section",
    [
        {"file": "a", "endpoint": "http://127.0.0.1:4318/v1/traces"},
        {"endpoint": "https://127.0.0.1:4318/v1/traces"},
        {"endpoint": "http://127.0.0.1:4318/v1/traces", "tls": {"ca": "a"}},
        {"endpoint": "ftp://127.0.0.1/"},
        {"endpoint": "http://user:password@127.0.0.1/v1/traces"},
    ],
)
def test_settings_that_cannot_be_meant_are_refused(section):
    with pytest.raises(ConfigError, match="telemetry"):
        settings_from({"telemetry": section})
