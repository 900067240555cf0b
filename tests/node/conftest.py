"""A drawn study on disk, and a node on loopback: a database, a store, a clock, a listener."""

import hashlib
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from sqlalchemy import Engine, select, update

from db import instances, jobs, studies, tables
from db.engine import connect, writing
from db.jobs import JobState, Outcome, Readiness
from db.results import Result
from inference.phantom import draw, random_phantom
from inference.scanner import SCANNERS
from node.config import Listener as Policy
from node.config import Peer, settings_from
from node.dicom import acquire
from node.dicom.headers import identify
from node.errors import OutOfResources
from node.instance import Arrival, Outgoing, ResultKind, ResultObject
from node.intake import Intake
from node.journal import Journal
from node.net.part10 import part10
from node.net.scp import Listener
from node.store import Store
from tests.certificates import Authority

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
SEED = 5


@pytest.fixture(scope="session")
def phantom():
    return random_phantom(SEED)


@pytest.fixture(scope="session")
def phantom_petct(phantom):
    return draw(phantom, SCANNERS["small"])


@pytest.fixture(scope="session")
def phantom_files(phantom_petct, tmp_path_factory) -> tuple[Path, ...]:
    """A whole thorax PET/CT as a scanner would send it; nobody may change these files."""
    return acquire.write(
        phantom_petct,
        tmp_path_factory.mktemp("phantom"),
        habit=acquire.Habit.SIEMENS,
        study=acquire.Study.of_phantom(SEED, datetime(2026, 1, 2, 10, tzinfo=UTC)),
    )


@pytest.fixture
def settings_of(tmp_path, database_url):
    """Settings of a new database and of a store below the test's own folder, with what is added."""

    def build(**sections):
        own = {
            "store": {"root": str(tmp_path / "store"), "free_bytes_min": 0},
            "database": {"url": database_url},
        }
        return settings_from({**own, **sections})

    return build


class Clock:
    """A clock that a test sets forward."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def forward(self, seconds: float) -> datetime:
        self.now += timedelta(seconds=seconds)
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = connect(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store", free_bytes_min=0)


@pytest.fixture
def intake(engine: Engine, store: Store, clock: Clock) -> Intake:
    return Intake(engine, store, identify, clock)


@pytest.fixture
def journaling(
    engine: Engine, store: Store, clock: Clock, tmp_path: Path
) -> Iterator[Callable[..., Intake]]:
    """Builds what takes instances into a journal first; ``size`` in bytes."""
    built: list[Intake] = []

    def build(size: int = 1 << 20) -> Intake:
        journal = Journal(tmp_path / "journal", size)
        built.append(Intake(engine, store, identify, clock, node="run", journal=journal))
        return built[-1]

    yield build
    for one in built:
        one.close()


@pytest.fixture
def held(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Keeps whoever files from writing a file until it is let go."""
    go, put = threading.Event(), store.put_promised
    begun = threading.Event()

    def wait(*arguments, **more):
        begun.set()
        assert go.wait(20)
        return put(*arguments, **more)

    monkeypatch.setattr(store, "put_promised", wait)
    go.begun = begun
    yield go
    go.set()


@pytest.fixture
def by_an_older_version(engine: Engine, store: Store) -> Callable[[], None]:
    """Has all rows say of their files what versions did that digested by SHA-256."""

    def say() -> None:
        with writing(engine) as connection:
            for table in (tables.instances, tables.results):
                for path in connection.execute(select(table.c.path)).scalars().all():
                    digest = f"sha256:{hashlib.sha256(store.read(path)).hexdigest()}"
                    connection.execute(
                        update(table).where(table.c.path == path).values(digest=digest)
                    )

    return say


@pytest.fixture
def data_set() -> Callable[..., bytes]:
    """Encodes the smallest data set that can be filed: explicit VR little endian."""

    def encode(uid: str, *, study: str = "1.2.3", modality: str = "CT", comment: str = "") -> bytes:
        dataset = Dataset()
        dataset.SOPClassUID = CT
        dataset.SOPInstanceUID = uid
        dataset.Modality = modality
        dataset.StudyInstanceUID = study
        dataset.SeriesInstanceUID = f"{study}.{1 if modality == 'CT' else 2}"
        dataset.ImageComments = comment
        buffer = DicomBytesIO()
        buffer.is_little_endian, buffer.is_implicit_VR = True, False
        write_dataset(buffer, dataset)
        return buffer.getvalue()

    return encode


@pytest.fixture
def arrival(data_set: Callable[..., bytes]) -> Callable[..., Arrival]:
    """What the listener would hand over for such a data set."""

    def arrive(uid: str, *, association: str = "a", caller: str = "PACS", **of: str) -> Arrival:
        kind = {"sop_class_uid": CT, "sop_instance_uid": uid, "transfer_syntax_uid": EXPLICIT}
        return Arrival(
            part10=part10(data_set(uid, **of), **kind),
            calling_ae_title=caller,
            peer="10.0.0.5:104",
            association=association,
            **kind,
        )

    return arrive


@pytest.fixture
def parcel(tmp_path: Path) -> Callable[..., Outgoing]:
    """Puts any bytes into a file that is sent as they are, under the UIDs that are given."""

    def make(content: bytes, uid: str, *, sop_class: str = CT, syntax: str = EXPLICIT) -> Outgoing:
        kind = {
            "sop_class_uid": sop_class,
            "sop_instance_uid": uid,
            "transfer_syntax_uid": syntax,
        }
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.parcel"
        path.write_bytes(part10(content, **kind))
        return Outgoing(path=path, **kind)

    return make


@pytest.fixture
def fast() -> bool:
    """Whether the lean reader serves; a module that holds both ways to it overrides this."""
    return True


@pytest.fixture
def listening(free_ports: Callable[[], int], *, fast: bool) -> Iterator[Callable[..., Peer]]:
    """Starts a listener over an intake; gives the peer that a sender has to name."""
    with ExitStack() as stack:

        def listen(receive: Callable[[Arrival], None], **policy: object) -> Peer:
            closed = policy.pop("closed", lambda _association: None)
            more = {"receive_together": policy.pop("together")} if "together" in policy else {}
            settings = Policy(port=free_ports(), **{"fast": fast, **policy})
            stack.enter_context(Listener(settings, receive=receive, closed=closed, **more))
            return Peer(ae_title=settings.ae_title, host="127.0.0.1", port=settings.port)

        yield listen


@pytest.fixture
def owe(engine, store, intake, arrival, data_set, clock):
    """Makes a job whose results are owed to the destinations."""

    def make(*uids, destinations=("pacs",)):
        intake.receive(arrival("1.2.3.9"))
        with writing(engine) as connection:
            job_id = jobs.enqueue(
                connection,
                studies.find(connection, "1.2.3"),
                instances.to_analyze(connection, "1.2.3"),
                bundle_digest="sha256:b",
                readiness=Readiness(why_ready="QUIET"),
                now=clock.now,
            )
            job = jobs.claim(connection, worker="w", now=clock.now, lease=timedelta(minutes=1))
            made = [kept(uid, job_id) for uid in uids]
            outcome = Outcome(state=JobState.DONE, results=made, destinations=destinations)
            assert jobs.conclude(connection, job, outcome, now=clock.now)

    def kept(uid, job_id):
        kind = {"sop_class_uid": CT, "sop_instance_uid": uid, "transfer_syntax_uid": EXPLICIT}
        of = {"series_instance_uid": "1.2.3.8", "study_instance_uid": "1.2.3"}
        content = part10(data_set(uid), **kind)
        stored = store.put_result(
            ResultObject(kind=ResultKind.REPORT, part10=content, **kind, **of)
        )
        return Result(
            job_id=job_id, kind="SR", path=stored.path, digest=stored.digest, **kind, **of
        )

    return make


@pytest.fixture(scope="session")
def authority(tmp_path_factory) -> Authority:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make certificates with")
    made = Authority(tmp_path_factory.mktemp("certificates"), "hospital")
    for name in ("node", "pacs", "other"):
        made.issue(name)
    return made


@pytest.fixture(scope="session")
def stranger(authority) -> Authority:
    """Another authority, which nobody here trusts."""
    made = Authority(authority.folder, "stranger")
    made.issue("intruder")
    return made


@pytest.fixture
def unwritable(store, monkeypatch):
    """Has the disk refuse every file, but not the journal."""

    def refuse(*_arguments, **_more):
        raise OutOfResources("the disk is full")

    monkeypatch.setattr(store, "put_promised", refuse)
    return monkeypatch.undo
