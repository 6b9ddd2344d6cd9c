"""Files that are made and never overwrite anything."""

import os
from pathlib import Path


def write_new(path: Path, content: bytes, *, mode: int) -> None:
    """Make a file of these rights, its content durable; its name is once its folder is synced. Blocks.

    ``FileExistsError`` if something is there, ``OSError`` if it cannot be written, and then there is no new file.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink()
        raise
