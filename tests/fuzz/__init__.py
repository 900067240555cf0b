"""Fuzzing: inputs that no device sends, by the million, and what became of each."""
