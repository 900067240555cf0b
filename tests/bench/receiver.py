"""The node's listener with intake, store and SQLite, and nothing else of the node."""

import signal
import sys
import threading
from pathlib import Path

from node import bootstrap, log
from node.audit import ignore
from node.config import settings_from
from node.net.scp import Listener
from node.reception import Reception, build_intake


def main(port: int, folder: Path, *more: str) -> None:
    """Receive until SIGTERM; ``--no-journal``: files and rows before each answer."""
    strict = {"journal_bytes": 0} if "--no-journal" in more else {}
    settings = settings_from(
        {
            "listener": {"port": port},
            "store": {"root": str(folder / "store"), "free_bytes_min": 0, **strict},
            "database": {"url": f"sqlite:///{folder / 'node.sqlite3'}"},
        }
    )
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    log.configure(settings.log_level)
    engine = bootstrap.open_database(settings)
    store = bootstrap.open_store(settings)
    intake = build_intake(settings, engine, store, clock=bootstrap.now)
    bootstrap.leave_alone_what_is_loaded()
    reception = Reception(intake, ignore)
    with Listener(
        settings.listener,
        receive=reception.receive,
        closed=reception.closed,
        receive_together=reception.receive_together,
    ):
        stop.wait()
    intake.close()
    engine.dispose()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
