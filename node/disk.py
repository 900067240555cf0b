"""What files on a disk need beyond their own bytes: to be there after a power cut, and to go."""

import ctypes
import logging
import os
from pathlib import Path

logger = logging.getLogger(__name__)

_SYNC_FILE_RANGE_WRITE = 2  # linux/fs.h: begin to write what is not under way, wait for nothing
_SYNC_FILE_RANGE = getattr(ctypes.CDLL(None), "sync_file_range", None)
if _SYNC_FILE_RANGE is not None:
    _SYNC_FILE_RANGE.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)


def sync_folder(folder: Path | str) -> None:
    """Return when a power cut cannot take the folder's names away.

    Raises OSError where the disk fails.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def begin_to_write(descriptor: int) -> None:
    """Have the disk begin with a file that is to be synced soon; nothing is safe by that.

    A failure is told by the sync.
    """
    if _SYNC_FILE_RANGE is not None:
        _SYNC_FILE_RANGE(descriptor, 0, 0, _SYNC_FILE_RANGE_WRITE)


def unlink(path: Path) -> bool:
    """Take a file away; False where the disk does not let us."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        logger.error("%s cannot be deleted: %s", path, error.strerror)  # noqa: TRY400  the line says all
        return False
    return True
