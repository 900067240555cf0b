"""Keeps the state of a run on disk, so that a killed run goes on where it was."""

import csv
import hashlib
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, TypeAlias

import torch

from inference.codec import canonical, encode
from training.errors import CheckpointUnusable

State: TypeAlias = dict[str, Any]
"""Tensors, numbers and texts in dicts and lists: what torch reads back without unpickling code."""


@dataclass(frozen=True, kw_only=True)
class EpochRow:
    """What one epoch did, for the log."""

    epoch: int
    """Counted from 0."""
    learning_rate: float
    loss: float
    auroc: float
    """In validation."""
    gradient_norm: float
    """The greatest of its steps before it was shortened."""
    clipped_share: float
    """Share of the steps whose gradient was shortened."""
    seconds: float
    waited_s: float
    """How long the network waited for images."""


@dataclass(frozen=True, kw_only=True)
class Keep:
    """A run's folder: ``checkpoint.pt``, all of its state, and ``log.csv``, one line an epoch.

    ``identity`` tells apart whatever decides the weights; see ``identity_of``.
    """

    folder: Path
    identity: str

    def load(self) -> State | None:
        """Return the state that was saved last, or None if there is none.

        Raises ``CheckpointUnusable`` where the file is damaged or of a run of another identity.
        """
        path = self.folder / "checkpoint.pt"
        if not path.exists():
            return None
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, UnpicklingError, EOFError, ValueError) as error:
            raise CheckpointUnusable(f"{path} is damaged: {error}") from error
        if not isinstance(state, dict) or state.get("identity") != self.identity:
            raise CheckpointUnusable(
                f"{path} is of a run with another recipe, cohort or number of processes"
            )
        return state

    def save(self, state: State, rows: Sequence[EpochRow]) -> None:
        """Replace the checkpoint, then the log; a crash leaves each as it was or as it is now."""
        self.folder.mkdir(parents=True, exist_ok=True)
        data = io.BytesIO()
        torch.save({**state, "identity": self.identity}, data)
        _replace(self.folder / "checkpoint.pt", data.getvalue())
        text = io.StringIO()
        table = csv.writer(text)
        table.writerow([field.name for field in fields(EpochRow)])
        table.writerows([f"{value:.9g}" for value in vars(row).values()] for row in rows)
        _replace(self.folder / "log.csv", text.getvalue().encode())


def identity_of(*parts: object) -> str:
    """Return a digest of dataclasses, numbers and texts, the same on every machine."""
    return hashlib.sha256(canonical(encode(list(parts)))).hexdigest()


def _replace(path: Path, data: bytes) -> None:
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
