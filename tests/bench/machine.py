"""What a run was made on: cores, memory, disk, versions, and how busy others kept it."""

import os
import platform
import re
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from node.bootstrap import software_version
from tests.bench.peers import orthanc_executable
from tests.bench.process import ROOT, TICKS_PER_S, cpu_s

PACKAGES = (
    "pydicom",
    "pynetdicom",
    "highdicom",
    "SimpleITK",
    "SQLAlchemy",
    "numpy",
    "openvino",
    "onnxruntime",
    "torch",
)
BUSY = 0.1
"""From this share of its cores on a machine is called busy."""


def describe(folder: Path) -> dict[str, object]:
    """Describe the machine without its name; ``folder`` is where the receivers write."""
    return {
        "cpu": _field("/proc/cpuinfo", r"model name\s*: (.+)"),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(int(_field("/proc/meminfo", r"MemTotal:\s*(\d+)") or 0) / 2**20, 1),
        "system": _field("/etc/os-release", r'PRETTY_NAME="?([^"\n]+)'),
        "kernel": platform.release(),
        "file_system": _file_system(folder),
    }


def versions() -> dict[str, str]:
    """Return the versions of everything that is measured."""
    found = {"petct-node": software_version(), "revision": _revision()}
    found["Python"] = platform.python_version()
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    found["DCMTK"] = _said(shutil.which("storescu"), r"v(\d[\w.]+)")
    found["Orthanc"] = _said(orthanc_executable(), r"(\d+\.\d+[\w.]*)")
    return found


class Load:
    """What others take of the machine while we measure."""

    def __init__(self) -> None:
        self._before = self._now()

    def others_share(self) -> float:
        """Return the share of all cores that went to others, and to the kernel for all of us."""
        busy, total, own = (now - then for now, then in zip(self._now(), self._before, strict=True))
        return round(max(0.0, (busy - own) / total), 3) if total else 0.0

    def _now(self) -> tuple[float, float, float]:
        return (*_cpu_ticks(), cpu_s(os.getpid()) * TICKS_PER_S)


def _cpu_ticks() -> tuple[int, int]:
    """Return the ticks that were not idle, and all (proc(5), stat)."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return sum(fields) - fields[3] - fields[4], sum(fields)


def _field(path: str, pattern: str) -> str | None:
    try:
        found = re.search(pattern, Path(path).read_text(encoding="utf-8"))
    except OSError:
        return None
    return found[1].strip() if found else None


def _file_system(folder: Path) -> str:
    """Return the kind of file system that ``folder`` lies on (proc(5), mountinfo)."""
    kinds = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        place, rest = line.split()[4], line.split(" - ", 1)[1]
        if folder.resolve().is_relative_to(place):
            kinds[len(place)] = rest.split()[0]
    return kinds[max(kinds)] if kinds else "unknown"


def _said(executable: str | None, pattern: str) -> str:
    if executable is None:
        return "not installed"
    told = subprocess.run(
        [executable, "--version"], capture_output=True, text=True, timeout=30, check=False
    )
    found = re.search(pattern, told.stdout + told.stderr)
    return found[1] if found else "unknown"


def _revision() -> str:
    try:
        told = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return told.stdout.strip()
