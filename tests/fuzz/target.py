"""One thing that is fuzzed: where its inputs come from, and what has to bear them."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

Bear = Callable[[bytes], int]
"""Takes one input and tells how many units it held; raises whatever must not be raised."""
Open = Callable[[Path], AbstractContextManager[Bear]]
INPUT_MOST: Final = 20_000


@dataclass(frozen=True, kw_only=True)
class Target:
    """What is fuzzed under one name."""

    name: str
    unit: str
    """What is counted, and what becomes of it."""
    seeds: Callable[[], Mapping[str, bytes]]
    change: Callable[[bytes, Random], bytes]
    open: Open
    share: float
    """Which part of all units is this target's."""

    def inputs(self, seed: int) -> Iterator[bytes]:
        """Yield damaged seeds without end, the same ones for the same seed."""
        chance = Random(f"{self.name} {seed}")
        seeds = list(self.seeds().values())
        while True:
            yield self.change(chance.choice(seeds), chance)[:INPUT_MOST]
