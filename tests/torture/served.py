"""``petct-node serve`` as it is installed, in a process of its own."""

import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.bench import process

START_S = 60


@contextmanager
def listener(settings: Mapping[str, Any], folder: Path) -> Iterator[int]:
    """Run it for as long as the block lasts, from when it listens; give its process."""
    config, log = folder / "config.yaml", folder / "serve.log"
    config.write_text(yaml.safe_dump(dict(settings)), encoding="utf-8")
    command = [sys.executable, "-m", "node", "serve", "--config", str(config)]
    with process.running(command, log, process.environment(nodelay=True)) as running:
        if not comes_up(settings["listener"]["port"], within_s=START_S):
            raise RuntimeError(log.read_text(encoding="utf-8")[-2000:])
        yield running.pid


def comes_up(port: int, *, within_s: float) -> bool:
    """Wait until somebody listens on the port; False if nobody does in that time."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except OSError:
            time.sleep(0.1)
        else:
            return True
    return False
