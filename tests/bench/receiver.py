"""The node's listener with intake, store and SQLite, and nothing else of the node."""

import signal
import sys
import threading
from pathlib import Path

from node import bootstrap, log
from node.config import settings_from
from node.dicom import headers
from node.intake import Intake
from node.net.scp import Listener


def main(port: int, folder: Path) -> None:
    """Receive until SIGTERM."""
    settings = settings_from(
        {
            "listener": {"port": port},
            "store": {"root": str(folder / "store"), "free_bytes_min": 0},
            "database": {"url": f"sqlite:///{folder / 'node.sqlite3'}"},
        }
    )
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    log.configure(settings.log_level)
    engine = bootstrap.open_database(settings)
    intake = Intake(engine, bootstrap.open_store(settings), headers.identify, bootstrap.now)
    bootstrap.leave_alone_what_is_loaded()
    with Listener(settings.listener, receive=intake.receive, closed=intake.closed):
        stop.wait()
    engine.dispose()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
