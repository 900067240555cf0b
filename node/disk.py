"""What files on a disk need beyond their own bytes to be there after a power cut."""

import os
from pathlib import Path


def sync_folder(folder: Path | str) -> None:
    """Return when a power cut cannot take the folder's names away.

    Raises OSError where the disk fails.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
