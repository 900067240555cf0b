"""Everything that is fuzzed."""

from tests.fuzz import decoders, readers, wire
from tests.fuzz.target import Target

TARGETS: tuple[Target, ...] = (*wire.TARGETS, *readers.TARGETS, *decoders.TARGETS)
"""Their shares add up to one."""
