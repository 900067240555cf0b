"""DCMTK's storescu, which says of each file what the node answered."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

STORESCU = shutil.which("storescu")
CALLING_AE_TITLE = "TESTPACS"
WAIT_S = 60
FILE = re.compile(r"^I: Sending file: (.+)$")
ANSWER = re.compile(r"^[IWE]: Received Store Response \((.+)\)$")


@dataclass(frozen=True, kw_only=True)
class Push:
    """What came of one call: the files answered with Success, and every other answer."""

    acknowledged: tuple[Path, ...]
    other_answers: tuple[str, ...]


def push(files: Sequence[Path], port: int) -> Push:
    """Send the files over one association, until it ends or breaks."""
    with begun(files, port) as sender:
        _, told = sender.communicate(timeout=WAIT_S)
    return answers(told.splitlines())


def begun(files: Sequence[Path], port: int) -> subprocess.Popen[str]:
    """Start to send the files; its log comes over its standard error."""
    assert STORESCU is not None
    options = ["-v", "-to", "5", "-aet", CALLING_AE_TITLE, "-aec", "PETCTNODE"]
    return subprocess.Popen(
        [STORESCU, *options, "127.0.0.1", str(port), *map(str, files)],
        stdout=subprocess.DEVNULL,  # dots
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TCP_NODELAY": "1"},
    )


def answers(lines: Iterable[str]) -> Push:
    """Read the sender's log: a file counts as acknowledged when Success was answered to it."""
    acknowledged, others = [], []
    sending = ""
    for line in lines:
        if told := FILE.match(line):
            sending = told[1]
        elif told := ANSWER.match(line):
            if told[1] == "Success":
                acknowledged.append(Path(sending))
            else:
                others.append(told[1])
    return Push(acknowledged=tuple(acknowledged), other_answers=tuple(others))
