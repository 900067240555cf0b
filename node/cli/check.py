"""``petct-node check``: whether this installation can work, one line for each thing it needs."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from functools import partial

from rich.console import Console
from rich.markup import escape

from node.cli import ground, peers
from node.cli.ground import CheckFailed, CheckWarned
from node.config import Settings


class Level(IntEnum):
    """How a check ended; the worst is the exit status, as monitors know it."""

    OK = 0
    WARNING = 1
    FAILED = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """What one check found."""

    name: str
    level: Level
    message: str


SHOWN = {
    Level.OK: "[green]ok[/]    ",
    Level.WARNING: "[yellow]warning[/]",
    Level.FAILED: "[red]failed[/]",
}
LOOPBACK = {"127.0.0.1", "::1", "localhost"}
CONFIGURATION = Line(
    name="configuration", level=Level.OK, message="every key is known and every value fits"
)


def check(settings: Settings, console: Console, *, quick: bool, as_json: bool = False) -> int:
    """Check everything and return 0, 1 where something is to be looked at, 2 where one fails.

    ``quick`` leaves out what asks others (peers) or takes seconds (the model), and returns 0 for
    warnings, too: it is the health check of a container, which restarts what it finds unwell.
    """
    lines = [CONFIGURATION]
    lines += [_line(name, run) for name, run in _checks(settings, quick=quick).items()]
    notes = list(_notes(settings))
    worst = max(line.level for line in lines)
    if as_json:
        console.file.write(json.dumps(_document(lines, notes, worst), indent=2) + "\n")
    else:
        for line in lines:
            console.print(f"{SHOWN[line.level]} {line.name}: {escape(line.message)}")
        for note in notes:
            console.print(f"[yellow]note[/]   {note}")
    return Level.OK if quick and worst is Level.WARNING else worst


def _checks(settings: Settings, *, quick: bool) -> dict[str, Callable[[], str]]:
    checks: dict[str, Callable[[], str]] = {
        "store": partial(ground.store, settings),
        "disk": partial(ground.disk, settings),
        "database": partial(ground.database, settings),
        "durability": partial(ground.durability, settings),
        "clock": partial(ground.clock, settings),
    }
    if settings.store.bytes_max is not None:
        checks["quota"] = partial(ground.quota, settings, settings.store.bytes_max)
    if settings.listener.tls is not None:
        checks["tls"] = partial(peers.tls, settings.listener.tls)
    if settings.audit.file is not None:
        checks["audit"] = partial(ground.audit, settings.audit.file)
    return checks if quick else checks | _slow_checks(settings)


def _slow_checks(settings: Settings) -> dict[str, Callable[[], str]]:
    """Return what takes seconds, asks others, or would not be mended by a restart."""
    checks: dict[str, Callable[[], str]] = {}
    tls = settings.listener.tls
    if tls is not None and tls.crl is not None:
        checks["revocation"] = partial(peers.revocation_list, tls.crl)
    if settings.database.file is not None and settings.database.file.exists():
        checks["integrity"] = partial(ground.integrity, settings)
    checks["model"] = partial(ground.model, settings)
    for name, peer in settings.assembly.sources.items():
        checks[f"source {name}"] = partial(peers.verify, peer, settings)
    for name, destination in settings.destinations.items():
        checks[f"destination {name}"] = partial(peers.keeps_results, destination, settings)
    return checks


def _line(name: str, run: Callable[[], str]) -> Line:
    try:
        return Line(name=name, level=Level.OK, message=run())
    except CheckWarned as warned:
        return Line(name=name, level=Level.WARNING, message=str(warned))
    except CheckFailed as failed:
        return Line(name=name, level=Level.FAILED, message=str(failed))


def _document(lines: list[Line], notes: list[str], worst: Level) -> dict[str, object]:
    return {
        "status": worst.name.lower(),
        "checks": [
            {"name": one.name, "status": one.level.name.lower(), "message": one.message}
            for one in lines
        ],
        "notes": notes,
    }


def _notes(settings: Settings) -> Iterator[str]:
    """Yield what works and yet is not as it should be where patients are."""
    if not settings.destinations:
        yield "no destination is configured: results stay in the store"
    listener = settings.listener
    if settings.database.holds_a_password:
        yield "the password of the database stands in the configuration: see database.password_file"
    if listener.host in LOOPBACK:
        return
    if not (listener.peers or listener.calling_ae_titles):
        yield "everybody who reaches the listener is taken: see listener.peers"
    if listener.tls is None:
        yield "associations are not encrypted: see listener.tls"
