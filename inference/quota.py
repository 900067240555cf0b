"""How many CPUs this process may really use: affinity, and the quota of its control groups."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc/self")


def usable_cpus(proc: Path = PROC) -> int:
    """Return the CPUs that this process may run on, cut down to its quota; at least 1.

    A container with a quota of 1.5 CPUs on a host of 64 has 2: threads beyond the quota are put to
    sleep for the rest of each period, and take all others with them. Part of a CPU counts as one.
    ``proc`` is where ``cgroup`` and ``mountinfo`` lie (proc(5)).
    """
    allowed = len(os.sched_getaffinity(0))
    quotas = [quota for folder in _folders(proc) if (quota := _quota(folder)) is not None]
    return max(1, min([allowed, *(math.ceil(quota) for quota in quotas)]))


def _folders(proc: Path) -> Iterator[Path]:
    """Yield the folder of each control group of ours with a say on CPUs, and those above it.

    Where a container sees its own group alone, the path that the kernel tells is not there, and the
    mount itself is the group.
    """
    for version, ours in _groups(proc):
        for mount in _mounts(proc, version):
            inside = Path(ours.lstrip("/"))
            yield from (mount / part for part in (inside, *inside.parents))


def _groups(proc: Path) -> Iterator[tuple[int, str]]:
    for line in _lines(proc / "cgroup"):
        number, controllers, path = line.split(":", 2)
        if number == "0" and not controllers:
            yield 2, path
        elif "cpu" in controllers.split(","):
            yield 1, path


def _mounts(proc: Path, version: int) -> Iterator[Path]:
    for line in _lines(proc / "mountinfo"):
        before, _, after = line.partition(" - ")
        kind, *_, options = after.split(" ")
        point = Path(before.split(" ")[4].replace("\\040", " "))
        if (version == 2 and kind == "cgroup2") or (
            version == 1 and kind == "cgroup" and "cpu" in options.split(",")
        ):
            yield point


def _quota(folder: Path) -> float | None:
    """Return the CPUs that a group grants, or None where it grants all."""
    if both := _lines(folder / "cpu.max"):  # version 2: quota or "max", and period
        quota, _, period = both[0].partition(" ")
    else:
        quota, period = (
            "".join(_lines(folder / f"cpu.cfs_{name}_us")) for name in ("quota", "period")
        )
    if not (quota.isdecimal() and period.isdecimal() and int(period)):
        return None
    return int(quota) / int(period)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
