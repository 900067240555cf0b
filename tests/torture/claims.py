"""One line of the table: what was done, what is claimed, what was found."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Self

SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What a trial found; ``holds`` says whether it is what was promised."""

    trial: str
    claim: str
    found: str
    holds: bool

    @classmethod
    def of(cls, trial: str, claim: str, faults: Sequence[str], *, among: int | None = None) -> Self:
        """Claim that there are no faults; the first ones are shown where there are."""
        number = f"{len(faults)}" if among is None else f"{len(faults)} of {among}"
        shown = "; ".join(faults[:SHOWN])
        return cls(
            trial=trial,
            claim=claim,
            found=f"{number}: {shown}" if faults else number,
            holds=not faults and among != 0,
        )


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What a part is given: how often, where, from which seed, and when to leave off early."""

    count: int
    folder: Path
    seed: int = 0
    stop: Event = field(default_factory=Event)


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part that has run, with its lines."""

    name: str
    started_at: str
    seconds: float
    seed: int
    claims: tuple[Claim, ...]

    @property
    def holds(self) -> bool:
        """Whether all of its lines do, of which there must be some."""
        return bool(self.claims) and all(claim.holds for claim in self.claims)
