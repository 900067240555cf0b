"""The stages of one study's analysis: what was done, when it began and how long it took.

Whoever wants to know opens a recording; the steps below name themselves. Where nobody does, a
stage costs nothing. As in OpenTelemetry the recording is found by context, not passed along: what
is computed never depends on it (docs/decisions/0031-spans.md).
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """One step; ``name`` holds the stages around it: ``write.report``."""

    name: str
    start_s: float
    """Since the recording began."""
    seconds: float
    broken: bool = False
    """Whether it ended by an error."""

    @property
    def is_part(self) -> bool:
        """Whether it lies within another stage."""
        return "." in self.name


@dataclass(kw_only=True, eq=False)
class Recording:
    """The stages that have ended so far; ``clock`` gives seconds."""

    clock: Callable[[], float]
    _ended: list[Stage] = field(default_factory=list)
    _open: list[str] = field(default_factory=list)
    _begun: float = field(init=False)

    def __post_init__(self) -> None:
        self._begun = self.clock()

    @property
    def stages(self) -> tuple[Stage, ...]:
        """What has ended, in the order of its beginning, the whole before its parts."""
        return tuple(sorted(self._ended, key=lambda one: (one.start_s, one.name.count("."))))

    @property
    def seconds(self) -> Mapping[str, float]:
        """The seconds of each stage that lies in no other, to a tenth of a millisecond."""
        spent: dict[str, float] = {}
        for one in self.stages:
            if not one.is_part:
                spent[one.name] = round(spent.get(one.name, 0.0) + one.seconds, 4)
        return spent

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        self._open.append(name)
        started, broken = self.clock(), True
        try:
            yield
            broken = False
        finally:
            ended = self.clock()
            self._ended.append(
                Stage(
                    name=".".join(self._open),
                    start_s=round(started - self._begun, 6),
                    seconds=round(ended - started, 6),
                    broken=broken,
                )
            )
            self._open.pop()


_recording: ContextVar[Recording | None] = ContextVar("recording", default=None)


@contextmanager
def recorded(clock: Callable[[], float]) -> Iterator[Recording]:
    """Take down the stages of the block; within another recording it is that one which goes on."""
    outer = _recording.get()
    if outer is not None:
        yield outer
        return
    recording = Recording(clock=clock)
    token = _recording.set(recording)
    try:
        yield recording
    finally:
        _recording.reset(token)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Name what the block does, if anybody records; what lies within other stages is a part."""
    recording = _recording.get()
    if recording is None:
        yield
        return
    with recording._stage(name):
        yield
