"""Runs what waits for a network as one batch."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import pairwise
from threading import Event, Lock

import numpy as np

from inference.engine import OUTPUTS, Engine, Explained
from inference.errors import DeviceLost
from inference.volume import Voxels


@dataclass(eq=False, slots=True)
class _Case:
    """What one thread asks, and what comes of it."""

    pet: Voxels
    ct: Voxels
    told: Explained | None = None
    error: Exception | None = None
    called: Event = field(default_factory=Event)
    """Set when it is over, or when it has waited longest and is to run the next batch."""

    @property
    def is_over(self) -> bool:
        return self.told is not None or self.error is not None

    def goes_with(self, other: "_Case") -> bool:
        """Whether both fit into one batch."""
        return _shape(self.pet) == _shape(other.pet) and _shape(self.ct) == _shape(other.ct)


class Batching:
    """One engine for many threads, which takes as one batch what came while it ran.

    Nobody waits for company: who finds the engine free runs at once. What ``turn`` gives is held
    during a run; engines that share a device may share it. What else is in a batch may move the
    last bits of a case's answer, as another size of batch is calculated in another order.
    """

    def __init__(
        self,
        engine: Engine,
        most: int,
        *,
        turn: Callable[[], AbstractContextManager[object]] | None = None,
    ) -> None:
        if most < 1:
            raise ValueError(f"a batch holds at least 1 case, got {most}")
        self._engine = engine
        self._most = most
        alone = Lock()
        self._turn = turn or (lambda: alone)
        self._lock = Lock()  # of those that wait; never held during a run
        self._waiting: list[_Case] = []

    @property
    def name(self) -> str:
        """The engine's."""
        return self._engine.name

    @property
    def device(self) -> str:
        """The engine's."""
        return self._engine.device

    @property
    def precision(self) -> str:
        """The engine's."""
        return self._engine.precision

    @property
    def waiting(self) -> int:
        """So many ask and are in no run yet."""
        return len(self._waiting)

    def logits(self, pet: Voxels, ct: Voxels) -> Voxels:
        """Map ``(n, channel, row, column)`` PET and CT inputs to ``(n, 2)`` logits."""
        return self.explained(pet, ct).logits

    def explained(self, pet: Voxels, ct: Voxels) -> Explained:
        """Return every output that the network has; raises what the engine raises of these inputs.

        ``DeviceLost`` is raised for all that were in the run.
        """
        own = _Case(pet, ct)
        with self._lock:
            self._waiting.append(own)
            self._call_first()
        own.called.wait()
        if not own.is_over:
            # Who waited longest asks for the turn alone: nobody who has his answer waits for it.
            with self._turn():
                together = self._next()
                self._run(together)
            for case in together:
                case.called.set()
        if own.told is not None:
            return own.told
        assert own.error is not None
        raise own.error

    def _next(self) -> Sequence[_Case]:
        """Take those that waited longest and fit together; one larger than a batch goes alone."""
        with self._lock:
            first, *others = self._waiting
            taken, size = [first], len(first.pet)
            for one in others:
                if size + len(one.pet) <= self._most and one.goes_with(first):
                    taken.append(one)
                    size += len(one.pet)
            self._waiting = [one for one in self._waiting if one not in taken]
            self._call_first()
        return taken

    def _call_first(self) -> None:
        if self._waiting:
            self._waiting[0].called.set()

    def _run(self, cases: Sequence[_Case]) -> None:
        try:
            for case, told in zip(cases, self._told(cases), strict=True):
                case.told = told
        except DeviceLost as lost:
            for case in cases:
                case.error = lost
        except Exception as error:  # noqa: BLE001  told to whoever asked
            if len(cases) == 1:
                cases[0].error = error
            else:  # one that cannot be run takes nobody down with it
                for case in cases:
                    self._run([case])

    def _told(self, cases: Sequence[_Case]) -> Iterator[Explained]:
        if len(cases) == 1:
            yield self._engine.explained(cases[0].pet, cases[0].ct)
            return
        whole = self._engine.explained(
            np.concatenate([case.pet for case in cases]),
            np.concatenate([case.ct for case in cases]),
        )
        ends = np.cumsum([0, *(len(case.pet) for case in cases)])
        for start, end in pairwise(ends):
            there = (name for name in OUTPUTS if getattr(whole, name) is not None)
            yield Explained(**{name: getattr(whole, name)[start:end] for name in there})


def _shape(voxels: Voxels) -> tuple[int, ...]:
    """Return the shape of one case."""
    return voxels.shape[1:]
