"""What makes the names in a folder durable: a file's own sync does not, nor does a folder's for its name in another."""

import os
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Return once every name that was made, changed or removed in it is so on stable media. Blocks. ``OSError``."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
