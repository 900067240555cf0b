"""File systems of our own on loop devices, and the power cut that the kernel offers for tests."""

import fcntl
import os
import shutil
import struct
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

MIB = 2**20
SEARCHED = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
SHUTDOWN = 2 << 30 | 4 << 16 | ord("X") << 8 | 125
"""EXT4_IOC_SHUTDOWN, _IOR('X', 125, __u32), in the kernel's fs/ext4/ext4.h."""
NO_LOG_FLUSH = 2
"""EXT4_GOING_FLAGS_NOLOGFLUSH: nothing more is written, the journal neither, as with power lost."""
BUSY_S = 20


def unavailable(*, mkfs: bool = True) -> str | None:
    """Say why no file system can be mounted here, or return None."""
    if os.geteuid() != 0:
        return "mounting a file system needs root"
    if mkfs and shutil.which("mkfs.ext4", path=SEARCHED) is None:
        return "mkfs.ext4 is not installed"
    return None


class Ext4:
    """An ext4 file system in a file."""

    def __init__(self, folder: Path, name: str, *, mib: int) -> None:
        self._image = folder / f"{name}.ext4"
        self.mount_point = folder / name
        self.mount_point.mkdir(parents=True)
        with self._image.open("xb") as file:
            file.truncate(mib * MIB)
        _run("mkfs.ext4", "-q", "-F", str(self._image))

    def mount(self, options: str = "data=ordered") -> None:
        """Mount it; the journal of a file system that lost its power is replayed first."""
        _run(
            "mount", "-t", "ext4", "-o", f"loop,{options}", str(self._image), str(self.mount_point)
        )

    def unmount(self) -> None:
        """Unmount it, when those who look at it have closed their files."""
        unmount(self.mount_point)


def cut(mount_points: Sequence[Path]) -> None:
    """Stop the file systems at once: what was not synced is lost, and all further work fails."""
    for mount_point in mount_points:
        try:
            descriptor = os.open(mount_point, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:  # it is stopped already
            continue
        fcntl.ioctl(descriptor, SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        os.close(descriptor)


def mount_tmpfs(mount_point: Path, *, size_bytes: int, inodes: int) -> None:
    """Mount a file system in memory that is full at so many bytes or files."""
    mount_point.mkdir(parents=True, exist_ok=True)
    limits = f"size={size_bytes},nr_inodes={inodes}"
    _run("mount", "-t", "tmpfs", "-o", limits, "tmpfs", str(mount_point))


def unmount(mount_point: Path) -> None:
    """Unmount, if mounted, when those who look at it have closed their files."""
    end = time.monotonic() + BUSY_S
    while os.path.ismount(mount_point):
        try:
            _run("umount", str(mount_point))
        except subprocess.CalledProcessError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def _run(command: str, *arguments: str) -> None:
    executable = shutil.which(command, path=SEARCHED)
    assert executable is not None, f"{command} is not installed"
    subprocess.run([executable, *arguments], check=True, capture_output=True, timeout=60)
