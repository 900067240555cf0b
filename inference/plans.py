"""Keeps what TensorRT built: each plan beside a sidecar that says what it was built of and for."""

import fcntl
import hashlib
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from inference.codec import Malformed, canonical, decode, digest, encode, loads

logger = logging.getLogger(__name__)

SCHEMA = 1
ANY = "any"
"""A plan of TensorRT-RTX is finished at its first run, on whatever GPU that is."""


@dataclass(frozen=True, kw_only=True)
class Making:
    """Everything that decides a plan; a plan of another making is never used in its place."""

    library: str
    """``tensorrt`` or ``tensorrt-rtx``."""
    library_version: str
    network: str
    """SHA-256 of the ONNX file as the bundle holds it, before any rewriting."""
    precision: str
    gpu: str
    compute_capability: str
    driver: str
    calibration: str
    """SHA-256 of the ranges of int8, or nothing."""
    batch: tuple[int, int, int]
    """Fewest, usual and most cases of one run."""

    @property
    def key(self) -> str:
        """Name the files of this plan."""
        return hashlib.sha256(canonical(encode(self))).hexdigest()[:32]


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """One input or output of a plan; -1 stands for the size of the batch."""

    name: str
    type: str
    shape: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Sidecar:
    """What lies beside a plan; ``plan`` is the SHA-256 of its bytes."""

    schema: int
    making: Making
    tensors: tuple[Tensor, ...]
    plan: str
    build_s: float

    def __post_init__(self) -> None:
        if self.schema != SCHEMA:
            raise ValueError(f"schema must be {SCHEMA}, got {self.schema}")


class Plans:
    """A folder of plans. Whoever can write there decides what runs: it is the node's alone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, making: Making) -> bytes | None:
        """Return the plan of exactly this making, or None: absent, or not as its sidecar has it."""
        plan_path, sidecar_path = self._paths(making)
        try:
            sidecar = _read(sidecar_path)
            plan = plan_path.read_bytes()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError, Malformed) as error:
            logger.warning("the plan %s is not used: %s", plan_path, error)
            return None
        if sidecar.making != making or sidecar.plan != digest(plan):
            logger.warning("the plan %s is not used: it is not as its sidecar has it", plan_path)
            return None
        return plan

    def keep(
        self, making: Making, plan: bytes, *, tensors: tuple[Tensor, ...], build_s: float
    ) -> Sidecar:
        """Write a plan and its sidecar; a crash leaves no sidecar, or one whose plan is whole."""
        sidecar = Sidecar(
            schema=SCHEMA, making=making, tensors=tensors, plan=digest(plan), build_s=build_s
        )
        plan_path, sidecar_path = self._paths(making)
        text = json.dumps(encode(sidecar), indent=1, ensure_ascii=False) + "\n"
        _write(plan_path, plan)
        _write(sidecar_path, text.encode())
        return sidecar

    def held(self) -> tuple[Sidecar, ...]:
        """Return the sidecar of every plan that is whole."""
        found = []
        for path in sorted(self._folder.glob("*.json")):
            try:
                sidecar = _read(path)
            except (OSError, UnicodeDecodeError, Malformed) as error:
                logger.warning("%s is no sidecar of a plan: %s", path, error)
                continue
            if self.find(sidecar.making) is not None:
                found.append(sidecar)
        return tuple(found)

    @contextmanager
    def building(self, making: Making) -> Iterator[None]:
        """Let one process at a time build this plan; the others wait and find it built."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / f"{making.key}.lock").open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # falls with the process that holds it
            yield

    def read_cache(self, kind: str, making: Making) -> bytes:
        """Return what the library timed or compiled before for such a making, or nothing."""
        try:
            return self._cache(kind, making).read_bytes()
        except OSError:
            return b""

    def keep_cache(self, kind: str, making: Making, data: bytes) -> None:
        """Keep what the library timed or compiled, if it can be: whoever lacks it loses time."""
        try:
            _write(self._cache(kind, making), data)
        except OSError as error:
            logger.warning("cannot keep %s: %s", self._cache(kind, making), error)

    def _paths(self, making: Making) -> tuple[Path, Path]:
        return self._folder / f"{making.key}.plan", self._folder / f"{making.key}.json"

    def _cache(self, kind: str, making: Making) -> Path:
        return self._folder / f"{making.key}.{kind}"


def _read(path: Path) -> Sidecar:
    return decode(Sidecar, loads(path.read_text(encoding="utf-8")))


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{uuid4().hex}.part")
    try:
        with part.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
