"""``petct-node check``: whether this installation can work, one line for each thing it needs."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from rich.console import Console
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from db.engine import reading
from inference.errors import InferenceError
from node import bootstrap
from node.access import ListenerTls
from node.cli.plain import reason
from node.config import Peer, Settings
from node.errors import OutOfResources, PeerUnavailable, TlsUnusable
from node.net import scu, tls

ECHO_TIMEOUT_S = 5
LOOPBACK = {"127.0.0.1", "::1", "localhost"}


class CheckFailed(Exception):
    """One thing does not work; the message says what and what to do."""


def check(settings: Settings, console: Console, *, quick: bool) -> int:
    """Check everything and return 0, or 1 where anything fails.

    ``quick`` leaves out what asks others (peers) or takes seconds (the model).
    """
    failures = 0
    console.print("[green]ok[/]     configuration: every key is known and every value fits")
    for name, run in _checks(settings, quick=quick).items():
        try:
            console.print(f"[green]ok[/]     {name}: {run()}")
        except CheckFailed as failed:
            failures += 1
            console.print(f"[red]failed[/] {name}: {failed}")
    for note in _notes(settings):
        console.print(f"[yellow]note[/]   {note}")
    return 1 if failures else 0


def _checks(settings: Settings, *, quick: bool) -> dict[str, Callable[[], str]]:
    checks: dict[str, Callable[[], str]] = {
        "store": partial(_store, settings),
        "database": partial(_database, settings),
    }
    if settings.listener.tls is not None:
        checks["tls"] = partial(_tls, settings.listener.tls)
    if settings.audit.file is not None:
        checks["audit"] = partial(_audit, settings.audit.file)
    if not quick:
        checks["model"] = partial(_model, settings)
        peers = {**settings.assembly.sources, **settings.destinations}
        for name, peer in peers.items():
            checks[f"peer {name}"] = partial(_peer, peer, settings)
    return checks


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


def _tls(settings: ListenerTls) -> str:
    try:
        tls.accepting(settings)
    except TlsUnusable as error:
        raise CheckFailed(str(error)) from error
    return f"profile {settings.profile}, certificates of callers {settings.client_certificate}"


def _audit(path: Path) -> str:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab"):
            pass
    except OSError as error:
        raise CheckFailed(f"{path} cannot be written: {error.strerror}") from error
    return f"{path} takes messages"


def _store(settings: Settings) -> str:
    root = settings.store.root
    store = bootstrap.open_store(settings)
    try:
        store.probe()
    except OutOfResources as error:
        raise CheckFailed(str(error)) from error
    free = store.free_bytes()
    least = settings.store.free_bytes_min
    if free < least:
        raise CheckFailed(
            f"{free / 1e9:.1f} GB free at {root}, the watermark is {least / 1e9:.1f} GB: "
            "every C-STORE is answered 0xA700 until there is room"
        )
    return f"{root} takes synced writes, {free / 1e9:.1f} GB free"


def _database(settings: Settings) -> str:
    try:
        engine = bootstrap.open_database(settings)
        with reading(engine) as connection:
            revision = connection.execute(text("select version_num from alembic_version")).scalar()
        name = engine.dialect.name
        engine.dispose()
    except (SQLAlchemyError, OSError, ImportError) as error:
        raise CheckFailed(f"{settings.database.shown} cannot be opened: {reason(error)}") from error
    return f"{name}, revision {revision}"


def _model(settings: Settings) -> str:
    try:
        model = bootstrap.build_model(settings)
    except InferenceError as error:
        raise CheckFailed(str(error)) from error
    identity = model.bundle.identity
    engine = next(iter(model.engines.values()))
    return f"{identity.name} {identity.version} {identity.digest[:19]} on {engine.name}"


def _peer(peer: Peer, settings: Settings) -> str:
    where = f"{peer.ae_title} at {peer.host}:{peer.port}"
    try:
        scu.echo(peer, calling_ae_title=settings.listener.ae_title, timeout_s=ECHO_TIMEOUT_S)
    except PeerUnavailable as error:
        raise CheckFailed(f"{where} does not answer C-ECHO: {error}") from error
    return f"{where} answers C-ECHO"
