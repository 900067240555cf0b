"""One thread reads what many associations bring, and has it kept group by group.

The interpreter runs one thread at a time anyway. Where each association works in its own, most of
their time passes with waking each other. What may take long is still done there.
"""

import logging
import select
import socket
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from threading import Lock, Thread
from time import monotonic
from typing import TypeAlias

from node.net.conversation import Brought, Conversation, Delivery, Status, Steps, Work
from node.net.inbox import SILENT, Gone, Late
from node.net.session import Session

logger = logging.getLogger(__name__)

JOIN_S = 5.0
"""A disk that hangs keeps nobody from stopping."""
LOOK_S = 0.05
"""How often somebody looks for peers that are late."""
WOKEN_BYTES = 4096

Outcome: TypeAlias = Status | Exception | None
Store: TypeAlias = Callable[[Session, Delivery], Status]
StoreTogether: TypeAlias = Callable[[Brought], Sequence[Status | None]]


class _Ended:
    """How a conversation ended, or what was raised in it."""

    def __init__(self, how: str | Exception) -> None:
        self._how = how

    def told(self) -> str:
        if isinstance(self._how, Exception):
            raise self._how
        return self._how


class _Guest:
    """A conversation among others, and the thread of its association, which works or waits."""

    def __init__(self, conversation: Conversation) -> None:
        self.conversation = conversation
        self.steps: Steps[str] = conversation.steps()
        self.descriptor = conversation.connection.fileno()
        self.work: SimpleQueue[Work | _Ended] = SimpleQueue()
        self.waits = False


class Rounds:
    """Serves conversations, one after the other as their bytes come; from many threads.

    ``store_together`` keeps instances that are soon safe; of the others it says None, and ``store``
    keeps those in the threads of their associations.
    """

    def __init__(self, store_together: StoreTogether, store: Store) -> None:
        self._store_together = store_together
        self._store = store
        self._lock = Lock()
        self._thread: Thread | None = None
        self._is_closed = False
        self._poll = select.epoll()
        self._bell, self._rope = socket.socketpair()
        self._bell.settimeout(0)
        self._poll.register(self._bell, select.EPOLLIN)
        self._come: deque[tuple[_Guest, Outcome]] = deque()
        self._guests: dict[int, _Guest] = {}
        self._brought: list[tuple[_Guest, Delivery]] = []
        self._look_at = 0.0

    def serve(self, conversation: Conversation) -> str:
        """Go through a conversation; return how it ended, or raise what was raised in it."""
        guest = _Guest(conversation)
        self._send_in(guest, None)
        while not isinstance(asked := guest.work.get(), _Ended):
            self._send_in(guest, _done(asked))
        return asked.told()

    def close(self) -> None:
        """End the thread; conversations that are left end as if their peers had gone."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
        self._rope.send(b"\0")
        if self._thread is not None:
            self._thread.join(JOIN_S)
            if self._thread.is_alive():
                logger.error("a group of instances is still being kept")
                return
        self._poll.close()
        self._bell.close()
        self._rope.close()

    def _send_in(self, guest: _Guest, outcome: Outcome) -> None:
        """Have a conversation gone on with."""
        with self._lock:
            if self._is_closed:
                guest.work.put(_Ended(Gone()))
                return
            if self._thread is None:
                thread = Thread(target=self._run, name="receiving", daemon=True)
                thread.start()
                self._thread = thread  # where none could be started, the next one tries again
            self._come.append((guest, outcome))
            self._rope.send(b"\0")

    def _run(self) -> None:
        while not self._is_closed:
            try:
                self._round()
            except Exception:  # a bug of ours, or no memory: it costs who is here, and nobody after
                logger.exception("reading for all associations failed")
                self._brought.clear()
                for guest in list(self._guests.values()):
                    self._send_out(guest, _Ended(Gone()))
        for guest in [*self._guests.values(), *(guest for guest, _ in self._come)]:
            guest.work.put(_Ended(Gone()))

    def _round(self) -> None:
        """Go on with whoever has bytes, and have kept together what is whole then."""
        for descriptor, _ in self._poll.poll(self._pause_s()):
            guest = self._guests.get(descriptor)
            if guest is None:
                self._let_in()
            elif guest.waits:
                self._go_on(guest, None)
        if self._brought:
            self._keep()
        self._look_for_the_late()

    def _pause_s(self) -> float | None:
        if self._brought:
            return 0
        return LOOK_S if self._guests else None

    def _let_in(self) -> None:
        """Take those back whose own work is done, and those who come."""
        with suppress(BlockingIOError):
            self._bell.recv(WOKEN_BYTES)
        while self._come:
            guest, outcome = self._come.popleft()
            try:
                self._poll.register(guest.descriptor, select.EPOLLIN)
            except (OSError, ValueError):  # the connection was closed meanwhile
                guest.work.put(_Ended(Gone()))
                continue
            self._guests[guest.descriptor] = guest
            self._go_on(guest, outcome)

    def _keep(self) -> None:
        """Have all kept that has been brought, and answer."""
        brought, self._brought = self._brought, []
        told: Sequence[Status | None] = [None] * len(brought)
        try:
            told = self._store_together([(one.conversation.session, what) for one, what in brought])
        except Exception:  # a bug of ours, which each meets again in its own thread
            logger.exception("%d instances could not be kept together", len(brought))
        for (guest, delivery), status in zip(brought, told, strict=True):
            if status is None:
                self._send_out(guest, partial(self._store, guest.conversation.session, delivery))
            else:
                self._go_on(guest, status)

    def _go_on(self, guest: _Guest, outcome: Outcome) -> None:
        """Go on with a conversation to where it waits for something."""
        guest.waits = False
        try:
            if isinstance(outcome, Exception):
                asked = guest.steps.throw(outcome)
            else:
                asked = guest.steps.send(outcome)
        except StopIteration as end:
            self._send_out(guest, _Ended(end.value))
        except Exception as error:  # noqa: BLE001  it is raised again in the association's thread
            self._send_out(guest, _Ended(error))
        else:
            if isinstance(asked, Delivery):
                self._brought.append((guest, asked))
            elif asked is None:
                guest.waits = True
            else:
                self._send_out(guest, asked)

    def _send_out(self, guest: _Guest, work: Work | _Ended) -> None:
        """Let the thread of the association go on."""
        del self._guests[guest.descriptor]
        with suppress(OSError):  # what has ended needs none
            self._poll.unregister(guest.descriptor)
        guest.work.put(work)

    def _look_for_the_late(self) -> None:
        now = monotonic()
        if now < self._look_at:
            return
        self._look_at = now + LOOK_S
        for guest in list(self._guests.values()):
            if guest.waits and guest.conversation.until < now:
                self._go_on(guest, Late(SILENT))


def _done(work: Work) -> Outcome:
    """Return what comes of some work, or what it raises."""
    try:
        return work()
    except Exception as error:  # noqa: BLE001  it is raised again where the work was asked for
        return error


def alone(conversation: Conversation, store: Store) -> str:
    """Go through a conversation whose steps never wait for bytes, in the calling thread."""
    steps = conversation.steps()
    outcome: Status | None = None
    try:
        while True:
            asked = steps.send(outcome)
            outcome = None
            if isinstance(asked, Delivery):
                outcome = store(conversation.session, asked)
            elif asked is not None:
                asked()
    except StopIteration as end:
        return str(end.value)
