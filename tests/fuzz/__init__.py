"""Fuzzing: inputs that no device sends, by the million, and what became of each."""

from tests.fuzz import decoders, readers, wire
from tests.fuzz.target import Target

TARGETS: tuple[Target, ...] = (*wire.TARGETS, *readers.TARGETS, *decoders.TARGETS)
"""Everything that is fuzzed; their shares add up to one."""
