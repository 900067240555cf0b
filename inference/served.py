"""Networks that one process runs for others on its machine, asked over a socket."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import AuthenticationError
from multiprocessing.connection import (
    Client,
    Connection,
    Listener,
    answer_challenge,
    deliver_challenge,
)
from threading import Event, Lock, Thread

from inference.engine import Engine, Explained
from inference.errors import DeviceLost, EngineUnavailable, InferenceError
from inference.volume import Voxels

logger = logging.getLogger(__name__)

FAMILY = "AF_UNIX"
LOOK_S = 0.05
"""How often who waits for the networks to be open looks again."""
LATE_S = 60
"""How often who waits says so."""
PEERS_MAX = 64
"""So many may knock at a time."""
PAUSE_S = 1
"""How long nobody is welcomed where the machine lacks files or threads for it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Greeting:
    """What a process says of its networks to everybody who comes."""

    bundle_digest: str
    engines: Mapping[str, tuple[str, str, str]]
    """Name, device and precision of the engine of each task."""


@contextmanager
def serving(
    engines: Mapping[str, Engine], *, bundle_digest: str, address: str, secret: bytes
) -> Iterator[Event]:
    """Answer for the length of the block whoever knows the secret, each in a thread of its own.

    Gives the event that is set when a device is lost: nothing more comes of this process then. What
    goes through the socket is pickled, so the secret must be known to trusted processes alone.
    """
    lost = Event()
    greeting = Greeting(
        bundle_digest=bundle_digest,
        engines={task: (one.name, one.device, one.precision) for task, one in engines.items()},
    )

    def attend(peer: Connection) -> None:
        with peer, suppress(EOFError, OSError):  # who asked is gone
            if not _is_trusted(peer, secret):
                return
            peer.send(greeting)
            while True:
                task, pet, ct = peer.recv()
                answer = _answer(engines[task], pet, ct)
                try:
                    peer.send(answer)
                finally:
                    if isinstance(answer, DeviceLost):
                        lost.set()

    over = Event()
    # The listener itself does not ask for the secret: who is slow to tell it would keep out others.
    with Listener(address, FAMILY, backlog=PEERS_MAX) as listener:
        given = (listener, attend, over)
        Thread(target=_welcome, args=given, name="networks", daemon=True).start()
        try:
            yield lost
        finally:
            over.set()


def _welcome(listener: Listener, attend: Callable[[Connection], None], over: Event) -> None:
    """Attend each who knocks in a thread of its own."""
    while not over.is_set():
        try:
            Thread(
                target=attend, args=(listener.accept(),), name="networks-peer", daemon=True
            ).start()
        except (OSError, RuntimeError) as error:  # closed, or no file or thread is left
            if not over.wait(PAUSE_S):
                logger.error("the networks cannot be asked: %s", error)  # noqa: TRY400  the traceback says no more


def _is_trusted(peer: Connection, secret: bytes) -> bool:
    """Whether who knocks knows the secret; he hears that it is known here, too."""
    try:
        deliver_challenge(peer, secret)
        answer_challenge(peer, secret)
    except (AuthenticationError, EOFError, OSError) as error:
        logger.warning("who asked for the networks is not let in: %s", error)
        return False
    return True


def _answer(engine: Engine, pet: Voxels, ct: Voxels) -> Explained | InferenceError:
    try:
        return engine.explained(pet, ct)
    except InferenceError as error:
        return error
    except Exception as error:
        logger.exception("%s cannot run a case", engine.name)
        return InferenceError(f"{engine.name} cannot run a case: {error}")


class Served:
    """One of the networks that another process runs."""

    def __init__(self, asked: "_Asked", task: str) -> None:
        self._asked = asked
        self._task = task
        self.name, self.device, self.precision = asked.greeting.engines[task]

    def await_open(self) -> None:
        """Wait for the successor where the process that ran it ended; raises as ``explained``."""
        self._asked.await_open()

    def logits(self, pet: Voxels, ct: Voxels) -> Voxels:
        """Map ``(n, channel, row, column)`` PET and CT inputs to ``(n, 2)`` logits."""
        return self.explained(pet, ct).logits

    def explained(self, pet: Voxels, ct: Voxels) -> Explained:
        """Return every output that the network has; raises ``InferenceError`` as the engine does.

        ``DeviceLost`` where the process that runs it ends meanwhile, or where its successor runs
        other engines. A successor of one that ended before is waited for.
        """
        return self._asked.explained(self._task, pet, ct)


class _Asked:
    """A way to the process; threads use it one after the other."""

    def __init__(self, knock: Callable[[], tuple[Connection, Greeting]]) -> None:
        self._knock = knock
        self._peer, self.greeting = knock()
        self._lock = Lock()

    def await_open(self) -> None:
        with self._lock:
            self._reach()

    def explained(self, task: str, pet: Voxels, ct: Voxels) -> Explained:
        with self._lock:
            self._reach()
            try:
                self._peer.send((task, pet, ct))
                answer = self._peer.recv()
            except (EOFError, OSError) as error:
                raise DeviceLost("the process that runs the networks is gone") from error
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, Explained)
        return answer

    def _reach(self) -> None:
        """Ask the successor from now on where the process ended while nobody asked it."""
        if not self._peer.closed and not self._peer.poll():  # unasked it sends but its end
            return
        self._peer.close()
        self._peer, greeting = self._knock()
        if greeting != self.greeting:  # results would tell of engines that did not make them
            self._peer.close()
            raise DeviceLost(f"the networks run as {greeting} now")


def ask(
    address: str, *, bundle_digest: str, secret: bytes, is_over: Callable[[], bool]
) -> Mapping[str, Served]:
    """Return the networks by their tasks, as soon as the process has opened them.

    ``EngineUnavailable`` where ``is_over`` before that, or where they are another bundle's.
    """
    asked = _Asked(lambda: _greeted(address, secret, is_over))
    digest = asked.greeting.bundle_digest
    if digest != bundle_digest:
        raise EngineUnavailable(
            f"the networks that run are of bundle {digest}, not {bundle_digest}: "
            "restart the node to run those of another"
        )
    return {task: Served(asked, task) for task in asked.greeting.engines}


def _greeted(
    address: str, secret: bytes, is_over: Callable[[], bool]
) -> tuple[Connection, Greeting]:
    begun = time.monotonic()
    late_at = begun + LATE_S
    while not is_over():
        if (now := time.monotonic()) >= late_at:
            logger.warning("the networks are not open after %.0f s", now - begun)
            late_at = now + LATE_S
        try:
            peer = Client(address, FAMILY, authkey=secret)
            return peer, peer.recv()
        except (FileNotFoundError, ConnectionError, EOFError):  # not open yet, or just gone
            time.sleep(LOOK_S)
    raise EngineUnavailable("the process that runs the networks had not opened them")
