"""The networks in processes of their own, one for each GPU, where workers are to share them."""

import logging
import math
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import current_process
from secrets import token_hex
from threading import Lock
from typing import TYPE_CHECKING

from inference.errors import EngineUnavailable, InferenceError
from inference.findings import Reason
from node import log
from node.config import Settings
from node.crew import Crew, Duty, Limits

if TYPE_CHECKING:
    from inference.analyze import Model

# Who only starts these processes does without what they import.

logger = logging.getLogger(__name__)

MIN_WORKERS = 2
"""One worker has one study, and nobody to share with."""
RUN_S = 300
"""Who runs a batch for longer hangs, and is replaced."""
LOOK_S = 0.25


@dataclass(frozen=True, kw_only=True)
class Shared:
    """Where the networks of each device are asked; nowhere where workers open their own."""

    addresses: Sequence[str] = ()
    watch: Callable[[], None] = lambda: None
    """Replaces processes that are gone or hang; to be called again and again."""


@contextmanager
def shared(settings: Settings, *, name: str) -> Iterator[Shared]:
    """Run a process for each device that workers use, if ``model.batch`` says so and several ask.

    Nobody but processes that this one starts can ask them.
    """
    if settings.model.batch == 1 or settings.workers.processes < MIN_WORKERS:
        yield Shared()
        return
    devices = _devices(settings)
    # Names in the abstract space of sockets (unix(7)): they leave nothing behind on a disk.
    addresses = [f"\0petct-node-{token_hex(8)}-{device}" for device in devices]

    def lost(who: str, reason: Reason) -> None:
        logger.error("the networks of %s are opened anew: %s", who, reason.meaning)

    with Crew(
        len(devices),
        partial(_serve, settings, devices, addresses),
        name=f"{name}-networks",
        limits=Limits(timeout_s=run_s(settings)),
        lost=lost,
    ) as crew:
        yield Shared(addresses=addresses, watch=crew.watch)


def run_s(settings: Settings) -> float:
    """Return how long a run may take: not so long that the studies that wait for it are blamed."""
    return min(RUN_S, (settings.workers.timeout_s or math.inf) / 2)


def ask(settings: Settings, addresses: Sequence[str], duty: Duty) -> "Model":
    """Return the bundle with the networks that another process runs for a worker's device.

    ``SystemExit`` where the worker is told to finish before they are open.
    """
    from inference import served
    from inference.analyze import Model
    from node import engines

    (device,) = engines.for_worker(settings, duty.number).model.devices
    bundle = engines.load_bundle(settings)
    logger.info("worker %d asks for the networks of device %d", duty.number, device)
    duty.end()  # to open them takes as long as it takes
    try:
        asked = served.ask(
            addresses[_devices(settings).index(device)],
            bundle_digest=bundle.digest,
            secret=current_process().authkey,
            is_over=duty.is_over,
        )
    except EngineUnavailable:
        if duty.is_over():
            sys.exit()
        raise
    duty.begin()
    return Model(bundle=bundle, engines=asked)


def are_open(model: "Model") -> bool:
    """Wait for the networks that are asked; False where there is nothing more to ask of them.

    So a study is taken up when they are there, and does not use up its time or attempts before.
    """
    from inference.served import Served

    try:
        for engine in model.engines.values():
            if isinstance(engine, Served):
                engine.await_open()
    except InferenceError as error:  # told to finish, or a successor runs other engines
        logger.warning("no further study is taken up: %s", error)
        return False
    return True


def _devices(settings: Settings) -> tuple[int, ...]:
    """Return the devices that workers use, each once; they take them in turn."""
    return tuple(dict.fromkeys(settings.model.devices[: settings.workers.processes]))


def turns(duty: Duty) -> Callable[[], AbstractContextManager[None]]:
    """Return what lets one run at a time go on a device; the crew sees how long each takes."""
    lock = Lock()

    @contextmanager
    def turn() -> Iterator[None]:
        with lock:
            duty.begin()
            try:
                yield
            finally:
                duty.end()

    return turn


def _serve(
    settings: Settings, devices: Sequence[int], addresses: Sequence[str], name: str, duty: Duty
) -> None:
    """Be the process of one device until told to finish, or until the device is lost."""
    from inference import served
    from inference.batching import Batching
    from node import engines

    # The terminal's Ctrl-C reaches the whole process group; the node decides who ends when.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    log.configure(settings.log_level)
    duty.end()  # to build plans takes as long as it takes
    model = engines.build_model(engines.for_networks(settings, devices[duty.number]))
    turn = turns(duty)
    together = {
        task: Batching(engine, settings.model.batch, turn=turn)
        for task, engine in model.engines.items()
    }
    with served.serving(
        together,
        bundle_digest=model.bundle.digest,
        address=addresses[duty.number],
        secret=current_process().authkey,
    ) as lost:
        logger.info("networks %s ready, up to %d cases at once", name, settings.model.batch)
        while not duty.is_over():
            if lost.wait(LOOK_S):
                logger.error("networks %s end, for others to begin anew", name)
                sys.exit(1)
