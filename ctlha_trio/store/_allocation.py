"""Room for a new backing file: all of it is taken from the start."""

import errno
import os


def allocate(descriptor: int, file_bytes: int) -> None:
    """Of an empty file. Blocks. ``OSError`` if there is too little room, then at once.

    Where a file system cannot allocate, the C library writes to each block instead: for hours, if room is missing. Some
    say nothing of their size, and are tried.
    """
    found = os.fstatvfs(descriptor)
    if found.f_blocks and file_bytes > found.f_bfree * found.f_frsize:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    os.posix_fallocate(descriptor, 0, file_bytes)
