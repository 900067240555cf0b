"""Builds the running node from its settings; the only place where objects are wired."""

import gc
import logging
import multiprocessing
import os
import random
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from secrets import token_hex
from typing import TYPE_CHECKING

from sqlalchemy import Engine as SqlEngine

from db import retention
from db.engine import connect, reading
from db.migrate import upgrade
from inference import bundle as bundles
from inference.findings import Reason
from node import audit, log, networks, recording, schedule
from node.assembly import Assembler
from node.audit import Record, ignore
from node.census import Census
from node.completeness import Patience
from node.config import Peer, Settings
from node.crew import Crew, Duty, Limits
from node.exchange import Host, build_exchange
from node.net.commitment import Report
from node.net.find import StudyCounts, count_instances
from node.net.scp import Listener
from node.parts import PART_AGE_S
from node.presence import BEAT_S, Presence
from node.reception import JOURNALS_S, Reception, build_intake, recover
from node.retention import Retention, Rules
from node.room import Quota
from node.setback import take_back
from node.stop import Stop
from node.store import Store
from node.telemetry import Telemetry, to_collector, to_file

if TYPE_CHECKING:
    from inference.analyze import Model
    from node.analysis import Recipe
    from node.worker import Worker

logger = logging.getLogger(__name__)

# What only workers need they import when they are built: who receives holds 40 MB less.

TRACES_S = 5
"""How often the traces of studies are handed on, where anybody gets them."""
WATCH_S = 0.25
"""How often a process looks whether it is to end, and after a worker that runs alone."""


def now() -> datetime:
    """Return the present moment; below this module it is passed in."""
    return datetime.now(UTC)


def software_version() -> str:
    """Return the version of the installed node."""
    try:
        return version("petct-node")
    except PackageNotFoundError:
        return "unknown"


@cache
def node_name() -> str:
    """Name this process among all that share its database, and among all that it ever was."""
    return f"{socket.gethostname()}-{os.getpid()}-{token_hex(4)}"


def listener_name(settings: Settings) -> str:
    """Name the node over its runs: nobody else listens at this port of this host."""
    return f"{socket.gethostname()}:{settings.listener.port}"


def build_recipe(settings: Settings, model: "Model | None" = None) -> "Recipe":
    """Put together what every study of this installation is analysed with.

    The networks are opened here where no model is given.
    """
    from inference.lesion import LesionRules
    from node import engines
    from node.analysis import Recipe
    from node.dicom.results import Equipment, ResultOptions

    return Recipe(
        model=model or engines.build_model(settings),
        lesion=LesionRules(
            threshold_fraction=settings.lesion.threshold_fraction, suv_min=settings.lesion.suv_min
        ),
        selection=settings.selection,
        equipment=Equipment(
            manufacturer=settings.results.manufacturer,
            software_version=software_version(),
            device_serial_number=settings.results.device_serial_number,
            institution=settings.results.institution,
        ),
        options=ResultOptions(
            segmentation_grid=settings.results.segmentation_grid,
            key_image=settings.results.key_image,
            rotating_mip=settings.results.rotating_mip,
            saliency_map=settings.results.saliency_map,
            hydratable=settings.results.hydratable,
            supersede=settings.results.supersede,
            rejection_title=settings.results.rejection_title,
        ),
        refusals=settings.results.refusals,
    )


def open_database(settings: Settings) -> SqlEngine:
    """Open the database, brought to the newest revision."""
    url = settings.database.opened(os.environ)
    upgrade(url)
    return connect(url)


def record_of(settings: Settings) -> AbstractContextManager[Record]:
    """Open the audit trail of this process; what it gives records an event."""
    return recording.trail(settings, clock=now)


def open_store(settings: Settings, engine: SqlEngine | None = None) -> Store:
    """Open the store; it keeps its quota where the database tells how much it holds."""

    def held() -> int:
        assert engine is not None
        with reading(engine) as connection:
            return retention.stored_bytes(connection)

    limit = settings.store.bytes_max
    quota = None if limit is None or engine is None else Quota(limit, held)
    return Store(settings.store.root, settings.store.free_bytes_min, quota=quota)


def build_retention(
    settings: Settings, engine: SqlEngine, store: Store, record: Record = ignore
) -> Retention:
    """Build what deletes what need not be kept any longer."""
    keep = settings.retention

    def deleted(study: str, count: int, why: str) -> None:
        about = audit.Study(study_instance_uid=study)
        record(audit.study_deleted(about, why=f"{count} files: {why}"))

    rules = Rules(
        instances=_days(keep.instances_days),
        results=_days(keep.results_days),
        failed=_days(keep.failed_days),
        quarantine=_days(keep.quarantine_days),
        pledged=_days(keep.pledged_days),
        store_bytes_max=keep.store_bytes_max,
        free_bytes_min=keep.free_bytes_min,
    )
    return Retention(engine, store, rules, deleted=deleted)


def build_telemetry(settings: Settings, engine: SqlEngine) -> Telemetry | None:
    """Build what hands traces on; None where nobody is to get them."""
    into = settings.telemetry
    if into.file is not None:
        export = to_file(into.file)
    elif into.endpoint is not None:
        export = to_collector(into.endpoint, into.tls)
    else:
        return None
    wait = timedelta(seconds=into.wait_s)
    return Telemetry(engine, export, version=software_version(), wait=wait)


def _days(days: float | None) -> timedelta | None:
    return None if days is None else timedelta(days=days)


def build_worker(
    settings: Settings, *, name: str, record: Record = ignore, model: "Model | None" = None
) -> "Worker":
    """Build a worker; no other that shares its database ever had its name."""
    from node.worker import Worker

    return Worker(
        name=name,
        database=open_database(settings),
        store=open_store(settings),
        recipe=build_recipe(settings, model),
        destinations=tuple(settings.destinations),
        lease=timedelta(seconds=settings.workers.lease_s),
        attempts=settings.workers.attempts,
        record=record,
    )


def build_assembler(
    settings: Settings, engine: SqlEngine, *, listening_since: datetime
) -> Assembler:
    """Build what decides which studies are complete."""

    def count(peer: Peer, study: str) -> StudyCounts | None:
        return count_instances(peer, study, calling_ae_title=settings.listener.ae_title)

    patience = Patience(
        association_quiet=timedelta(seconds=settings.assembly.association_quiet_s),
        quiet=timedelta(seconds=settings.assembly.quiet_s),
        counterpart=timedelta(seconds=settings.assembly.counterpart_s),
        give_up=timedelta(seconds=settings.assembly.give_up_s),
    )
    census = Census(settings.assembly.sources, count)
    return Assembler(
        engine,
        census,
        patience,
        bundle_digest=bundles.load(settings.model.bundle).digest,
        listening_since=listening_since,
    )


def serve(settings: Settings) -> int:
    """Run the whole node until SIGTERM or SIGINT; return the exit status."""
    stop = Stop()
    log.configure(settings.log_level)
    with running_node(settings):
        while not stop.wait(WATCH_S):
            pass
        logger.info("stopping")
    return 0


@contextmanager
def running_node(settings: Settings) -> Iterator[None]:
    """Run listener, clock and worker processes for as long as the block lasts."""
    with record_of(settings) as record, _node(settings, record):
        yield


@contextmanager
def _node(settings: Settings, record: Record) -> Iterator[None]:
    engine = open_database(settings)
    store = open_store(settings, engine)
    store.probe()
    keeping = build_retention(settings, engine, store, record)
    presence = Presence(engine=engine, run=node_name(), name=listener_name(settings))
    presence.tell(now())
    telemetry = build_telemetry(settings, engine)
    assembler = build_assembler(settings, engine, listening_since=now())
    listener: Listener | None = None

    def report_over(association: str, told: Report) -> int | None:
        return None if listener is None else listener.report(association, told)

    intake = build_intake(settings, engine, store, clock=now, node=presence.run)
    host = Host(
        node=node_name(),
        clock=now,
        report_over=report_over,
        chance=random.random,
        record=record,
        settle=intake.flush,
    )
    exchange = build_exchange(settings, engine, store, host)
    reception = Reception(intake, record)
    with ExitStack() as stack:
        stack.enter_context(recording.running(settings, record))
        stack.callback(engine.dispose)
        stack.callback(assembler.close)
        stack.callback(exchange.close)
        shared = stack.enter_context(networks.shared(settings, name=node_name()))
        crew = stack.enter_context(
            build_crew(settings, engine, size=settings.workers.processes, ask=shared.addresses)
        )
        scheduler = schedule.start(
            {
                "assembly": lambda: crew.call(len(assembler.assemble(now()))),
                **exchange.tasks(),
                "workers": crew.watch,
                "presence": schedule.every(BEAT_S, lambda: presence.tell(now())),
                "retention": schedule.every(
                    settings.retention.interval_s, lambda: keeping.retain(now())
                ),
                "parts": schedule.every(PART_AGE_S, store.sweep),
                "journals": schedule.every(JOURNALS_S, lambda: recover(settings, intake)),
                "networks": shared.watch,
                **_tracing(telemetry),
            }
        )
        stack.callback(scheduler.shutdown)
        stack.enter_context(schedule.heeding(crew.has_news, scheduler, "delivery", crew.await_news))
        stack.enter_context(schedule.heeding(reception.has_news, scheduler, "assembly"))
        leave_alone_what_is_loaded()
        stack.callback(gc.unfreeze)
        stack.callback(intake.close)
        listener = stack.enter_context(
            Listener(
                settings.listener,
                receive=reception.receive,
                closed=reception.closed,
                receive_together=reception.receive_together,
                commitment=exchange.commitment,
                record=record,
            )
        )
        yield


def leave_alone_what_is_loaded() -> None:
    """Keep the collector of cycles off tables and code, which stay: a quarter of receiving."""
    gc.collect()
    gc.freeze()


def _tracing(telemetry: Telemetry | None) -> dict[str, Callable[[], object]]:
    if telemetry is None:
        return {}
    return {"telemetry": schedule.every(TRACES_S, lambda: telemetry.hand_on(now()))}


def work_watched(settings: Settings) -> int:
    """Run one worker in a process that is watched, until SIGTERM or SIGINT."""
    stop = Stop()
    log.configure(settings.log_level)
    engine = open_database(settings)
    with build_crew(settings, engine, size=1) as crew:
        while not stop.wait(WATCH_S):
            crew.watch()
    engine.dispose()
    return 0


def work(settings: Settings) -> int:
    """Run one worker in this process until SIGTERM or SIGINT; nobody watches it."""
    stop = Stop()
    log.configure(settings.log_level)
    alone = Duty(multiprocessing.get_context("spawn"), number=0)
    _work_until(settings, stop.is_set, node_name(), alone)
    return 0


def build_crew(
    settings: Settings, engine: SqlEngine, *, size: int, ask: Sequence[str] = ()
) -> Crew:
    """Build the worker processes; the study of one that is gone is taken back at once.

    They open networks of their own where they are not told whom to ask.
    """
    workers = settings.workers

    def lost(name: str, reason: Reason) -> None:
        take_back(engine, name, reason, attempts=workers.attempts, now=now())

    return Crew(
        size,
        partial(_crew_member, settings, ask),
        name=node_name(),
        limits=Limits(timeout_s=workers.timeout_s, memory_bytes_max=workers.memory_bytes_max),
        lost=lost,
    )


def _crew_member(settings: Settings, ask: Sequence[str], name: str, duty: Duty) -> None:
    """Be one worker until told to stop."""
    from node import engines

    # The terminal's Ctrl-C reaches the whole process group; the node decides when workers stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    log.configure(settings.log_level)
    model = networks.ask(settings, ask, duty) if ask else None
    _work_until(engines.for_worker(settings, duty.number), duty.is_over, name, duty, model)


def _work_until(
    settings: Settings,
    is_over: Callable[[], bool],
    name: str,
    duty: Duty,
    model: "Model | None" = None,
) -> None:
    from node import shift
    from node.rehearsal import rehearse

    with record_of(settings) as record:
        worker = build_worker(settings, name=name, record=record, model=model)
        rehearse(worker.recipe, worker.store.scratch, when=now(), clock=time.perf_counter)
        leave_alone_what_is_loaded()
        shift.work(
            worker,
            duty,
            is_over=is_over,
            is_ready=lambda: networks.are_open(worker.recipe.model),
            studies_max=settings.workers.studies_max,
        )
