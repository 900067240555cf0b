import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SLEEPER = """
import signal, sys, threading, time
from node.stop import Stop

stop = Stop()

def take():
    signal.pthread_kill(threading.get_ident(), signal.SIG{name})

threading.Timer(0.1, take).start()
while not stop.wait(0.05):
    pass
sys.exit(7 if stop.is_set() else 1)
"""


@pytest.mark.parametrize("name", ["TERM", "INT"])
def test_a_signal_that_another_thread_takes_is_heard(name):
    """The main thread is not interrupted by it: threading.Event.wait() would sleep on."""
    command = [sys.executable, "-c", SLEEPER.format(name=name)]

    assert subprocess.run(command, cwd=ROOT, timeout=60, check=False).returncode == 7
