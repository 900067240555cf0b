"""Programs for Node beside the tests: the node that runs them, what they need, what they answer."""

import json
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
# dcmjs' named exports and playwright-core need it; Debian 12's own nodejs is 18.
MAJOR_MIN = 20


@cache
def executable() -> str | None:
    """The first node that is new enough: on the path, or the one beside this Python."""
    beside = Path(sys.executable).parent / "node"
    for candidate in (shutil.which("node"), str(beside) if beside.exists() else None):
        if candidate is not None and _major(candidate) >= MAJOR_MIN:
            return candidate
    return None


def what_is_missing() -> str | None:
    """Why programs for Node cannot run here, or None where they can."""
    if executable() is None:
        return f"node {MAJOR_MIN} or later is not installed; make setup installs it"
    if not (FOLDER / "node_modules" / ".installed").exists():
        return "the npm packages of tests/node_tools are not installed; make setup installs them"
    return None


def run(script: Path, *arguments: str, question: Any = None, timeout_s: float) -> Any:
    """What ``script`` answers, in JSON on stdout, to ``question``, in JSON on stdin."""
    program = executable()
    assert program is not None
    done = subprocess.run(
        [program, str(script), *arguments],
        input=json.dumps(question),
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
        env={**os.environ, "NODE_NO_WARNINGS": "1"},
    )
    if done.returncode:
        raise RuntimeError(f"{script.name} ended with {done.returncode}: {done.stderr[-2000:]}")
    return json.loads(done.stdout)


def _major(program: str) -> int:
    said = subprocess.run(
        [program, "--version"], capture_output=True, text=True, check=False, timeout=20
    ).stdout
    version = said.strip().removeprefix("v").partition(".")[0]
    return int(version) if version.isdigit() else 0
